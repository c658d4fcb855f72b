"""Answers for files alone name the object, the rule, the file and the line."""

import pytest

from weft.api.manifests import Document, diagnose
from weft.mesh.explain.answer import Answer, Question
from weft.mesh.explain.callers import NoCaller
from weft.mesh.explain.request import read_request
from weft.offline.explanations import explain_documents
from weft.views.tables import COLOUR
from weft.views.why import why_lines

TEXT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: front}
spec:
  selector: {matchLabels: {app: front}}
  template:
    metadata: {labels: {app: front}}
    spec: {containers: [{name: a, image: x}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reviews}
spec:
  replicas: 2
  selector: {matchLabels: {app: reviews}}
  template:
    metadata: {labels: {app: reviews, version: v2}, annotations: {weft.dev/weight: "3"}}
    spec: {containers: [{name: a, image: x, ports: [{containerPort: 9080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {selector: {app: reviews}, ports: [{name: http, port: 80, targetPort: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {selector: {app: reviews}, ports: [{name: tcp, port: 5432}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
    - name: jason
      match: [{headers: {end-user: {exact: jason}}}]
      route: [{destination: {host: reviews, subset: v2}}]
      timeout: 2s
    - match: [{uri: {prefix: /old}}]
      delegate: {name: old}
    - route: [{destination: {host: reviews}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: old}
spec:
  http:
    - match: [{uri: {prefix: /old/x}}]
      redirect: {uri: /x}
    - name: rest
      directResponse: {status: 410}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy:
    connectionPool: {http: {http2MaxRequests: 7}}
  subsets: [{name: v2, labels: {version: v2}}]
"""
DOCUMENTS: tuple[Document, ...] = diagnose(TEXT, "shop.yaml").documents


def ask(url: str, *headers: tuple[str, str], caller: str = "deploy/front") -> Answer:
    request = read_request("GET", url, headers)
    found = explain_documents(DOCUMENTS, Question(caller, "default", request))
    assert not isinstance(found, NoCaller), found
    return found.answer


def line_of(text: str) -> int:
    return next(n for n, line in enumerate(TEXT.splitlines(), 1) if text in line)


def test_the_taken_route_and_those_before_it_have_file_and_line() -> None:
    (taken,) = ask("http://reviews/api", ("end-user", "jason")).considered
    assert (taken.place.path, taken.place.line) == ("spec.http[0]", line_of("- name: jason"))
    first, *_, last = ask("http://reviews/api").considered
    assert first.reason == "header `end-user` is absent"
    assert (last.taken, last.place.file, last.place.path) == (True, "shop.yaml", "spec.http[2]")


@pytest.mark.parametrize(
    ("path", "place"), [("/old/x/y", "spec.http[0]"), ("/old", "spec.http[1]")]
)
def test_rules_of_delegates_are_found_in_the_delegate(path: str, place: str) -> None:
    taken = ask(f"http://reviews{path}").considered[-1]
    assert (taken.place.name, taken.place.path) == ("old", place)


def test_a_share_names_its_objects_limits_and_endpoints() -> None:
    answer = ask("http://reviews/api", ("End-User", "jason"))
    (share,) = answer.shares
    assert [p.kind for p in share.places] == ["Service", "DestinationRule"]
    assert [e.pod for e in share.endpoints] == ["reviews-0", "reviews-1"]
    assert [(e.weight, e.health) for e in share.endpoints] == [(3, "healthy")] * 2
    assert sum("weight 3" in line for line in why_lines(answer)) == 2
    assert any("at most 7 requests at one time" in e.text for e in share.effects)
    assert [e.text for e in answer.effects if e.what == "timeout"] == [
        "2 s for the whole request, retries included"
    ]


def test_connections() -> None:
    answer = ask("tcp://db:5432")
    assert answer.summary == "goes to db.default.svc.cluster.local port 5432"
    assert any("is 10.96.0." in s.text for s in answer.steps)


def test_names_that_nobody_knows_are_compared_with_those_there_are() -> None:
    assert "did you mean `reviews`?" in ask("http://review/").hint
    assert "no `nowhere`" in ask("tcp://nowhere:81").hint


def test_text_for_people_has_the_verdict_first_and_no_colour_unless_wanted() -> None:
    answer = ask("http://reviews/api")
    lines = why_lines(answer)
    assert lines[:2] == [
        "GET http://reviews/api",
        "→ goes to reviews.default.svc.cluster.local port 80",
    ]
    assert any("✗ default/reviews/jason" in x and f"shop.yaml:{line_of('- name: jason')}" in x
               for x in lines)  # fmt: skip
    assert "\x1b" not in "".join(lines)
    assert "\x1b[32m" in "".join(why_lines(answer, COLOUR))

"""Calls from outside meet the port that nodes listen on: of which Service, pod or Gateway, and what
stands in their way."""

import pytest

from weft.api.manifests import diagnose
from weft.mesh.explain.answer import Answer, Explained, Question
from weft.mesh.explain.callers import NoCaller
from weft.mesh.explain.request import read_request
from weft.offline.explanations import explain_documents
from weft.views.why import why_lines

pytest.importorskip("re2", reason="installed with weft")

OBJECTS = """
apiVersion: v1
kind: Node
metadata: {name: one}
status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  loadBalancerIP: 198.51.100.7
  loadBalancerSourceRanges: [203.0.113.0/24]
  externalIPs: [198.51.100.8]
  selector: {app: web}
  ports:
    - {name: http, port: 80, targetPort: 8080, nodePort: 30080}
    - {name: tcp, port: 5432, nodePort: 30432}
---
apiVersion: v1
kind: Service
metadata: {name: strict}
spec: {type: NodePort, selector: {app: strict}, ports: [{name: http, port: 80, nodePort: 30081}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: a, image: x, ports: [{containerPort: 8080, hostPort: 9999, name: http}]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: strict}
spec:
  selector: {matchLabels: {app: strict}}
  template:
    metadata: {labels: {app: strict}}
    spec: {containers: [{name: a, image: x, ports: [{containerPort: 80, hostPort: 9998}]}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict}
spec: {selector: {matchLabels: {app: strict}}, mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed}
spec:
  action: DENY
  selector: {matchLabels: {app: web}}
  rules:
    - to: [{operation: {paths: [/admin*]}}]
    - from: [{source: {ipBlocks: [203.0.113.66/32]}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec: {hosts: [shop.example], gateways: [edge], http: [{route: [{destination: {host: web, port: {number: 80}}}]}]}
"""  # noqa: E501
DOCUMENTS = diagnose(OBJECTS, "a.yaml").documents


def ask(url: str, caller: str = "external") -> Answer:
    question = Question(caller, "default", read_request("GET", url))
    found = explain_documents(DOCUMENTS, question)
    assert isinstance(found, Explained), found
    return found.answer


@pytest.mark.parametrize(
    ("url", "place", "goes"),
    [
        ("http://192.0.2.1:30080/", "NodePort of Service default/web", "web."),
        ("http://one:30080/", "NodePort of Service default/web", "web."),
        ("http://198.51.100.7/", "LoadBalancer of Service default/web", "web."),
        ("http://198.51.100.8/", "externalIP of Service default/web", "web."),
        ("http://192.0.2.1:9999/", "hostPort of Pod default/web-0", "web-0 port 8080"),
        ("http://shop.example/", "port 80 of Gateway default/edge", "web."),
        ("http://127.0.0.1/", "port 80 of Gateway default/edge", ""),
    ],
)
def test_every_kind_of_place_is_found(url: str, place: str, goes: str) -> None:
    answer = ask(url)
    assert answer.steps[0].text.endswith(f" on one: {place}")
    assert f"goes to {goes}" in answer.summary if goes else answer.status == 404


def test_the_rule_that_refuses_is_named() -> None:
    by_path = ask("http://192.0.2.1:30080/admin/x")
    assert (by_path.outcome, by_path.status) == ("denied", 403)
    assert by_path.summary.endswith("default/closed (spec.rules[0]) denies it")
    at_the_pod = ask("http://192.0.2.1:9999/admin/x")
    assert (at_the_pod.outcome, at_the_pod.status) == ("denied", 403)
    # Of bytes no path is known: a denial of paths denies them all.
    of_bytes = ask("tcp://192.0.2.1:30432")
    assert (of_bytes.outcome, of_bytes.status) == ("denied", 0)
    assert "default/closed (spec.rules[0]) denies it" in of_bytes.summary


def test_addresses_of_callers_decide() -> None:
    assert "not 192.0.2.99" in ask("http://198.51.100.7/", "192.0.2.99").summary
    assert ask("http://198.51.100.7/", "203.0.113.65").outcome == "routed"
    blocked = ask("http://198.51.100.7/", "203.0.113.66")
    assert blocked.summary.endswith("(spec.rules[1]) denies it")
    # Nobody said where the call comes from: it may be denied.
    access = ask("http://198.51.100.7/").shares[0].endpoints[0].access
    assert "denies" not in access or "some" in access


def test_callers_without_identity_are_told_why_they_are_refused() -> None:
    for url in ("http://192.0.2.1:30081/", "http://192.0.2.1:9998/"):
        refused = ask(url)
        assert refused.outcome == "denied", url
        assert "PeerAuthentication default/strict" in refused.summary


@pytest.mark.parametrize(
    ("url", "outcome", "status", "said"),
    [
        ("http://10.244.0.11/", "denied", 503, "default/strict (STRICT) refuses callers"),
        ("tcp://10.244.0.11:9", "denied", 0, "default/strict (STRICT) refuses callers"),
        ("http://10.244.0.10:8080/admin/x", "denied", 403, "default/closed (spec.rules[0]) denies"),
        (
            "http://10.244.0.10:8080/",
            "passed through",
            0,
            "own address of pod default/web-0, where",
        ),
        ("http://203.0.113.9/", "passed through", 0, "has no host `203.0.113.9`"),
    ],
)
def test_a_pod_that_calls_another_s_own_address_is_nobody_there(
    url: str, outcome: str, status: int, said: str
) -> None:
    found = ask(url, "deploy/web")
    assert (found.outcome, found.status) == (outcome, status), found.summary
    assert said in found.summary


def test_the_address_of_a_pod_is_the_pod() -> None:
    answer = ask("http://web/", "10.244.0.11")
    assert answer.steps[0].text.startswith("default/strict, pod strict-0 on one")


@pytest.mark.parametrize(
    ("url", "message", "hint"),
    [
        ("http://192.0.2.1:30089/", "192.0.2.1 port 30089", "30080 (NodePort of Service default/"),
        ("http://10.9.9.9/", "10.9.9.9 port 80", "addresses that nodes listen on: 127.0.0.1"),
        ("udp://192.0.2.1:30080", "port 30080", "there are: none"),
        ("http://nobody.example/", "several listen on port 80", "write the address: `"),
    ],
)
def test_places_where_nobody_listens(url: str, message: str, hint: str) -> None:
    found = explain_documents(DOCUMENTS, Question("external", "default", read_request("GET", url)))
    assert isinstance(found, NoCaller)
    assert message in found.message
    assert hint in found.hint


EGRESS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: front}
spec:
  selector: {matchLabels: {app: front}}
  template:
    metadata: {labels: {app: front}}
    spec: {containers: [{name: a, image: x}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: far}
spec:
  hosts: [far.test]
  resolution: STATIC
  addresses: [192.0.2.25]
  endpoints: [{address: 203.0.113.25}]
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 25, name: tcp, protocol: TCP}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: far}
spec:
  host: far.test
  subsets:
    - name: there
      trafficPolicy: {tunnel: {protocol: POST, targetHost: far.test, targetPort: 2525}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: out}
spec:
  selector: {istio: egressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [far.test]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: far}
spec:
  hosts: [far.test]
  gateways: [mesh, out]
  http:
    - match: [{gateways: [mesh]}]
      rewrite: {uri: /step}
      route: [{destination: {host: istio-egressgateway.istio-system.svc.cluster.local, port: {number: 80}}}]
    - match: [{gateways: [out], uri: {prefix: /step/closed}}]
      directResponse: {status: 410}
    - match: [{gateways: [out], uri: {prefix: /step}}]
      timeout: 2s
      route: [{destination: {host: far.test, port: {number: 80}}}]
  tcp:
    - match: [{port: 25}]
      route: [{destination: {host: far.test, subset: there, port: {number: 25}}}]
"""  # noqa: E501
GOING_OUT = diagnose(EGRESS, "b.yaml").documents


def going_out(url: str) -> Answer:
    question = Question("deploy/front", "default", read_request("GET", url))
    found = explain_documents(GOING_OUT, question)
    assert isinstance(found, Explained), found
    return found.answer


def test_both_steps_of_an_egress_gateway_are_shown() -> None:
    answer = going_out("http://far.test/")
    assert answer.summary.endswith("port 80, from there to far.test port 80")
    onward = answer.shares[0].onward
    assert onward is not None
    assert [c.route for c in onward.considered if c.taken] == ["default/far/http[2]"]
    assert (
        onward.considered[-1].place.line
        == EGRESS.splitlines().index("    - match: [{gateways: [out], uri: {prefix: /step}}]") + 1
    )
    assert [e.text for e in onward.effects if e.what == "timeout"]
    assert onward.shares[0].endpoints[0].address == "203.0.113.25:80"
    text = "\n".join(why_lines(answer))
    assert text.index("→ the egress gateway: goes to far.test") > text.index("istio-egressgateway")


def test_a_tunnel_is_one_of_connections() -> None:
    (share,) = going_out("tcp://far.test:25").shares
    (text,) = [e.text for e in share.effects if e.what == "tunnel"]
    assert text.startswith("each connection begins with `POST far.test:2525`")

"""Explanations agree with what the model says, for every kind of answer."""

import re

import pytest
import yaml

from tests.golden_support import documents
from tests.mesh.cluster import snapshot
from weft.api.manifests import diagnose
from weft.mesh.build import build
from weft.mesh.explain import Explanation, Request, explain_from_gateway, explain_from_workload
from weft.mesh.explain.answer import Answer, Explained, Question, explain
from weft.mesh.explain.callers import NoCaller, Outside, find_caller
from weft.mesh.explain.effects import destination_effects
from weft.mesh.explain.paths import normalised
from weft.mesh.explain.places import Places
from weft.mesh.explain.request import RequestError, read_header, read_request
from weft.mesh.model import Destination, GatewayListener, MeshModel
from weft.offline.explanations import explain_documents

pytest.importorskip("re2", reason="installed with weft")


def model(case: str) -> MeshModel:
    return build(snapshot(documents("mesh", case))).model


def port_of(found: MeshModel, port: int) -> GatewayListener:
    return next(g for g in found.gateways if g.port == port)


def call(case: str, caller: str, request: Request) -> Explanation:
    found = model(case)
    workload = next(w for w in found.workloads if w.name == caller)
    return explain_from_workload(found, workload, request)


@pytest.mark.parametrize(
    ("request_", "outcome", "route"),
    [
        (Request("weather", path="/old"), "redirected", "default/weather/http[1]"),
        (Request("weather.default", path="/teapot/x"), "answered", "default/weather/http[2]"),
        (Request("10.96.0.10", path="/chaos?x=1"), "routed", "default/weather/http[3]"),
        (
            Request("weather", path="/API/x?debug=1", headers={"X-Tester": "", "x-user": "ann"}),
            "routed",
            "default/weather/testers",
        ),
    ],
)
def test_the_first_route_that_matches_is_named(request_: Request, outcome: str, route: str) -> None:
    found = call("routes", "weather-v1-a", request_)
    assert found.outcome == outcome
    assert found.route is not None
    assert found.route.name == route


def test_a_split_names_shares_and_endpoints() -> None:
    found = call("routes", "weather-v1-a", Request("weather"))
    assert [(s.destination.subset, s.percent) for s in found.shares] == [("v1", 90), ("v2", 10)]
    assert [[e.address for e in s.healthy] for s in found.shares] == [
        ["10.244.0.1"],
        ["10.244.0.2"],
    ]
    reasons = {c.route: c.reason for c in found.considered}
    assert "path `/` is not prefix `/api/`" in reasons["default/weather/testers"]
    assert reasons["default/weather/http[5]"] == ""
    assert any("10 % of requests are copied" in e.text for e in found.effects)


@pytest.mark.parametrize(
    ("headers", "word"),
    [
        ({}, "header `x-tester` is absent"),
        ({"x-tester": "1", "x-user": "7"}, "header `x-user` is `7`, not regex `[a-z]+`"),
        (
            {"x-tester": "1", "x-user": "ann", "x-robot": "yes"},
            "header `x-robot` is exact `yes`, which it must not be",
        ),
    ],
)
def test_a_mismatch_says_which_part(headers: dict[str, str], word: str) -> None:
    request = Request("weather", path="/api/x?debug=1", headers=headers)
    found = call("routes", "weather-v1-a", request)
    assert word in found.considered[0].reason


def test_what_the_back_end_gets() -> None:
    request = Request("weather", path="/API/x?debug=1", headers={"X-Tester": "", "x-user": "ann"})
    found = call("routes", "weather-v1-a", request)
    (share,) = found.shares
    assert share.sent is not None
    assert (share.sent.host, share.sent.path) == ("weather.internal", "/v2/x?debug=1")
    texts = {e.what: e.text for e in found.effects}
    assert "1.5 s" in texts["timeout"]
    assert "up to 3 more on 5xx, reset, 429" in texts["retries"]


def test_a_redirect_says_where_to() -> None:
    found = call("routes", "weather-v1-a", Request("weather", path="/old?x=1"))
    assert (found.status, found.location) == (308, "https://example.com:8443/new?x=1")


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/a/../api", "/api"),
        ("/api/.", "/api/"),
        ("/..", "/"),
        ("//a//b", "//a//b"),
        ("/%61%2Fb?c=/../d#e", "/a%2Fb?c=/../d"),
    ],
)
def test_paths_are_normalised_as_the_proxy_does(path: str, seen: str) -> None:
    assert normalised(path) == seen


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://x", "`ftp` is none of http, https"),
        ("tcp://db", "write `tcp://db:PORT`"),
        ("http://", "names no host"),
        ("http://a:99999/", "no URL"),
        ("http://a:0/", "0 is no port"),
    ],
)
def test_urls_that_are_none(url: str, said: str) -> None:
    with pytest.raises(RequestError, match=re.escape(said)):
        read_request("GET", url)


def test_urls_and_headers_as_people_type_them() -> None:
    request = read_request("get", "reviews.shop:8080/a?b", [("A", "1"), ("a", "2")])
    assert (request.method, request.authority, request.path) == (
        "GET", "reviews.shop:8080", "/a?b",
    )  # fmt: skip
    assert request.headers == {"A": "1,2"}
    assert read_request("GET", "https://a/").port == 443
    assert read_request("", "tls://a").text == "tls://a"
    assert read_header("end-user: jason") == ("end-user", "jason")
    with pytest.raises(RequestError, match="NAME: VALUE"):
        read_header("jason")


@pytest.mark.parametrize(
    ("caller", "said"),
    [
        ("deploy/review-v1", "did you mean `deploy/reviews-v1`?"),
        ("pod/zzz", "there are `pod/reviews-"),
        ("deployment/reviews-v9", "add `-n shop`"),
        ("depoy/reviews-v1", "did you mean `deploy/reviews-v1`?"),
        ("reviews", "--from deploy/NAME"),
        ("gateway/edge", "Gateways that serve: none"),
        ("gateway:80", "ports of Gateways: none"),
    ],
)
def test_callers_that_are_not_there(caller: str, said: str) -> None:
    found = find_caller(model("services"), caller, "default", Request("a"))
    assert isinstance(found, NoCaller)
    assert said in found.hint


def test_gateways_as_callers() -> None:
    found = model("gateways")
    request = Request("a")
    assert find_caller(found, "gateway:443", "default", request) == Outside(port_of(found, 443))
    name = next(s.name for g in found.gateways for s in g.servers).rpartition("/")[0]
    by_name = find_caller(found, f"gateway/{name}", "other", request)
    assert by_name == Outside(port_of(found, 80), name)
    for address in ("127.0.0.2", "[2001:db8::1]"):
        there = find_caller(found, f"gateway:{address}:80", "default", request)
        assert isinstance(there, Outside)
        assert there.listener.bind == address.strip("[]")
    nobody = find_caller(found, "gateway:8443", "default", request)
    assert isinstance(nobody, NoCaller)
    assert nobody.hint == "ports of Gateways: 80, 443, 5432"


def test_fields_that_the_tables_do_not_know_are_shown_as_they_are() -> None:
    class Unforeseen(Destination, frozen=True):
        shape: str = ""
        key_pem: str = ""

    odd = Unforeseen("a", "a", 80, "http", shape="round", key_pem="secret")
    shown = {e.what: e.text for e in destination_effects(odd)}
    assert shown["shape"] == "round"
    assert "secret" not in str(shown)


def test_a_short_name_means_the_callers_namespace() -> None:
    here = call("services", "reviews-v1-a", Request("reviews"))
    there = call("services", "reviews-v9-a", Request("reviews"))
    assert here.shares[0].destination.host == "reviews.default.svc.cluster.local"
    assert there.shares[0].destination.host == "reviews.shop.svc.cluster.local"
    assert here.shares[0].draining[0].address == "10.244.0.2"


def test_connections_of_bytes_and_the_unknown() -> None:
    redis = call("services", "reviews-v1-a", Request("10.96.0.12", port=6379))
    assert redis.shares[0].destination.name == "outbound|6379||store.default.svc.cluster.local"
    assert call("services", "reviews-v1-a", Request("example.org")).outcome == "passed through"
    assert call("services", "reviews-v1-a", Request("example.org", 12)).outcome == "passed through"


def test_missing_back_ends_are_said_to_be_missing() -> None:
    found = call("broken_routes", "weather-v1-a", Request("weather", path="/nobody"))
    assert (found.outcome, found.status) == ("answered", 503)
    assert "host `wether.default.svc.cluster.local` is unknown" in found.reason


def test_gateways() -> None:
    found = model("gateways")
    site = explain_from_gateway(found, port_of(found, 80), Request("www.example.com", path="/app"))
    assert site.route is not None
    assert site.route.name == "default/site/http[0]"
    redirect = explain_from_gateway(found, port_of(found, 80), Request("secure.example.com"))
    assert (redirect.outcome, redirect.status) == ("redirected", 301)
    assert (
        explain_from_gateway(found, port_of(found, 80), Request("other.org")).outcome == "not found"
    )
    database = explain_from_gateway(found, port_of(found, 5432), Request("any", 5432))
    assert database.shares[0].destination.port == 5432


def test_tls_at_a_gateway_ends_there_or_passes() -> None:
    found = model("gateways")
    inside = explain_from_gateway(
        found, port_of(found, 443), read_request("GET", "https://secure.example.com/")
    )
    assert inside.met is not None
    assert inside.met.server is not None
    assert inside.met.server.tls is not None
    plain = explain_from_gateway(
        found, port_of(found, 443), read_request("GET", "http://secure.example.com/")
    )
    assert (plain.outcome, plain.reason) == ("closed", "port 443 takes TLS only")


def guarded(text: str, url: str) -> Answer:
    question = Question("deploy/front", "default", read_request("GET", url))
    found = explain_documents(diagnose(text, "a.yaml").documents, question)
    assert isinstance(found, Explained)
    return found.answer


def test_policies_refuse_requests_datagrams_and_connections() -> None:
    request = guarded(GUARDED, "http://web/admin")
    assert (request.outcome, request.status) == ("denied", 403)
    assert "AuthorizationPolicy default/closed denies it" in request.summary
    assert guarded(GUARDED, "http://web/other").outcome == "routed"
    # A denial of paths is one of all that has no path, as Istio has it.
    assert "default/closed denies it" in guarded(GUARDED, "udp://talk:53").summary
    unguarded = GUARDED.rpartition("---")[0]
    datagrams = guarded(unguarded, "udp://talk:53")
    assert datagrams.summary == "goes to talk.default.svc.cluster.local port 53"
    assert any("a listener of their own" in s.text for s in datagrams.steps)


def test_pods_that_are_not_ready_are_named_where_nobody_answers() -> None:
    objects = snapshot(list(yaml.safe_load_all(UNREADY)))
    question = Question("pod/front-a", "default", read_request("GET", "http://web/"))
    found = explain(build(objects).model, Places(objects), question, lambda host, ns: "10.96.0.1")
    assert isinstance(found, Explained)
    assert (found.answer.outcome, found.answer.status) == ("unavailable", 503)
    (share,) = found.answer.shares
    (text,) = [e.text for e in share.effects if e.what == "not ready"]
    assert text == "web-a, web-b; `weft describe pod/web-a` says why"


UNREADY = """
kind: Service
apiVersion: v1
metadata: {name: web}
spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{name: http, port: 80}]}
---
kind: Backends
service: web
pods:
  web-a: {ip: 10.244.0.1, state: unready}
  web-b: {ip: 10.244.0.2, state: unready}
---
kind: Service
apiVersion: v1
metadata: {name: front}
spec: {clusterIP: 10.96.0.2, selector: {app: front}, ports: [{name: http, port: 80}]}
---
kind: Backends
service: front
pods:
  front-a: {ip: 10.244.0.3}
"""
GUARDED = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: front}
spec:
  selector: {matchLabels: {app: front}}
  template:
    metadata: {labels: {app: front}}
    spec: {containers: [{name: a, image: x}]}
---
apiVersion: v1
kind: Service
metadata: {name: talk}
spec: {selector: {app: front}, ports: [{name: talk, port: 53, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: front}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed}
spec:
  action: DENY
  rules: [{to: [{operation: {paths: [/admin*]}}]}]
"""


def test_the_proxy_of_a_pod_without_a_namespace_tells_ports_apart() -> None:
    web = call("host_isolation", "redis-x-a", Request("web", 8000))
    assert web.shares[0].destination.port == 8000
    assert call("host_isolation", "redis-x-a", Request("redis", 8000)).outcome == "passed through"
    assert call("host_isolation", "web-v1-a", Request("redis")).shares[0].destination.port == 80

"""Explanations agree with what the model says, for every kind of answer."""

import pytest

from tests.golden_support import documents
from tests.mesh.cluster import snapshot
from weft.mesh.build import build
from weft.mesh.explain import Explanation, Request, explain_from_gateway, explain_from_workload
from weft.mesh.model import MeshModel


def model(case: str) -> MeshModel:
    return build(snapshot(documents("mesh", case))).model


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
    assert any("10 % of requests are copied" in s for s in found.steps)


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
    site = explain_from_gateway(found, 80, Request("www.example.com", path="/app"))
    assert site.route is not None
    assert site.route.name == "default/site/http[0]"
    redirect = explain_from_gateway(found, 80, Request("secure.example.com"))
    assert (redirect.outcome, redirect.status) == ("redirected", 301)
    assert explain_from_gateway(found, 80, Request("other.org")).outcome == "not found"
    closed = explain_from_gateway(found, 8443, Request("www.example.com"))
    assert "open ports: 80, 443, 5432" in closed.reason
    database = explain_from_gateway(found, 5432, Request("any", 5432))
    assert database.shares[0].destination.port == 5432


def test_the_proxy_of_a_pod_without_a_namespace_tells_ports_apart() -> None:
    web = call("host_isolation", "redis-x-a", Request("web", 8000))
    assert web.shares[0].destination.port == 8000
    assert call("host_isolation", "redis-x-a", Request("redis", 8000)).outcome == "passed through"
    assert call("host_isolation", "web-v1-a", Request("redis")).shares[0].destination.port == 80

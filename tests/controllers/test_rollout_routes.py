"""Rollouts that write the routes their users name: Istio's and the Gateway API's."""

from typing import Any

import pytest

from tests.controllers.rollout_world import agent, promote, roll, rollout, wait, world, write_status
from tests.controllers.simulate import World, make
from weft.api.argo.common import POD_HASH
from weft.api.gateway.v1 import HTTPRoute
from weft.api.istio.networking_v1 import DestinationRule, VirtualService

STEPS = [
    {"setWeight": 20},
    {"setHeaderRoute": {"name": "beta", "match": [
        {"headerName": "x", "headerValue": {"prefix": "a.b"}}]}},
    {"setMirrorRoute": {"name": "copy", "percentage": 30, "match": [{"method": {"exact": "GET"}}]}},
    {"pause": {}},
]  # fmt: skip
MANAGED = [{"name": "beta"}, {"name": "copy"}]


def strategy(routing: Any, *, services: bool = True) -> Any:
    names = {"stableService": "web", "canaryService": "web-canary"} if services else {}
    return {"canary": {**names, "steps": STEPS, "trafficRouting": {
        "managedRoutes": MANAGED, **routing}}}  # fmt: skip


def virtual_service(w: World, *routes: Any, **spec: Any) -> None:
    w.put(make(VirtualService, {"spec": {"hosts": ["web"], "http": list(routes), **spec}},
               name="vs"))  # fmt: skip
    w.settle(agent)


def to(host: str, weight: int, subset: str = "") -> Any:
    return {"destination": {"host": host, **({"subset": subset} if subset else {})},
            "weight": weight}  # fmt: skip


PRIMARY = {"name": "primary", "timeout": "3s", "route": [
    to("web", 100), to("web-canary.default.svc.cluster.local", 0)]}  # fmt: skip
OTHER = {"name": "other", "route": [to("elsewhere", 100)]}
ISTIO = {"istio": {"virtualService": {"name": "vs", "routes": ["primary"]}}}


def test_a_virtual_service() -> None:
    w = world(strategy(ISTIO))
    virtual_service(w, OTHER, PRIMARY)
    roll(w, "v2")
    beta, copy, other, primary = w.need(VirtualService, "vs").spec.http
    assert (beta.name, beta.match[0].headers["x"].prefix) == ("beta", "a.b")
    assert [d.destination.host for d in beta.route if d.destination] == [
        "web-canary.default.svc.cluster.local"
    ]
    assert copy.mirror is not None
    assert copy.mirror_percentage is not None
    assert copy.mirror_percentage.value == 30
    assert [d.weight for d in copy.route] == [80, 20]
    assert other.route[0].weight == 100
    assert (primary.timeout, [d.weight for d in primary.route]) == ("3s", [80, 20])
    promote(w)
    assert [r.name for r in w.need(VirtualService, "vs").spec.http] == ["other", "primary"]
    assert [d.weight for d in w.need(VirtualService, "vs").spec.http[1].route] == [100, 0]
    assert rollout(w).status.phase == "Healthy"


def test_tcp_routes() -> None:
    routing = {"istio": {"virtualService": {"name": "vs", "tcpRoutes": [{"port": 3000}]}}}
    w = world({"canary": {**strategy(routing)["canary"], "steps": [{"setWeight": 20},
                                                                     {"pause": {}}]}})  # fmt: skip
    route = [to("web", 100), to("web-canary", 0)]
    virtual_service(w, tcp=[{"match": [{"port": 3000}], "route": route},
                            {"match": [{"port": 4000}], "route": route}])  # fmt: skip
    roll(w, "v2")
    one, two = w.need(VirtualService, "vs").spec.tcp
    assert [d.weight for d in one.route] == [80, 20]
    assert [d.weight for d in two.route] == [100, 0]


def test_subsets_of_one_service() -> None:
    rule = {"name": "dr", "canarySubsetName": "canary", "stableSubsetName": "stable"}
    routing = {"istio": {"virtualService": {"name": "vs"}, "destinationRule": rule}}
    w = world(strategy(routing, services=False))
    subsets = [{"name": n, "labels": {"app": "web"}} for n in ("stable", "canary")]
    w.put(make(DestinationRule, {"spec": {"host": "web", "subsets": subsets}}, name="dr"))
    virtual_service(w, {"route": [to("web", 100, "stable"), to("web", 0, "canary")]})

    def hashes() -> list[str]:
        return [s.labels[POD_HASH] for s in w.need(DestinationRule, "dr").spec.subsets]

    first = rollout(w).status.stable_rs
    assert hashes() == [first, first]
    roll(w, "v2")
    second = rollout(w).status.current_pod_hash
    assert hashes() == [first, second]
    assert [d.weight for d in w.need(VirtualService, "vs").spec.http[-1].route] == [80, 20]
    write_status(w, abort=True)
    assert [d.weight for d in w.need(VirtualService, "vs").spec.http[-1].route] == [100, 0]
    write_status(w, abort=False)
    write_status(w, promoteFull=True)
    wait(w, 31)
    assert hashes() == [second, second]
    assert rollout(w).status.phase == "Healthy"


def http_route(w: World, *rules: Any) -> None:
    w.put(make(HTTPRoute, {"spec": {"rules": list(rules)}}, name="route"))
    w.settle(agent)


BOTH = [{"name": "web", "port": 80, "weight": 100}, {"name": "web-canary", "port": 80, "weight": 0}]


def test_a_route_of_the_gateway_api() -> None:
    plugin = {"plugins": {"argoproj-labs/gatewayAPI": {"httpRoute": "route"}}}
    w = world(strategy(plugin))
    http_route(w, {"matches": [{"path": {"value": "/api"}}], "backendRefs": BOTH},
               {"backendRefs": [{"name": "elsewhere", "port": 80}]})  # fmt: skip
    roll(w, "v2")
    beta, copy, first, second = w.need(HTTPRoute, "route").spec.rules
    assert (beta.name, beta.matches[0].path.value) == ("beta", "/api")
    assert beta.matches[0].headers[0].value == r"a\.b.*"
    assert copy.filters[0].type == "RequestMirror"
    assert [b.weight for b in first.backend_refs] == [80, 20]
    assert [b.weight for b in second.backend_refs] == [1]
    promote(w)
    assert [b.weight for b in w.need(HTTPRoute, "route").spec.rules[0].backend_refs] == [100, 0]


@pytest.mark.parametrize(
    ("routing", "routes", "said"),
    [
        (ISTIO, [OTHER], "it has no route named primary"),
        (ISTIO, [{**OTHER, "name": "primary"}], "does not name both"),
        ({"istio": {"virtualService": {"name": "vs"}}}, [OTHER, PRIMARY], "several routes"),
        ({"istio": {"virtualService": {"name": "lost"}}}, [PRIMARY], "lost does not exist"),
        ({"plugins": {"argoproj-labs/gatewayAPI": {"httpRoute": "lost"}}}, [PRIMARY],
         "the HTTPRoute lost does not exist"),
        ({"plugins": {"argoproj-labs/gatewayAPI": {}}}, [PRIMARY], "names no route"),
    ],
)  # fmt: skip
def test_what_is_wrong_stops_it_and_is_said(routing: Any, routes: Any, said: str) -> None:
    w = world(strategy(routing))
    virtual_service(w, *routes)
    roll(w, "v2")
    assert rollout(w).status.phase == "Degraded"
    assert said in rollout(w).status.message

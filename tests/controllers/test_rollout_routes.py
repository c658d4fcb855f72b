"""Rollouts that write the routes their users name: Istio's and the Gateway API's."""

from typing import Any

import pytest

from tests.controllers.rollout_world import (
    agent,
    behind,
    images,
    promote,
    roll,
    rollout,
    service,
    told,
    wait,
    world,
    write_status,
)
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


def refs(w: World, name: str = "route", rule: int = -1) -> dict[str, int]:
    return {b.name: b.weight for b in w.need(HTTPRoute, name).spec.rules[rule].backend_refs}


SIMPLE = [{"setWeight": 20}, {"pause": {}}]


def test_the_plugin_writes_only_what_its_configuration_names() -> None:
    """A rule by its name, routes by labels, header routes where they are wanted; and a label says
    how long a canary is under way."""
    config = {
        "httpRoutes": [{"name": "route", "ruleName": "mine"}],
        "httpRouteSelector": {"matchLabels": {"canary": "yes"}},
    }
    w = world(strategy({"plugins": {"argoproj-labs/gatewayAPI": config}}))
    http_route(w, {"name": "mine", "backendRefs": BOTH}, {"name": "fixed", "backendRefs": BOTH})
    w.put(make(HTTPRoute, {"spec": {"rules": [
        {"matches": [{"path": {"value": path}}], "backendRefs": BOTH} for path in ("/a", "/b")]}},
        name="found", labels={"canary": "yes"}))  # fmt: skip
    roll(w, "v2")
    named = w.need(HTTPRoute, "route").spec.rules
    assert [r.name for r in named] == ["copy", "mine", "fixed"]
    assert [[b.weight for b in r.backend_refs] for r in named[1:]] == [[80, 20], [100, 0]]
    found = w.need(HTTPRoute, "found")
    assert [(r.name, r.matches[0].path.value) for r in found.spec.rules] == [
        ("beta", "/a"), ("beta-1", "/b"), ("copy", "/a"), ("copy-1", "/b"), ("", "/a"), ("", "/b"),
    ]  # fmt: skip
    assert found.metadata.labels["rollouts.argoproj.io/gatewayapi-canary"] == "in-progress"
    active = "rollouts.argoproj.io/gatewayapi-active-rollouts"
    assert found.metadata.annotations[active] == "default/web"
    promote(w)
    wait(w, 31)
    found = w.need(HTTPRoute, "found")
    assert [r.name for r in found.spec.rules] == ["", ""]
    assert (found.metadata.labels, found.metadata.annotations) == ({"canary": "yes"}, {})


@pytest.mark.parametrize(
    ("routing", "called"),
    [({"nginx": {"stableIngress": "web"}}, "web"), ({"smi": {}}, "web"),
     ({"alb": {"ingress": "web", "rootService": "root", "servicePort": 80}}, "root")],
)  # fmt: skip
def test_the_mesh_stands_in_for_other_routers(routing: Any, called: str) -> None:
    w = world({"canary": {"stableService": "web", "canaryService": "web-canary",
                          "steps": SIMPLE, "trafficRouting": routing}})  # fmt: skip
    service(w, "root")
    roll(w, "v2")
    assert [p.name for p in w.need(HTTPRoute, "web").spec.parent_refs] == [called]
    assert refs(w, "web") == {"web": 80, "web-canary": 20}
    assert f"the mesh divides calls to {called}" in told(w, "TrafficDividedByMesh")[0]
    promote(w)
    wait(w, 31)
    assert rollout(w).status.phase == "Healthy"


def test_ping_and_pong_take_turns_and_change_no_pods_while_they_are_called() -> None:
    turns = {"pingService": "ping", "pongService": "pong"}
    w = world({"canary": {"pingPong": turns, "steps": SIMPLE, "trafficRouting": {}}})
    assert rollout(w).status.canary.stable_ping_pong == "ping"
    assert (behind(w, "ping"), behind(w, "pong")) == ({"v1"}, {"v1"})
    roll(w, "v2")
    assert (behind(w, "ping"), behind(w, "pong")) == ({"v1"}, {"v2"})
    assert refs(w, "web") == {"ping": 80, "pong": 20}
    assert {p.name for p in w.need(HTTPRoute, "web").spec.parent_refs} == {"ping", "pong"}
    promote(w)
    assert rollout(w).status.canary.stable_ping_pong == "pong"
    # Whoever is in the middle of something with the old version is left there.
    assert (behind(w, "ping"), behind(w, "pong")) == ({"v1"}, {"v2"})
    assert refs(w, "web") == {"pong": 100, "ping": 0}
    wait(w, 31)
    assert images(w) == {"v2": 4}
    roll(w, "v3")
    assert (behind(w, "ping"), behind(w, "pong")) == ({"v3"}, {"v2"})
    assert refs(w, "web") == {"pong": 80, "ping": 20}
    write_status(w, abort=True)
    assert refs(w, "web") == {"pong": 100, "ping": 0}
    assert rollout(w).status.canary.stable_ping_pong == "pong"
    write_status(w, abort=False)
    promote(w)
    assert rollout(w).status.canary.stable_ping_pong == "ping"
    assert refs(w, "web") == {"ping": 100, "pong": 0}
    assert selections(w) == {"ping": 1, "pong": 1}


def selections(w: World) -> dict[str, int]:
    """How often the pods behind a Service changed after the first version."""
    found = told(w, "SwitchService")
    return {n: sum(f"'{n}'" in t and "from ''" not in t for t in found) for n in ("ping", "pong")}

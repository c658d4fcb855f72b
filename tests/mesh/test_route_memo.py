"""Of thousands of routes only those are made anew whose object, or what they name, changed."""

from typing import Any

from tests.mesh.cluster import snapshot
from weft.api.istio.networking_v1 import Gateway, VirtualService
from weft.api.k8s.core_v1 import Service
from weft.api.snapshot import ObjectSnapshot
from weft.mesh.build import Built, build
from weft.mesh.memo import Memo
from weft.mesh.model import HttpRoute

CLASSES: tuple[type[Any], ...] = (Service, Gateway, VirtualService)
GATEWAY = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "edge"},
    "spec": {"servers": [{"port": {"number": 80, "protocol": "HTTP"}, "hosts": ["*"]}]},
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"ports": [{"port": 80, "name": "http"}]},
}


def routed(name: str, host: str = "web", **route: Any) -> dict[str, Any]:
    rule = {"route": [{"destination": {"host": host}}], **route}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name},
        "spec": {"hosts": [f"{name}.example.com"], "gateways": ["edge"], "http": [rule]},
    }


def with_objects(before: ObjectSnapshot | None, *documents: dict[str, Any]) -> ObjectSnapshot:
    """A snapshot in which objects that stayed are the same values, as the informers' cache does."""
    made = snapshot(list(documents))
    known = {repr(o): o for cls in CLASSES for o in before.list(cls)} if before else {}
    return ObjectSnapshot([known.get(repr(o), o) for cls in CLASSES for o in made.list(cls)])


def routes(built: Built) -> dict[str, HttpRoute]:
    table = next(t for t in built.model.route_tables if t.name == "http.80")
    return {v.domains[0]: v.routes[0] for v in table.virtual_hosts}


def test_one_changed_object_leaves_the_routes_of_all_others() -> None:
    memo = Memo()
    first = with_objects(None, GATEWAY, SERVICE, routed("a"), routed("b"))
    before = routes(build(first, memo=memo))
    second = with_objects(first, GATEWAY, SERVICE, routed("a"), routed("b", timeout="1s"))
    after = routes(build(second, memo=memo))
    assert after["a.example.com"] is before["a.example.com"]
    assert after["b.example.com"].timeout == 1.0


def test_findings_of_what_is_not_made_anew_stay() -> None:
    memo = Memo()
    first = with_objects(None, GATEWAY, SERVICE, routed("a", "gone"), routed("b"))
    found = build(first, memo=memo)
    second = with_objects(first, GATEWAY, SERVICE, routed("a", "gone"), routed("b", timeout="1s"))
    again = build(second, memo=memo)
    assert [d.code for d in found.diagnostics] == ["WEFT2101"]
    assert again.diagnostics == found.diagnostics


def test_what_a_route_names_may_appear() -> None:
    memo = Memo()
    first = with_objects(None, GATEWAY, SERVICE, routed("a", "late"))
    assert routes(build(first, memo=memo))["a.example.com"].direct_response is not None
    late = {**SERVICE, "metadata": {"name": "late"}}
    second = with_objects(first, GATEWAY, SERVICE, late, routed("a", "late"))
    assert routes(build(second, memo=memo))["a.example.com"].direct_response is None


def test_a_delegate_may_change_alone() -> None:
    memo = Memo()
    root = routed("a")
    root["spec"]["http"] = [{"delegate": {"name": "part"}}]

    def part(timeout: str) -> dict[str, Any]:
        made = routed("part", timeout=timeout)
        return {**made, "spec": {"http": made["spec"]["http"]}}

    first = with_objects(None, GATEWAY, SERVICE, root, part("1s"))
    assert routes(build(first, memo=memo))["a.example.com"].timeout == 1.0
    second = with_objects(first, GATEWAY, SERVICE, root, part("2s"))
    assert routes(build(second, memo=memo))["a.example.com"].timeout == 2.0

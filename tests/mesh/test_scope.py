"""What a node's proxy gets, and what it is spared."""

from msgspec import structs

from tests.golden_support import documents
from tests.mesh.cluster import snapshot
from weft.mesh.build import build
from weft.mesh.model import MeshModel, NodeSettings, RouteTable, ServiceListener
from weft.mesh.scope import scope


def model(case: str) -> MeshModel:
    return build(snapshot(documents("mesh", case))).model


def test_a_node_without_workloads_keeps_the_gateways_part_only() -> None:
    found = scope(model("gateways"), NodeSettings(name="elsewhere"))
    assert not found.workloads
    assert {t.name.partition(".")[0] for t in found.route_tables} == {"http", "https"}
    assert {d.name for d in found.destinations} == {
        "outbound|80||web.default.svc.cluster.local",
        "outbound|5432||web.default.svc.cluster.local",
    }


def test_routes_of_absent_callers_are_left_out() -> None:
    whole = model("services")
    found = scope(whole, NodeSettings(name="node-b"))
    assert {w.namespace for w in found.workloads} == {"default"}
    (short,) = [v for t in found.route_tables for v in t.virtual_hosts if v.name == "reviews:80"]
    assert [r.source for r in short.routes] == ["Service default/reviews"]
    everywhere = scope(whole, NodeSettings(name="node-a"))
    assert everywhere.route_tables == whole.route_tables


def test_sidecars_spare_a_proxy_what_no_workload_of_its_node_can_reach() -> None:
    whole = model("sidecars")
    found = scope(whole, NodeSettings(name="node-a"))
    assert {t.name for t in found.route_tables} == {
        "80@bank/ledger",
        "80@free/default",
        "80@shop/default",
    }
    alone = structs.replace(
        whole, workloads=tuple(w for w in whole.workloads if w.namespace == "shop")
    )
    spared = scope(alone, NodeSettings(name="node-a"))
    assert {d.name for d in spared.destinations} == {
        "outbound|80||web.shop.svc.cluster.local",
        "outbound|9000||web.shop.svc.cluster.local",
        "outbound|5432||ledger.bank.svc.cluster.local",
        "outbound|80||maps.example.com",
    }


def test_service_addresses_are_listened_on_in_host_isolation_only() -> None:
    whole = model("host_isolation")
    host = scope(whole, NodeSettings(name="node-a", isolation="host"))
    assert len(host.service_listeners) == 3
    assert "80" not in {t.name for t in host.route_tables}
    netns = scope(whole, NodeSettings(name="node-a"))
    assert netns.service_listeners == ()


def test_service_ports_that_the_proxy_may_not_bind_move() -> None:
    whole = model("host_isolation")
    root, user = (
        scope(whole, NodeSettings(name="node-a", isolation="host", first_port=first))
        for first in (0, 1024)
    )
    moved = {
        (then.port, now.port)
        for then, now in zip(root.service_listeners, user.service_listeners, strict=True)
    }
    assert (80, 8080) in moved
    assert all(now == then if then >= 1024 else now == then + 8000 for then, now in moved)
    assert user.route_tables == root.route_tables


def test_host_isolation_listens_on_loopback_addresses_only() -> None:
    """Addresses of ServiceEntries and external ones are not the machine's: a listener there would
    be refused, and the object with it."""
    listeners = tuple(
        ServiceListener(address, 80, route_table="80", host="web")
        for address in ("127.64.0.1", "240.240.1.1", "192.0.2.1")
    )
    whole = MeshModel(service_listeners=listeners, route_tables=(RouteTable("80", ()),))
    found = scope(whole, NodeSettings("n", isolation="host"))
    assert [each.address for each in found.service_listeners] == ["127.64.0.1"]
    assert not scope(whole, NodeSettings("n")).service_listeners

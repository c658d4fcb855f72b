"""Limits are counted for each caller: who is routed where."""

from msgspec.structs import replace

from weft.mesh.caller_limits import common_name, with_caller_limits
from weft.mesh.consistency import problems
from weft.mesh.model import (
    ConnectionPool,
    Destination,
    HttpMatch,
    HttpRoute,
    Mirror,
    NodeModel,
    NodeSettings,
    OutboundPort,
    RouteTable,
    TcpRoute,
    UdpRoute,
    VirtualHost,
    WeightedDestination,
    Workload,
)

LIMITED = Destination("web", "web", 80, "http", pool=ConnectionPool(requests_max=1))
FREE = Destination("free", "free", 80, "http")


def caller(name: str, namespace: str = "default") -> Workload:
    return Workload(
        uid=name, name=name, namespace=namespace, node="n", address="10.0.0.1", workload=name,
        principal="", outbound=(OutboundPort(80, "80"),),
        tcp=(TcpRoute(("10.96.0.9",), 90, (WeightedDestination("web"),)),),
        udp=(UdpRoute(("10.96.0.9",), 53, "web"),),
    )  # fmt: skip


def model(*routes: HttpRoute) -> NodeModel:
    hosts = (VirtualHost("web", ("web",), routes),)
    return NodeModel(
        node=NodeSettings("n"),
        workloads=(caller("one"), caller("two", "shop"), replace(caller("one"), uid="one-more")),
        destinations=(LIMITED, FREE),
        route_tables=(RouteTable("80", hosts), RouteTable("http.80", hosts)),
    )


SPLIT = HttpRoute(
    "split",
    matches=(HttpMatch(), HttpMatch(source_namespaces=("shop",))),
    destinations=(WeightedDestination("web", 9), WeightedDestination("free", 1)),
    mirrors=(Mirror("web"),),
)


def test_each_workload_has_its_own_destination() -> None:
    made = with_caller_limits(model(SPLIT))
    assert not problems(made)
    own = {d.name for d in made.destinations} - {"web", "free"}
    assert own == {"web#default/one", "web#shop/two"}
    assert {common_name(name) for name in own} == {"web"}
    for workload in made.workloads:
        name = f"web#{workload.namespace}/{workload.workload}"
        assert workload.tcp[0].destinations[0].destination == name
        assert workload.udp[0].destination == name


def test_routes_are_chosen_by_the_caller_before_the_common_one() -> None:
    mesh, edge = with_caller_limits(model(SPLIT)).route_tables
    first, second, common = mesh.virtual_hosts[0].routes
    assert [m.source_workload for m in first.matches] == ["default/one"]
    assert [m.source_workload for m in second.matches] == ["shop/two"] * 2
    assert [d.destination for d in second.destinations] == ["web#shop/two", "free"]
    assert second.mirrors == (Mirror("web#shop/two"),)
    assert common == SPLIT
    assert edge.virtual_hosts[0].routes == (SPLIT,), "at a gateway no caller is known"


def test_what_has_no_limits_stays_as_it_is() -> None:
    shared = replace(LIMITED, pool=ConnectionPool(requests_max=1, shared=True))
    for destination in (FREE, shared, replace(LIMITED, pool=ConnectionPool())):
        whole = replace(model(SPLIT), destinations=(replace(destination, name="web"), FREE))
        assert with_caller_limits(whole) is whole

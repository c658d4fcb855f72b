"""The check finds what it is for."""

from msgspec.structs import replace

from weft.mesh.consistency import problems
from weft.mesh.model import (
    Destination,
    GatewayListener,
    GatewayServer,
    HttpRoute,
    MeshModel,
    OutboundPort,
    RouteTable,
    TcpRoute,
    VirtualHost,
    WeightedDestination,
    Workload,
)

ROUTE = HttpRoute("r", destinations=(WeightedDestination("d"),))
TABLE = RouteTable("80", (VirtualHost("v", ("a", "b"), (ROUTE,)),))
TCP = TcpRoute(("10.0.0.1",), 5, (WeightedDestination("d"),))
WORKLOAD = Workload(
    uid="u", name="w", namespace="n", node="x", address="1", workload="w", principal="p",
    outbound=(OutboundPort(80, "80"),), tcp=(TCP,),
)  # fmt: skip
SOUND = MeshModel(
    workloads=(WORKLOAD,),
    destinations=(Destination("d", "h", 80, "http"),),
    route_tables=(TABLE,),
)


def test_a_sound_model_has_no_problems() -> None:
    assert problems(SOUND) == []


def test_every_kind_of_damage_is_found() -> None:
    twice = VirtualHost("w", ("a",), (ROUTE,))
    table = replace(TABLE, virtual_hosts=(*TABLE.virtual_hosts, twice))
    server = GatewayServer("s", ("*",), "nowhere")
    for damaged, word in (
        (replace(SOUND, destinations=()), "names unknown 'd'"),
        (replace(SOUND, route_tables=()), "names unknown table '80'"),
        (replace(SOUND, route_tables=(table,)), "domain 'a' stands twice"),
        (replace(SOUND, workloads=(WORKLOAD, WORKLOAD)), "workload 'u' stands twice"),
        (replace(SOUND, workloads=(replace(WORKLOAD, tcp=(TCP, TCP)),)), "twice"),
        (
            replace(SOUND, gateways=(GatewayListener(80, "http", (server,)),)),
            "names unknown table 'nowhere'",
        ),
        (
            replace(
                SOUND, gateways=(GatewayListener(80, "tcp", (replace(server, route_table=""),)),)
            ),
            "not exactly one",
        ),
    ):
        assert any(word in found for found in problems(damaged)), word

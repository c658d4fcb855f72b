"""Services on nodes' own addresses."""

import json

from weft.mesh.exposure import on_node
from weft.mesh.model import Destination, Endpoint, GatewayBinding, NodePlace, NodeSettings, UdpRoute
from weft.mesh.model import ServiceListener as Listener

WEB = "Service default/web"
LISTENER = Listener("", 80, route_table="t", host="web", owner=WEB, health_port=30900)
PLACES = (
    NodePlace(WEB, "127.0.0.1", 30080, 80),
    NodePlace(WEB, "127.0.0.1", 30900, 30900, "health"),
    NodePlace("Service default/other", "127.0.0.1", 30081, 80),
)


def web(*nodes: str) -> Destination:
    endpoints = tuple(
        Endpoint(f"10.0.0.{at}", 8080, node=node, pod_uid=str(at)) for at, node in enumerate(nodes)
    )
    return Destination("web", "web", 80, "http", endpoints=endpoints)


def test_a_listener_for_each_place() -> None:
    binding = GatewayBinding(WEB, ("127.128.0.1",), ((80, 8080),))
    node = NodeSettings("n", places=PLACES, gateway_bindings=(binding,))
    listeners, _ = on_node((LISTENER,), node, (web("n"),))
    found = {(each.address, each.port, each.route_table) for each in listeners}
    assert found == {
        ("127.0.0.1", 30080, "t"),
        ("127.128.0.1", 8080, "t"),
        ("127.0.0.1", 30900, "health|default/web"),
    }


def test_health_checks_count_endpoints_of_the_node() -> None:
    node = NodeSettings("n", places=PLACES)
    for nodes, status, count in ((("n", "n", "m"), 200, 2), (("m",), 503, 0)):
        _, (table,) = on_node((LISTENER,), node, (web(*nodes),))
        answer = table.virtual_hosts[0].routes[0].direct_response
        assert answer is not None
        assert (answer.status, json.loads(answer.body)["localEndpoints"]) == (status, count)


def test_nothing_without_places() -> None:
    assert on_node((LISTENER,), NodeSettings("n"), ()) == ((), ())


def test_datagrams_are_refused_where_callers_are_chosen() -> None:
    udp = Listener("", 80, udp=UdpRoute((), 80, "web"), owner=WEB, source_ranges=("192.0.2.0/24",))
    node = NodeSettings("n", places=(NodePlace(WEB, "127.0.0.1", 30080, 80, "udp"),))
    assert on_node((udp,), node, ()) == ((), ())

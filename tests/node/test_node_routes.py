from tests.controllers.simulate import make
from weft.api.k8s.core_v1 import Node
from weft.node.node_routes import wanted_routes


def node(name: str, cidr: str, address: str, created: str = "2026-01-01T00:00:00Z") -> Node:
    status = {"addresses": [{"type": "InternalIP", "address": address}]}
    body = {
        "metadata": {"creationTimestamp": created},
        "spec": {"podCIDR": cidr},
        "status": status,
    }
    return make(Node, body, name=name)


def test_routes_lead_to_other_nodes() -> None:
    nodes = [
        node("a", "10.244.0.0/24", "10.0.0.1"),
        node("b", "10.244.1.0/24", "10.0.0.2"),
        node("c", "10.244.2.0/24", "10.0.0.3"),
    ]
    assert wanted_routes(nodes, "b") == {"10.244.0.0/24": "10.0.0.1", "10.244.2.0/24": "10.0.0.3"}


def test_nobody_takes_anothers_network_or_all_of_it() -> None:
    nodes = [
        node("a", "10.244.0.0/24", "10.0.0.1"),
        node("thief", "10.244.0.0/24", "10.0.0.9"),
        node("copy", "10.244.1.0/24", "10.0.0.8", "2026-02-01T00:00:00Z"),
        node("b", "10.244.1.0/24", "10.0.0.2"),
        node("all", "0.0.0.0/0", "10.0.0.7"),
        node("local", "10.244.5.0/24", "127.0.0.1"),
        node("none", "", "10.0.0.6"),
        node("odd", "10.244.6.0/24", "nonsense"),
    ]
    assert wanted_routes(nodes, "a") == {"10.244.1.0/24": "10.0.0.2"}

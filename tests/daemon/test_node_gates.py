"""Where the pods of other nodes are reached."""

from weft.api.k8s.core_v1 import Node, NodeAddress, NodeSpec, NodeStatus
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.daemon.node_gates import wanted_gates


def node(name: str, network: str, address: str = "", created: str = "") -> Node:
    addresses = (NodeAddress(type="InternalIP", address=address),) if address else ()
    return Node(
        metadata=ObjectMeta(name=name, creation_timestamp=created),
        spec=NodeSpec(pod_cidr=network),
        status=NodeStatus(addresses=addresses),
    )


def test_others_are_reached_at_their_addresses() -> None:
    nodes = [node("a", "10.244.0.0/24", "192.0.2.1"), node("b", "10.244.1.0/24", "192.0.2.2")]
    assert wanted_gates(nodes, "a") == {"10.244.1.0/24": "192.0.2.2"}


def test_nobody_takes_anothers_network() -> None:
    nodes = [
        node("a", "10.244.0.0/24", "192.0.2.1", "2026-01-02T00:00:00Z"),
        node("thief", "10.244.0.0/24", "192.0.2.6", "2026-01-01T00:00:00Z"),
        node("late", "10.244.1.0/24", "192.0.2.7", "2026-01-03T00:00:00Z"),
        node("b", "10.244.1.0/24", "192.0.2.2", "2026-01-02T00:00:00Z"),
    ]
    assert wanted_gates(nodes, "a") == {"10.244.1.0/24": "192.0.2.2"}


def test_what_cannot_be_reached_has_no_gate() -> None:
    nodes = [node("b", "10.244.1.0/24"), node("c", "", "192.0.2.3"), node("d", "x", "192.0.2.4"),
             node("e", "10.244.2.0/24", "127.0.0.1")]  # fmt: skip
    assert wanted_gates(nodes, "a") == {}

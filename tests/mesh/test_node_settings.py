"""Nodes' annotations."""

from weft.api.k8s.core_v1 import Node
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.mesh.model import NodeSettings
from weft.mesh.node_settings import node_settings


def node(**annotations: str) -> Node:
    named = {f"weft.dev/{k.replace('_', '-')}": v for k, v in annotations.items()}
    return Node(metadata=ObjectMeta(name="a", annotations=named))


def test_annotations_are_read() -> None:
    found = node_settings(
        node(
            isolation="host",
            node_address="10.0.0.1",
            passthrough_address="10.0.0.2",
            gateway_address="0.0.0.0",
            gateway_ports='{"443": 8443, "80": 8080}',
            first_port="1024",
        )
    )
    assert found == NodeSettings(
        "a", "host", "10.0.0.1", "10.0.0.2", "0.0.0.0", ((80, 8080), (443, 8443)), first_port=1024
    )


def test_what_is_absent_or_unreadable_takes_its_default() -> None:
    assert node_settings(node()) == NodeSettings("a")
    assert node_settings(node(isolation="odd", gateway_ports="[", first_port="-")) == NodeSettings(
        "a"
    )

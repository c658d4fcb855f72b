"""What `weft why` says about the way to an endpoint."""

import pytest

from weft.mesh.explain.transport import travels
from weft.mesh.model import Destination, Endpoint

NODES = {"a": "192.0.2.1", "b": "192.0.2.2"}
WEB = Destination(name="web", host="web", port=80, protocol="http")
POD = Endpoint("10.244.1.9", 8080, node="b", pod_uid="u")


@pytest.mark.parametrize(
    ("callers", "said"),
    [
        (("b",), "within the node"),
        (("a",), "mutual TLS to the proxy of node b, as me"),
        (("a", "b"), "mutual TLS to the proxy of node b, as me; within that node none is needed"),
        ((), "mutual TLS to the proxy of node b, as me; within that node none is needed"),
    ],
)
def test_between_nodes(callers: tuple[str, ...], said: str) -> None:
    assert travels(POD, WEB, callers, NODES, "me") == said


def test_what_is_not_encrypted_is_said() -> None:
    host_network = Endpoint("192.0.2.2", 8080, node="b", pod_uid="u")
    assert "in the clear" in travels(host_network, WEB, ("a",), NODES, "me")
    unknown = Endpoint("10.244.2.9", 8080, node="c", pod_uid="u")
    assert "has no address" in travels(unknown, WEB, ("a",), NODES, "me")


def test_one_node_has_nothing_to_say() -> None:
    assert travels(POD, WEB, ("b",), {"b": "192.0.2.2"}, "me") == ""
    assert travels(Endpoint("192.0.2.9", 80), WEB, ("a",), NODES, "me") == ""

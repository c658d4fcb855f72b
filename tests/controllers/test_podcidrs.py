"""Every node gets a network for its pods."""

from tests.controllers.simulate import World, make
from weft.api.k8s.core_v1 import Node
from weft.controllers import podcidrs


def test_nodes_get_networks_that_do_not_overlap() -> None:
    w = World([podcidrs.CONTROLLER])
    w.put(make(Node, {"spec": {"podCIDR": "10.244.1.0/24"}}, name="own"))
    for name in ("x", "y", "z"):
        w.put(make(Node, {}, name=name))
    w.settle()
    found = [w.need(Node, name, "").spec.pod_cidr for name in ("own", "x", "y", "z")]
    assert found == ["10.244.1.0/24", "10.244.0.0/24", "10.244.2.0/24", "10.244.3.0/24"]
    assert w.need(Node, "x", "").spec.pod_cidrs == ("10.244.0.0/24",)
    writes = len(w.writes)
    w.settle()
    assert len(w.writes) == writes


def test_a_network_is_free_again_after_its_node() -> None:
    w = World([podcidrs.CONTROLLER])
    w.put(make(Node, {"spec": {"podCIDR": "10.244.0.0/16"}}, name="big"))
    w.put(make(Node, {}, name="x"))
    w.settle()
    assert w.need(Node, "x", "").spec.pod_cidr == "10.245.0.0/24"

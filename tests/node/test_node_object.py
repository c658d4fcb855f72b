from weft.node.node_object import kept


def test_a_node_in_anothers_place_keeps_what_others_said() -> None:
    new = {
        "kind": "Node",
        "metadata": {"name": "n", "labels": {"os": "linux"}},
        "spec": {"podCIDR": "10.244.1.0/24"},
    }
    old = {
        "metadata": {"name": "n", "uid": "1", "labels": {"os": "x", "team": "a"}},
        "spec": {"podCIDR": "10.244.0.0/24", "unschedulable": True},
    }
    found = kept(new, old)
    assert found["metadata"] == {
        "name": "n", "labels": {"os": "linux", "team": "a"}, "annotations": {},
    }  # fmt: skip
    assert found["spec"] == {"podCIDR": "10.244.1.0/24", "unschedulable": True}

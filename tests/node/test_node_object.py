from weft.node.agent_settings import AgentSettings, MachineFacts
from weft.node.node_object import kept, node_status
from weft.node.pressure import Options


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


def test_pressures_are_conditions() -> None:
    settings = AgentSettings(node_name="n", data_dir="/d")
    machine = MachineFacts(
        cpu_count=1, memory_bytes=1 << 30, disk_bytes=1 << 30, pods_max=9, architecture="amd64",
        kernel_version="6", os_image="", machine_id="", boot_id="",
    )  # fmt: skip

    def told(*pressures: str) -> dict[str, tuple[str, str]]:
        found = node_status(settings, machine, {}, 0.0, pressures)["conditions"]
        return {c["type"]: (c["status"], c["reason"]) for c in found}

    assert told()["MemoryPressure"] == ("False", "KubeletHasSufficientMemory")
    both = told("MemoryPressure", "PIDPressure")
    assert both["MemoryPressure"] == ("True", "KubeletHasInsufficientMemory")
    assert both["PIDPressure"] == ("True", "KubeletHasInsufficientPID")
    assert told("PIDPressure")["MemoryPressure"][0] == both["DiskPressure"][0] == "False"
    assert told("DiskPressure")["DiskPressure"] == ("True", "KubeletHasDiskPressure")


def test_what_is_reserved_or_must_be_left_is_not_allocatable() -> None:
    settings = AgentSettings(
        node_name="n", data_dir="/d", reserved={"cpu": 0.5, "memory": 256 << 20},
        eviction=Options("memory.available<128Mi,nodefs.available<10%"),
    )  # fmt: skip
    machine = MachineFacts(
        cpu_count=2, memory_bytes=1 << 30, disk_bytes=100 << 20, pods_max=9, architecture="amd64",
        kernel_version="6", os_image="", machine_id="", boot_id="",
    )  # fmt: skip
    status = node_status(settings, machine, {}, 0.0)
    assert status["capacity"] == {
        "cpu": "2", "memory": f"{1 << 20}Ki", "ephemeral-storage": "102400Ki", "pods": "9",
    }  # fmt: skip
    assert status["allocatable"] == {
        "cpu": "1500m", "memory": f"{640 << 10}Ki", "ephemeral-storage": "92160Ki", "pods": "9",
    }  # fmt: skip

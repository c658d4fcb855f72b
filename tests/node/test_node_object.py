from weft.node.agent_settings import AgentSettings, MachineFacts
from weft.node.node_object import kept, node_status
from weft.node.pressure import MEMORY, PIDS, Signal


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

    def told(*pressures: Signal) -> dict[str, tuple[str, str]]:
        found = node_status(settings, machine, {}, 0.0, pressures)["conditions"]
        return {c["type"]: (c["status"], c["reason"]) for c in found}

    assert told()["MemoryPressure"] == ("False", "KubeletHasSufficientMemory")
    both = told(MEMORY, PIDS)
    assert both["MemoryPressure"] == ("True", "KubeletHasInsufficientMemory")
    assert both["PIDPressure"] == ("True", "KubeletHasInsufficientPID")
    assert told(PIDS)["MemoryPressure"][0] == both["DiskPressure"][0] == "False"

"""`weft node`: what draining does to which pod, and what a row says."""

from typing import Any

from weft.cli.node import row, sort


def pod(name: str, owner: str = "", phase: str = "Running", **more: Any) -> Any:
    owners = [{"kind": owner, "name": "x", "controller": True}] if owner else []
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": name, "ownerReferences": owners,
                     "annotations": more.pop("annotations", {})},
        "spec": {"nodeName": "b", **more}, "status": {"phase": phase},
    }  # fmt: skip


PODS = (
    pod("web", "ReplicaSet"),
    pod("agent", "DaemonSet"),
    pod("alone"),
    pod("cache", "ReplicaSet", volumes=[{"name": "d", "emptyDir": {}}]),
    pod("done", "Job", "Succeeded"),
    pod("mirror", annotations={"kubernetes.io/config.mirror": "x"}),
)


def names(pods: Any) -> list[str]:
    return [p["metadata"]["name"] for p in pods]


def test_draining_asks_before_something_is_lost() -> None:
    found = sort(PODS, force=False, delete_data=False)
    assert names(found.staying) == ["agent", "mirror"]
    assert [line.split(":")[0] for line in found.refused] == ["shop/alone", "shop/cache"]
    assert "--force" in found.refused[0]
    assert "--delete-emptydir-data" in found.refused[1]


def test_draining_with_options_takes_all_but_daemons() -> None:
    found = sort(PODS, force=True, delete_data=True)
    assert found.refused == ()
    assert names(found.leaving) == ["web", "alone", "cache", "done"]


def test_a_row_counts_pods_that_run() -> None:
    node = {
        "metadata": {"name": "b", "creationTimestamp": "2025-01-01T00:00:00Z"},
        "spec": {"unschedulable": True, "podCIDR": "10.244.1.0/24"},
        "status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeLost"}]},
    }
    shown = row(node, PODS)
    assert (shown["status"], shown["reason"]) == ("Unknown,SchedulingDisabled", "NodeLost")
    assert shown["pods"] == 5

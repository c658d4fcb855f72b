"""The one word that tells a pod's state, its readiness and restarts."""

from typing import Any

import pytest

from weft.api.pod_columns import pod_state, ready_text, restarts_text
from weft.lib.timefmt import parse_rfc3339

NOW = parse_rfc3339("2026-11-21T00:05:00Z")
RUNNING = {"state": {"running": {}}, "ready": True}


def waiting(reason: str) -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason}}}


def ended(code: int, reason: str = "", signal: int = 0) -> dict[str, Any]:
    return {"state": {"terminated": {"exitCode": code, "reason": reason, "signal": signal}}}


def pod(
    phase: str = "Running",
    containers: list[dict[str, Any]] | None = None,
    init: list[dict[str, Any]] | None = None,
    sidecars: int = 0,
    **status: Any,
) -> dict[str, Any]:
    main, first = containers or [], init or []
    return {
        "metadata": {"name": "p"},
        "spec": {
            "containers": [{"name": f"c{i}"} for i in range(len(main) or 1)],
            "initContainers": [
                {"name": f"i{i}", **({"restartPolicy": "Always"} if i < sidecars else {})}
                for i in range(len(first))
            ],
        },
        "status": {
            "phase": phase,
            "containerStatuses": [{"name": f"c{i}", **s} for i, s in enumerate(main)],
            "initContainerStatuses": [{"name": f"i{i}", **s} for i, s in enumerate(first)],
            **status,
        },
    }


READY = [{"type": "Ready", "status": "True"}]
INITIALIZED = [{"type": "Initialized", "status": "True"}]


@pytest.mark.parametrize(
    ("found", "state", "ready"),
    [
        (pod("Pending"), "Pending", "0/1"),
        (pod(containers=[RUNNING]), "Running", "1/1"),
        (pod(containers=[RUNNING, waiting("CrashLoopBackOff")]), "CrashLoopBackOff", "1/2"),
        (pod("Pending", [waiting("ImagePullBackOff")]), "ImagePullBackOff", "0/1"),
        (pod("Pending", [waiting("ContainerCreating")]), "ContainerCreating", "0/1"),
        (pod("Succeeded", [ended(0, "Completed")]), "Completed", "0/1"),
        (pod("Failed", [ended(1, "Error")]), "Error", "0/1"),
        (pod("Failed", [ended(137, "OOMKilled")]), "OOMKilled", "0/1"),
        (pod("Failed", [ended(3)]), "ExitCode:3", "0/1"),
        (pod("Failed", [ended(0, signal=9)]), "Signal:9", "0/1"),
        (pod("Failed", [ended(1, "Error")], reason="Evicted"), "Error", "0/1"),
        (pod("Failed", reason="Evicted"), "Evicted", "0/1"),
        (pod(containers=[RUNNING, ended(0, "Completed")], conditions=READY), "Running", "1/2"),
        (pod(containers=[RUNNING, ended(0, "Completed")]), "NotReady", "1/2"),
        (pod("Pending", init=[{"state": {"running": {}}}]), "Init:0/1", "0/1"),
        (pod("Pending", init=[ended(0), {"state": {"running": {}}}]), "Init:1/2", "0/1"),
        (pod("Pending", init=[waiting("PodInitializing")]), "Init:0/1", "0/1"),
        (pod("Pending", init=[waiting("CrashLoopBackOff")]), "Init:CrashLoopBackOff", "0/1"),
        (pod("Pending", init=[ended(1, "Error")]), "Init:Error", "0/1"),
        (pod("Pending", init=[ended(2)]), "Init:ExitCode:2", "0/1"),
        (pod("Pending", [waiting("PodInitializing")], [ended(0)]), "PodInitializing", "0/1"),
        (pod(containers=[RUNNING], init=[{**RUNNING, "started": True}], sidecars=1), "Running",
         "2/2"),
        (pod("Pending", conditions=[{"type": "PodScheduled", "status": "False",
         "reason": "SchedulingGated"}]), "SchedulingGated", "0/1"),
        (pod(containers=[waiting("CrashLoopBackOff")], init=[waiting("x")],
         conditions=INITIALIZED), "CrashLoopBackOff", "0/1"),
    ],
)  # fmt: skip
def test_state(found: dict[str, Any], state: str, ready: str) -> None:
    assert (pod_state(found), ready_text(found)) == (state, ready)


def test_terminating() -> None:
    found = pod(containers=[RUNNING])
    found["metadata"]["deletionTimestamp"] = "2026-11-21T00:00:00Z"
    assert pod_state(found) == "Terminating"
    found["status"]["reason"] = "NodeLost"
    assert pod_state(found) == "Unknown"
    done = pod("Succeeded", [ended(0, "Completed")])
    done["metadata"]["deletionTimestamp"] = "2026-11-21T00:00:00Z"
    assert pod_state(done) == "Completed"


def test_restarts() -> None:
    last = {"terminated": {"finishedAt": "2026-11-21T00:03:00Z"}}
    crashed = {**RUNNING, "restartCount": 2, "lastState": last}
    assert restarts_text(pod(containers=[crashed]), NOW) == "2 (2m ago)"
    assert restarts_text(pod(containers=[RUNNING]), NOW) == "0"
    assert restarts_text(pod(containers=[{**RUNNING, "restartCount": 1}]), NOW) == "1"
    again = {**waiting("CrashLoopBackOff"), "restartCount": 3}
    assert restarts_text(pod("Pending", init=[again]), NOW) == "3"
    assert restarts_text(
        pod(containers=[crashed], init=[{**ended(0), "restartCount": 3}]), NOW
    ) == ("2 (2m ago)")

"""A node that runs short: containers cannot take all process ids, and pods go in kubelet's order
before the kernel ends anything."""

import os
import sys
from typing import Any

import pytest

from tests.e2e.conftest import APPS
from tests.e2e.instance import Instance, is_ready, wait_for
from tests.e2e.test_pods import apply, log, phase, pod

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="limits need control groups"),
]
PIDS_MAX = 48
BOMB = """
import os, sys, time
count = 0
while count < 500:
    try:
        if os.fork() == 0:
            time.sleep(1000)
    except OSError as error:
        print("stopped at", count, error, flush=True)
        time.sleep(1000)
    count += 1
"""
HOARD = "import time; x = bytearray(80 << 20); x[::4096] = b'1' * 20480; time.sleep(1000)"


def python(name: str, program: str, **spec: Any) -> Any:
    resources = {"requests": {"memory": spec.pop("memory")}} if "memory" in spec else {}
    main = {"command": [sys.executable, "-c", program], "args": [], "resources": resources}
    return pod(name, "", main, **spec)


def condition(weft: Instance) -> str:
    (node,) = weft.read("/api/v1/nodes")["items"]
    conditions = {c["type"]: c for c in node["status"]["conditions"]}
    return str(conditions["MemoryPressure"]["status"])


def evicted(weft: Instance) -> list[str]:
    """Names of the pods that went, in order."""
    events = weft.read("/api/v1/namespaces/default/events")["items"]
    found = [e for e in events if e["reason"] == "Evicted"]
    found.sort(key=lambda e: int(e["metadata"]["resourceVersion"]))
    return [e["involvedObject"]["name"] for e in found]


def test_pods_go_by_kubelets_rules_when_memory_is_short(stopped: Instance) -> None:
    weft, idle = stopped, "import time; time.sleep(1000)"
    weft.image("sh:1", APPS, "/bin/sh")
    enough = ("--eviction-hard", "memory.available<1Mi", "--pod-max-pids", str(PIDS_MAX))
    weft.up(options=enough)
    apply(
        weft,
        python("modest", idle, memory="200Mi"),
        python("idle", idle),
        python("greedy", HOARD, memory="10Mi"),
        python("critical", HOARD, priorityClassName="system-node-critical"),
        python("bomb", BOMB, restartPolicy="Never"),
    )
    names = ("modest", "idle", "greedy", "critical", "bomb")
    wait_for(lambda: all(is_ready(weft.pod(n)) for n in names), "all run")
    wait_for(lambda: "stopped at" in log(weft, "bomb"), "the kernel stops the bomb")
    assert int(log(weft, "bomb").split()[2]) < PIDS_MAX
    weft.kubectl("delete", "pod", "bomb", "--grace-period=0", "--force")
    assert condition(weft) == "False"

    weft.kill_9()
    weft.up(options=("--eviction-hard", "memory.available<100%"))
    wait_for(lambda: len(evicted(weft)) == 3, "three pods are evicted", 60)
    assert evicted(weft) == ["greedy", "idle", "modest"]
    status = weft.pod("greedy")["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
    assert "The node was low on resource: memory" in status["message"]
    assert "request is 10240Ki" in status["message"]
    assert [c["reason"] for c in status["conditions"] if c["type"] == "DisruptionTarget"] == [
        "TerminationByKubelet"
    ]
    assert is_ready(weft.pod("critical")), "pods that the system needs stay"
    assert condition(weft) == "True"
    assert "EvictionThresholdMet" in weft.kubectl("get", "events")
    apply(weft, python("late", idle))
    wait_for(lambda: "memory-pressure" in str(weft.pod("late")["status"]), "it stays away")
    assert phase(weft, "late") == "Pending"

    weft.kill_9()
    weft.up(options=enough)
    wait_for(lambda: condition(weft) == "False", "the node has enough again")
    wait_for(lambda: is_ready(weft.pod("late")), "what waited runs")
    assert phase(weft, "greedy") == "Failed", "what was evicted stays so"

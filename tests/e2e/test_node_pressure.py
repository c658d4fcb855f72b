"""A node that runs short: containers cannot take all process ids, and pods go in kubelet's order
before the kernel ends anything."""

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.conftest import APPS
from tests.e2e.instance import Instance, is_ready, wait_for
from tests.e2e.test_pods import apply, log, phase, pod
from weft.node.machine_facts import machine_facts, pids_max

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
    main = {
        "image": "echo:1",
        "command": [sys.executable, "-c", program],
        "args": [],
        "resources": resources,
    }
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


# --- really short: memory and processes of all pods together, a full disk

PODS_MEMORY_MI = 300
PODS_PIDS = 250
EATER = """
import time
kept = []
while True:
    kept.append(b"1" * (4 << 20))
    time.sleep(0.1)
"""
FORKER = """
import os, time
while True:
    if os.fork() == 0:
        time.sleep(1000)
    time.sleep(0.02)
"""


def conditions(weft: Instance) -> dict[str, str]:
    (node,) = weft.read("/api/v1/nodes")["items"]
    return {c["type"]: c["status"] for c in node["status"]["conditions"]}


def taints(weft: Instance) -> str:
    (node,) = weft.read("/api/v1/nodes")["items"]
    return str(node["spec"].get("taints"))


class Visitors:
    """Callers through the gateway, all the time."""

    def __init__(self, url: str) -> None:
        self.codes: Counter[str] = Counter()
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            self.codes[curl_code(self._url)] += 1

    def __enter__(self) -> "Visitors":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_pods_go_before_what_they_may_have_together_is_used_up(stopped: Instance) -> None:
    weft = stopped
    memory = machine_facts("/").memory_bytes // (1 << 20) - PODS_MEMORY_MI
    reserved = f"memory={memory}Mi,pid={pids_max() - PODS_PIDS}"
    limits = ("--eviction-hard", "memory.available<100Mi,pid.available<60", "--pod-max-pids", "0")
    period = ("--eviction-pressure-transition-period", "1s")
    weft.up(options=("--system-reserved", reserved, *limits, *period))
    (node,) = weft.read("/api/v1/nodes")["items"]
    left = PODS_MEMORY_MI - 100
    assert abs(int(node["status"]["allocatable"]["memory"].removesuffix("Ki")) - left * 1024) < 2048
    text = m.echo("web") + m.service("web") + m.gateway("web", "web.test")
    weft.kubectl("apply", "-f", "-", stdin=text + m.routes("web", m.to("web"), "web.test", "web"))
    weft.wait_ready("app=web", 1)
    url = weft.gateway() + "/who"
    wait_for(lambda: curl_code(url) == "200", "the gateway leads there")
    with Visitors(url) as visitors:
        apply(weft, python("eater", EATER), python("forker", FORKER))
        wait_for(lambda: len(evicted(weft)) == 2, "who eats all memory and process ids goes")
        apply(weft, python("late", "import time; time.sleep(1000)"))
        wait_for(lambda: is_ready(weft.pod("late")), "the node has enough again")
    assert sorted(evicted(weft)) == ["eater", "forker"], "nobody else"
    assert set(visitors.codes) == {"200"}
    status = weft.pod("eater")["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
    assert "low on resource: memory. Threshold quantity: 102400Ki" in status["message"]
    assert "Container main was using" in status["message"]
    assert "OOMKilled" not in str(status)
    status = weft.pod("forker")["status"]
    assert "low on resource: pids. Threshold quantity: 60" in status["message"]


def curl_code(url: str) -> str:
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: web.test", url]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout


@pytest.fixture
def small(stopped: Instance) -> Iterator[Instance]:
    """On a disk of 120 MB."""
    place = str(stopped.data_dir)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120m", "weft-test", place], check=True)
    try:
        yield stopped
    finally:
        stopped.down()
        subprocess.run(["umount", "-l", place], check=True)


def writer(name: str, megabytes: int, then: str, **more: Any) -> Any:
    """A pod that has so much in an emptyDir."""
    limit = more.pop("sizeLimit", None)
    script = f"dd if=/dev/zero of=/full/x bs=1M count={megabytes} 2>/dev/null; {then}"
    main = {"volumeMounts": [{"name": "v", "mountPath": "/full"}], **more.pop("main", {})}
    volume = {"name": "v", "emptyDir": {"sizeLimit": limit} if limit else {}}
    return pod(name, script, main, volumes=[volume], terminationGracePeriodSeconds=1, **more)


def test_pods_go_before_the_disk_is_full_and_when_it_is(small: Instance) -> None:
    weft, stay = small, "trap 'echo bye; exit 0' TERM; while :; do sleep 0.1; done"
    weft.image("sh:1", APPS, "/bin/sh")
    weft.up(options=(
        "--eviction-hard", "nodefs.available<20Mi", "--eviction-soft", "nodefs.available<50Mi",
        "--eviction-soft-grace-period", "nodefs.available=1s",
        "--eviction-minimum-reclaim", "nodefs.available=5Mi",
        "--eviction-max-pod-grace-period", "20", "--eviction-pressure-transition-period", "2s",
    ))  # fmt: skip
    small_log = {"resources": {"limits": {"ephemeral-storage": "1Mi"}}}
    lines = "i=0; while [ $i -lt 20000 ]; do echo 0123456789012345678901234567890123456789"
    lines += "0123456789012345678901234567890123456789; i=$((i+1)); done; sleep 1000"
    asks = {"resources": {"requests": {"ephemeral-storage": "40Mi"}}}
    apply(
        weft,
        writer("volume", 4, "sleep 1000", sizeLimit="2Mi"),
        pod("logs", lines, small_log),
        writer("done", 30, "exit 0", restartPolicy="Never"),
        writer("modest", 25, "sleep 1000", main=asks),
    )
    wait_for(lambda: set(evicted(weft)) == {"volume", "logs"}, "limits of single pods hold")
    assert 'EmptyDir volume "v" exceeds the limit "2Mi"' in weft.pod("volume")["status"]["message"]
    message = weft.pod("logs")["status"]["message"]
    assert "usage exceeds the total limit of containers 1Mi" in message
    wait_for(lambda: phase(weft, "done") == "Succeeded", "one has ended")

    apply(weft, writer("hog", 15, stay))
    events = lambda: weft.kubectl("get", "events", "-A")  # noqa: E731
    wait_for(lambda: "Attempting to reclaim ephemeral-storage" in events(), "the disk fills")
    wait_for(lambda: conditions(weft)["DiskPressure"] == "False", "enough again")
    assert len(evicted(weft)) == 2, "files of what has ended were enough"

    apply(weft, writer("more", 35, stay))
    wait_for(lambda: "disk-pressure" in taints(weft), "the taint")
    wait_for(lambda: len(evicted(weft)) == 3, "no files are left")
    wait_for(lambda: log(weft, "more") == "bye\n", "it was asked to end")
    assert evicted(weft)[2:] == ["more"], "who has most beyond its request goes"
    assert "low on resource: ephemeral-storage" in weft.pod("more")["status"]["message"]
    wait_for(lambda: conditions(weft)["DiskPressure"] == "False", "enough again")

    apply(weft, writer("flood", 500, "sleep 1000"))
    wait_for(lambda: "flood" in evicted(weft), "the disk is full, and is freed")
    wait_for(lambda: phase(weft, "flood") == "Failed", "its end is written then")
    assert is_ready(weft.pod("modest"))
    assert is_ready(weft.pod("hog"))
    assert evicted(weft)[3:] == ["flood"]

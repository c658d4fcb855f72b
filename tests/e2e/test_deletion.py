"""Pods are deleted at bad moments. Each ends within its grace period and a little, and leaves
nothing on the node."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ISOLATIONS, fresh
from tests.e2e.instance import Instance, wait_for

pytestmark = pytest.mark.e2e

GRACE_SECONDS = 2
SPARE_SECONDS = 10
OBEDIENT = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
DEAF = "trap '' TERM; while :; do sleep 0.1; done"
FILES = ("node/pods", "node/logs")


@pytest.fixture(scope="module")
def weft() -> Iterator[Instance]:
    for instance in fresh(ISOLATIONS[0]):
        instance.up()
        instance.image("sh:1", Path("/tmp"), "/bin/sh")
        yield instance


def pod(name: str, script: str, **spec: Any) -> Any:
    container = {"name": "main", "image": "sh:1", "args": ["-c", script]}
    base = {"containers": [container], "terminationGracePeriodSeconds": GRACE_SECONDS}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": base | spec,
    }  # fmt: skip


def create(weft: Instance, body: Any) -> str:
    """Its uid."""
    status, answer = weft.api("/api/v1/namespaces/default/pods", "POST", body)
    assert status == 201, answer
    return str(json.loads(answer)["metadata"]["uid"])


def delete(weft: Instance, name: str) -> float:
    began = time.monotonic()
    status, answer = weft.api(f"/api/v1/namespaces/default/pods/{name}", "DELETE")
    assert status == 200, answer
    return began


def container_state(weft: Instance, name: str, init: bool = False) -> Any:
    status = weft.pod(name)["status"]
    found = status.get("initContainerStatuses" if init else "containerStatuses") or [{}]
    return found[0].get("state", {})


def wait_running(weft: Instance, name: str, init: bool = False) -> None:
    wait_for(lambda: "running" in container_state(weft, name, init), f"{name} runs")


def wait_waiting(weft: Instance, name: str, *reasons: str) -> None:
    def waits() -> bool:
        return container_state(weft, name).get("waiting", {}).get("reason") in reasons

    wait_for(waits, f"{name} waits for {reasons}")


def gone_within(weft: Instance, name: str, began: float, seconds: float) -> None:
    def gone() -> bool:
        return weft.api(f"/api/v1/namespaces/default/pods/{name}")[0] == 404

    wait_for(gone, f"{name} gone", seconds + 20)
    took = time.monotonic() - began
    assert took < seconds, f"{name} was gone after {took:.1f} s"


def traces(weft: Instance, uid: str) -> list[str]:
    """What is left of a pod on this machine."""
    found = [
        str(path) for place in FILES for path in (weft.data_dir / place).glob("*")
        if uid in path.name
    ]  # fmt: skip
    found += [str(p) for p in weft.run_dir.rglob("*") if uid in p.name]
    for directory, names, _ in os.walk("/sys/fs/cgroup"):
        found += [f"{directory}/{name}" for name in names if uid in name]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if uid.encode() in environment:
                found.append(f"process {entry.name}")
    return found


def leaves_nothing(weft: Instance, uid: str) -> None:
    wait_for(lambda: not traces(weft, uid), f"nothing left, but {traces(weft, uid)}", 5)


def check(weft: Instance, name: str, uid: str, seconds: float = GRACE_SECONDS) -> None:
    began = delete(weft, name)
    gone_within(weft, name, began, seconds + SPARE_SECONDS)
    leaves_nothing(weft, uid)


def test_while_its_image_is_missing(weft: Instance) -> None:
    container = {"name": "main", "image": "not-there:1"}
    uid = create(weft, pod("no-image", "", containers=[container]))
    wait_waiting(weft, "no-image", "ErrImagePull", "ImagePullBackOff")
    check(weft, "no-image", uid, 0)


@pytest.mark.parametrize(("script", "seconds"), [(OBEDIENT, 0), (DEAF, GRACE_SECONDS)])
def test_while_an_init_container_runs(weft: Instance, script: str, seconds: float) -> None:
    init = {"name": "prepare", "image": "sh:1", "args": ["-c", script]}
    uid = create(weft, pod("init", OBEDIENT, initContainers=[init]))
    wait_running(weft, "init", init=True)
    check(weft, "init", uid, seconds)


def test_while_it_crashes(weft: Instance) -> None:
    uid = create(weft, pod("crashing", "exit 1"))
    wait_waiting(weft, "crashing", "CrashLoopBackOff")
    check(weft, "crashing", uid, 0)


def test_right_after_its_creation(weft: Instance) -> None:
    for number in range(5):
        uid = create(weft, pod(f"short{number}", OBEDIENT))
        time.sleep(0.02 * number)
        check(weft, f"short{number}", uid, 0)


def test_that_is_deaf(weft: Instance) -> None:
    uid = create(weft, pod("deaf", DEAF))
    wait_running(weft, "deaf")
    check(weft, "deaf", uid)


def test_by_force(weft: Instance) -> None:
    uid = create(weft, pod("forced", DEAF))
    wait_running(weft, "forced")
    began = time.monotonic()
    weft.api("/api/v1/namespaces/default/pods/forced?gracePeriodSeconds=0", "DELETE")
    gone_within(weft, "forced", began, 1)
    leaves_nothing(weft, uid)


def podhost(weft: Instance) -> int:
    """The parent of pods."""
    mark = str(weft.run_dir)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if any(w.endswith("/podhost") for w in words) and mark in words:
                return int(entry.name)
    raise AssertionError("no pod host")


@pytest.mark.parametrize("script", [OBEDIENT, DEAF])
@pytest.mark.parametrize("before", [True, False])
def test_while_the_pod_host_is_killed(weft: Instance, script: str, before: bool) -> None:
    uid = create(weft, pod("orphan", script))
    wait_running(weft, "orphan")
    if before:
        os.kill(podhost(weft), signal.SIGKILL)
    began = delete(weft, "orphan")
    if not before:
        time.sleep(0.05)
        os.kill(podhost(weft), signal.SIGKILL)
    gone_within(weft, "orphan", began, GRACE_SECONDS + SPARE_SECONDS)
    leaves_nothing(weft, uid)


def envoy(weft: Instance) -> int:
    return int(weft.status()["proxies"][0]["pid"])


@contextmanager
def kept_down(weft: Instance) -> Iterator[None]:
    """Envoy is killed as soon as it is there."""
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(0.02):
            if pid := envoy(weft):
                os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    time.sleep(0.2)
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def hanging(weft: Instance) -> Iterator[None]:
    pid = envoy(weft)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("fault", [kept_down, hanging])
def test_while_envoy_does_not_serve(weft: Instance, fault: Any) -> None:
    uid = create(weft, pod("unserved", OBEDIENT))
    wait_running(weft, "unserved")
    with fault(weft):
        began = delete(weft, "unserved")
        gone_within(weft, "unserved", began, GRACE_SECONDS + SPARE_SECONDS)
    leaves_nothing(weft, uid)
    # The node works on.
    uid = create(weft, pod("after", OBEDIENT))
    wait_running(weft, "after")
    check(weft, "after", uid, 0)


@pytest.mark.root
def test_its_network_goes_although_younger_pods_run(weft: Instance) -> None:
    """A process holds every mount that was there when it started, also of others' networks."""
    old = create(weft, pod("old", OBEDIENT))
    wait_running(weft, "old")
    young = create(weft, pod("young", OBEDIENT))
    wait_running(weft, "young")
    address = weft.pod("old")["status"]["podIP"]
    link = "wv" + "".join(f"{int(part):02x}" for part in address.split("."))
    assert (Path("/sys/class/net") / link).exists()
    check(weft, "old", old, 0)
    wait_for(lambda: not (Path("/sys/class/net") / link).exists(), "the pod's device is gone", 5)
    check(weft, "young", young, 0)


def test_weft_delete_returns_when_it_is_gone(weft: Instance) -> None:
    create(weft, pod("slow", "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done"))
    create(weft, pod("noted", DEAF))
    kept = {"name": "kept", "finalizers": ["example.com/keeps"]}
    weft.api("/api/v1/namespaces/default/configmaps", "POST", {"metadata": kept})
    for name in ("slow", "noted"):
        wait_running(weft, name)
    assert weft.weft("delete", "pod", "slow") == "pod/slow deleted\n"
    assert weft.api("/api/v1/namespaces/default/pods/slow")[0] == 404
    weft.weft("delete", "pod", "noted", "--wait=false")
    assert "deletionTimestamp" in weft.pod("noted")["metadata"]
    held = weft.run("delete", "configmap", "kept", "--timeout", "1s")
    assert held.returncode == 1
    assert "configmap/kept is still there: its finalizer example.com/keeps must" in held.stderr
    weft.api(
        "/api/v1/namespaces/default/configmaps/kept", "PATCH", {"metadata": {"finalizers": []}}
    )
    again = weft.run("delete", "configmap", "kept")
    assert (again.returncode, again.stderr) == (1, 'error: configmaps "kept" not found\n')
    weft.weft("delete", "configmap", "kept", "--ignore-not-found")


def test_hooks_and_sidecars_in_their_order(weft: Instance, tmp_path: Path) -> None:
    """postStart before the container counts, preStop before SIGTERM, sidecars last to end."""
    said = tmp_path / "said"
    note = lambda word: f"echo {word} >> {said}"  # noqa: E731

    def container(name: str, **more: Any) -> Any:
        script = f"trap '{note(name)}; exit 0' TERM; while :; do sleep 0.1; done"
        return {"name": name, "image": "sh:1", "args": ["-c", script], **more}

    shell = lambda script: {"exec": {"command": ["/bin/sh", "-c", script]}}  # noqa: E731
    probe = {"tcpSocket": {"port": "http"}, "periodSeconds": 1}
    web = {
        "name": "web", "image": "echo:1", "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": probe,
        "lifecycle": {"preStop": {"httpGet": {"path": "/slow?seconds=1", "port": "http"}}},
    }  # fmt: skip
    body = pod("hooked", "", containers=[
        container("main", lifecycle={"postStart": shell(note("started")),
                                     "preStop": shell(f"sleep 0.5; {note('stopping')}")}),
        container("waits", lifecycle={"preStop": {"sleep": {"seconds": 1}}}),
        container("never", lifecycle={"postStart": shell("exit 3")}),
        web,
    ], initContainers=[container("side", restartPolicy="Always")],
        terminationGracePeriodSeconds=10)  # fmt: skip
    create(weft, body)

    def found(name: str) -> Any:
        states = weft.pod("hooked")["status"].get("containerStatuses") or []
        return next((s for s in states if s["name"] == name), {})

    wait_for(lambda: found("never").get("restartCount"), "a failed postStart hook ends it")
    wait_for(lambda: found("web").get("ready") and said.exists(), "the others run")
    began = time.monotonic()
    weft.weft("delete", "pod", "hooked")
    assert time.monotonic() - began >= 1, "the request of the hook is waited for"
    assert "FailedPreStopHook" not in weft.kubectl("get", "events")
    order = said.read_text().split()
    assert order[0] == "started"
    assert order.index("stopping") < order.index("main")
    assert order[-1] == "side"
    assert set(order) >= {"waits"}

"""Starts that cannot succeed: said in words, and nothing is left behind."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.instance import EXAMPLES, WEFT, Instance, wait_for

pytestmark = [pytest.mark.e2e]

POD = """
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  containers: [{name: a, image: "echo:1"}]
"""


@pytest.fixture
def place() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="weft start "))  # with blanks, as users have them
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def processes_of(instance: Instance) -> list[str]:
    """Command lines that name the instance's run directory."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in lines if str(instance.run_dir) in line]


def test_a_taken_port_leaves_nothing_behind(place: Path) -> None:
    instance = Instance(place / "state")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = instance.run("up", "--detach", "--port", str(port))
    assert done.returncode == 1
    assert f"port {port} is taken; choose another with --port" in done.stderr
    assert "Traceback" not in done.stderr
    assert processes_of(instance) == []
    assert not instance.run_dir.exists()


def test_a_bad_manifest_starts_nothing(place: Path) -> None:
    (place / "bad.yaml").write_text("apiVersion: apps/v1\nkind: Deploymint\nmetadata: {name: a}\n")
    instance = Instance(place / "state")
    done = instance.run("up", "--detach", "--port", "0", "-f", str(place / "bad.yaml"))
    assert done.returncode == 1
    assert "did you mean `kind: Deployment`" in done.stderr
    assert "Traceback" not in done.stderr
    assert processes_of(instance) == []
    assert not instance.run_dir.exists()


def test_a_failed_start_leaves_the_pods_of_before(place: Path) -> None:
    instance = Instance(place / "state")
    instance.image("echo:1", Path(__file__).parent / "apps/echo", sys.executable, "app.py")
    try:
        instance.up()
        pod = POD
        instance.weft("apply", "-f", "-", stdin=pod)
        wait_for(lambda: instance.pod("a")["status"].get("phase") == "Running", "pod runs")
        pid = instance.pid_of("a")
        instance.kill_9()
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = str(other.getsockname()[1])
            assert instance.run("up", "--detach", "--port", port).returncode == 1
        os.kill(pid, 0)
        instance.up()
        assert instance.pid_of("a") == pid
    finally:
        instance.down()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("seconds", [0.2, 0.5])
def test_a_signal_during_start_stops_it(place: Path, number: int, seconds: float) -> None:
    instance = Instance(place / "state")
    command = [*WEFT, "up", "--data-dir", str(instance.data_dir), "--port", "0"]
    with subprocess.Popen(
        [*command, "-f", str(EXAMPLES / "weather")],
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background has the signal ignored.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        time.sleep(seconds)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert "Traceback" not in said, said
    assert processes_of(instance) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_full_disk_and_a_damaged_store_are_told_and_lose_nothing(place: Path) -> None:
    """As somebody with kubectl sees it, on a file system that is really full."""
    home = place / "state"
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "weft-test", str(home)], check=True)
    instance = Instance(home)
    try:
        instance.up()
        maps = "/api/v1/namespaces/default/configmaps"

        def create(name: str, size: int) -> tuple[int, str]:
            made = {"metadata": {"name": name}, "data": {"text": "x" * size}}
            status, told = instance.api(maps, "POST", made)
            return status, told.decode()

        ballast = home / "ballast"
        free = os.statvfs(home).f_bavail * os.statvfs(home).f_frsize
        ballast.write_bytes(b"x" * (free - 1_000_000))
        acknowledged, told = [], ""
        for number in range(100):
            status, told = create(f"c{number}", 50_000)
            if status != 201:
                break
            acknowledged.append(f"c{number}")
        assert status == 503, told
        assert "the disk is full; free space" in told
        assert acknowledged
        assert instance.api(f"{maps}/c0")[0] == 200, "reads go on"
        ballast.unlink()
        wait_for(lambda: create("after", 10)[0] == 201, "writes go on by themselves")
        instance.kill_9()
        instance.up()
        found = {item["metadata"]["name"] for item in instance.read(maps)["items"]}
        assert found >= {*acknowledged, "after"}
        assert f"c{number}" not in found

        instance.down()
        store = home / "store.db"
        with store.open("r+b") as file:
            file.seek(8192)
            file.write(b"\xff" * (store.stat().st_size - 8192))
        damaged = store.read_bytes()
        done = instance.run("up", "--detach")
        assert done.returncode == 1
        assert "store.db is damaged" in done.stderr
        assert "restore a copy, or move it" in done.stderr
        assert "Traceback" not in done.stderr
        assert store.read_bytes() == damaged, "it is left as it is"
        assert processes_of(instance) == []
    finally:
        if processes_of(instance):
            instance.down()
        subprocess.run(["umount", "-l", str(home)], check=True)


NODE = '{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-v1-test"}}'


def test_without_a_node_api_and_controllers_serve_kubectl(place: Path) -> None:
    """As Kubernetes' own checks of kubectl suppose: nothing runs pods."""
    instance = Instance(place / "state")
    control_plane = ("up", "--detach", "--no-node", "--port")
    try:
        instance.weft(*control_plane, "0")
        assert "No resources found" in instance.kubectl("get", "nodes", check=False)
        instance.kubectl("create", "deployment", "web", "--image=web:1", "--replicas=2")
        rollout = ("rollout", "status", "deployment/web", "--timeout=2s")
        said = instance.kubectl(*rollout, check=False)
        assert "0 of 2 updated replicas are available" in said
        assert "timed out waiting for the condition" in said
        rows = instance.kubectl("get", "pods", "--no-headers").splitlines()
        assert [row.split()[2] for row in rows] == ["Pending", "Pending"]
        assert "no nodes available to schedule pods" in instance.kubectl("describe", "pods")
        assert "No node of its own (--no-node)" in instance.weft("status")
        of_weft = [line for line in processes_of(instance) if "weft.daemon" not in line]
        assert of_weft == []  # no pod host, no Envoy

        instance.kill_9()
        instance.weft(*control_plane, "0")
        instance.kubectl("create", "-f", "-", stdin=NODE)
        assert instance.kubectl("get", "nodes", "-o", "name").split() == ["node/node-v1-test"]
        assert len(instance.items("pods")) == 2
    finally:
        instance.down()
    assert not instance.run_dir.exists()


def test_without_a_node_it_does_not_leave_pods_to_nobody(place: Path) -> None:
    instance = Instance(place / "state")
    instance.image("echo:1", Path(__file__).parent / "apps/echo", sys.executable, "app.py")
    try:
        instance.up()
        instance.weft("apply", "-f", "-", stdin=POD)
        wait_for(lambda: instance.pod("a")["status"].get("phase") == "Running", "pod runs")
        pid = instance.pid_of("a")
        instance.weft("down", "--keep-pods")
        done = instance.run("up", "--detach", "--no-node", "--port", "0")
        assert done.returncode == 1
        assert "pods of an earlier start, with a node, run on here" in done.stderr
        os.kill(pid, 0)
    finally:
        instance.run("down")
    assert processes_of(instance) == []

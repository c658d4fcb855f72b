"""Control groups: what is written where on version 2, which groups are ours to use."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from weft.node.linux import cgroups
from weft.node.linux.cgroups import Cgroups, Group

V2_MOUNT = "30 23 0:26 / {} rw - cgroup2 cgroup2 rw\n"


def fake(monkeypatch: pytest.MonkeyPatch, mounts: str, own: str) -> None:
    """A machine whose /proc says this."""
    real = cgroups._read

    def read(path: str) -> str:
        said = {"/proc/self/mountinfo": mounts, "/proc/self/cgroup": own}
        return said[path] if path in said else real(path)

    monkeypatch.setattr(cgroups, "_read", read)


def systemd(monkeypatch: pytest.MonkeyPatch, runs: bool) -> None:
    real = os.path.isdir
    monkeypatch.setattr(
        os.path, "isdir", lambda path: runs if path == "/run/systemd/system" else real(path)
    )


def tree(directory: Path, *names: str) -> Path:
    """Directories with the files of a version 2 group."""
    for path in (directory, *(directory / name for name in names)):
        path.mkdir(parents=True, exist_ok=True)
        (path / "cgroup.controllers").write_text("cpu memory pids\n")
        for file in ("cgroup.procs", "cgroup.subtree_control"):
            (path / file).write_text("")
    return directory


def test_limits_of_version_2(tmp_path: Path) -> None:
    group = Group({"": str(tmp_path / "pod")})
    group.create(0.25, 64 << 20, 100)
    group.kill_all_on_oom()
    written = {p.name: p.read_text() for p in (tmp_path / "pod").iterdir()}
    assert written == {
        "cpu.max": "25000 100000",
        "memory.max": str(64 << 20),
        "memory.swap.max": "0",
        "pids.max": "100",
        "memory.oom.group": "1",
    }


def test_usage_and_oom_of_version_2(tmp_path: Path) -> None:
    files = {
        "cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
        "memory.current": "5000\n",
        "memory.stat": "anon 1\ninactive_file 2000\n",
        "memory.events": "oom 1\noom_kill 3\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    group = Group({"": str(tmp_path)})
    assert group.usage() == (2.5, 3000)
    assert group.out_of_memory_kills() == 3
    assert Group({}).usage() == (0.0, 0)
    assert Group({}).out_of_memory_kills() == 0


def test_a_delegated_group_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "scope", "scope/weft-node", "scope/weft-x")
    fake(monkeypatch, V2_MOUNT.format(tmp_path), "0::/scope\n")
    systemd(monkeypatch, False)
    found = Cgroups("weft-x")
    assert (found.mode, found.reason) == ("v2", "")
    assert found.group("pod").directories == {"": f"{tmp_path}/scope/weft-x/pod"}
    fake(monkeypatch, V2_MOUNT.format(tmp_path), "0::/scope/weft-node\n")
    assert Cgroups("weft-x").group("pod").directories == {"": f"{tmp_path}/scope/weft-x/pod"}


def test_pods_have_a_group_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "scope", "scope/weft-node", "scope/weft-x", "scope/weft-x/pods")
    fake(monkeypatch, V2_MOUNT.format(tmp_path), "0::/scope\n")
    systemd(monkeypatch, False)
    pods, place = Cgroups("weft-x").pods(), tmp_path / "scope/weft-x/pods"
    assert (place / "cgroup.subtree_control").read_text() == "+pids", "written for each controller"
    pods.limit(64 << 20, 100)
    (place / "pids.current").write_text("7\n")
    assert (pods.memory_limit(), pods.running()) == (64 << 20, (7, 100))
    pods.limit(None, None)
    assert (pods.memory_limit(), pods.running()) == (None, (7, None))


def test_limits_without_their_controller_are_refused() -> None:
    Group({}).limit(None, None)
    with pytest.raises(OSError, match="no memory controller"):
        Group({}).limit(64 << 20, None)


def test_an_undelegated_group_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, "session")
    fake(monkeypatch, V2_MOUNT.format(tmp_path), "0::/session\n")
    systemd(monkeypatch, True)
    found = Cgroups("weft-x")
    assert found.mode == "none"
    assert "is not delegated" in found.reason
    assert found.group("pod").directories == {}
    assert sorted(p.name for p in (tmp_path / "session").iterdir()) == [
        "cgroup.controllers",
        "cgroup.procs",
        "cgroup.subtree_control",
    ]


def test_hybrid_machines_use_version_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = "".join(
        f"3{i} 23 0:2{i} / {tmp_path}/{name} rw - cgroup cgroup rw,{name}\n"
        for i, name in enumerate(("cpu", "memory"))
    )
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified/cgroup.controllers").write_text("hugetlb\n")
    for name in ("cpu", "memory/limited"):
        path = tmp_path / name / "weft-x"
        path.mkdir(parents=True)
        (path / "cgroup.procs").write_text("")
    fake(
        monkeypatch,
        V2_MOUNT.format(tmp_path / "unified") + mounts,
        "2:memory:/limited\n1:cpu:/\n0::/\n",
    )
    found = Cgroups("weft-x")
    assert found.mode == "v1"
    # Below the own group: a limit set on weft holds for its pods.
    assert found.group("pod").directories == {
        "cpu": f"{tmp_path}/cpu/weft-x/pod",
        "memory": f"{tmp_path}/memory/limited/weft-x/pod",
    }


def test_no_controllers_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, "", "")
    assert Cgroups("weft-x").reason == "no cgroup controllers are mounted"


def _unified() -> str:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if " - cgroup2 " in line:
            return line.split()[4]
    return ""


@pytest.mark.slow
@pytest.mark.root
def test_version_2_kills_everything_at_once() -> None:
    mount = _unified()
    if not mount:
        pytest.skip("no version 2 hierarchy is mounted")
    group = Group({"": f"{mount}/weft-test-{os.getpid()}"})
    os.mkdir(group.directories[""])
    try:
        script = f"""
import subprocess, time
from weft.node.linux.cgroups import Group
Group({group.directories!r}).enter()
subprocess.Popen(["sleep", "60"], start_new_session=True)
print("in", flush=True)
time.sleep(60)
"""
        process: Any = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"in\n"
        assert len(group.processes()) == 2
        group.kill(9)
        assert process.wait(5) == -9
        while group.processes():
            pass
    finally:
        assert group.remove()

"""What pods have on disk is counted as the file system gives it, and what has ended can go."""

import os
from pathlib import Path

from weft.api import objects
from weft.api.k8s.pod_v1 import Pod
from weft.node.eviction_order import StorageLimits
from weft.node.pressure import NODEFS, NODEFS_INODES
from weft.node.storage_usage import (
    PodFiles,
    disk_use,
    file_systems,
    remove_ended,
    remove_finished,
    storage_limits,
)

UID = "11111111-2222-3333-4444-555555555555"
KIB = 1024


def pod() -> Pod:
    limits = {"limits": {"ephemeral-storage": "1Mi"}}
    return objects.decode(
        Pod,
        {
            "metadata": {"name": "p", "uid": UID},
            "spec": {
                "containers": [{"name": "a", "resources": limits}, {"name": "ab"}],
                "volumes": [
                    {"name": "disk", "emptyDir": {"sizeLimit": "2Mi"}},
                    {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "2Mi"}},
                    {"name": "settings", "configMap": {"name": "x"}},
                ],
            },
        },
    )


def write(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    return path


def files(tmp_path: Path) -> PodFiles:
    found = PodFiles(tmp_path / "pod", tmp_path / "logs", tmp_path / "memory")
    write(found.logs / "a/0.log", 100 * KIB)
    write(found.logs / "a/1.log", 200 * KIB)
    write(found.directory / f"rootfs/{UID}_a_0/upper/x", 300 * KIB)
    write(found.directory / f"rootfs/{UID}_a_1/upper/x", 400 * KIB)
    write(found.logs / "ab/0.log", 50 * KIB)
    write(found.memory / "volumes/memory/x", 70 * KIB)
    big = write(found.directory / "volumes/disk/data", 600 * KIB)
    os.link(big, big.with_name("same"))
    (big.parent / "elsewhere").symlink_to("/usr")
    with (big.parent / "holes").open("wb") as sparse:
        sparse.truncate(1 << 30)
    return found


def test_use_is_what_the_file_system_gave(tmp_path: Path) -> None:
    found = disk_use(pod(), files(tmp_path))
    assert set(found.volumes) == {"disk"}
    assert 70 * KIB <= found.in_memory["memory"].disk < 90 * KIB
    assert 600 * KIB <= found.volumes["disk"].disk < 680 * KIB, "two names, links, holes"
    assert found.volumes["disk"].inodes == 4
    assert 1000 * KIB <= found.containers["a"].disk < 1080 * KIB
    assert 50 * KIB <= found.containers["ab"].disk < 80 * KIB


def test_limits_are_those_of_the_disk() -> None:
    assert storage_limits(pod()) == StorageLimits(
        {"disk": (2.0 * KIB * KIB, "2Mi"), "memory": (2.0 * KIB * KIB, "2Mi")},
        {"a": (1.0 * KIB * KIB, "1Mi")},
    )


def test_what_ended_and_was_replaced_goes(tmp_path: Path) -> None:
    found = files(tmp_path)
    remove_ended(pod(), found, {f"{UID}_a_1"})
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert left == [
        "logs/a/1.log", "logs/ab/0.log", "memory/volumes/memory/x",
        f"pod/rootfs/{UID}_a_1/upper/x", "pod/volumes/disk/data",
        "pod/volumes/disk/holes", "pod/volumes/disk/same",
    ]  # fmt: skip
    remove_finished(found)
    assert [p.name for p in tmp_path.iterdir()] == ["memory"]


def test_file_systems_say_what_is_left(tmp_path: Path) -> None:
    found = file_systems(tmp_path, tmp_path / "missing")
    assert 0 < found[NODEFS].available <= found[NODEFS].capacity
    assert NODEFS_INODES not in found or found[NODEFS_INODES].capacity > 0

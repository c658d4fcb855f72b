"""What pods have on disk, and what can go without asking anybody. Blocking."""

import contextlib
import os
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from weft.api.k8s.container_v1 import Container
from weft.api.k8s.pod_v1 import Pod
from weft.lib.quantity import parse_quantity
from weft.node.eviction_order import StorageLimits, Use
from weft.node.image_container import root_directory
from weft.node.oci.unpack import remove_tree
from weft.node.pod_state import parse_instance_id
from weft.node.pressure import (
    IMAGEFS,
    IMAGEFS_INODES,
    NODEFS,
    NODEFS_INODES,
    Observation,
    Signal,
)

BLOCK_BYTES = 512
"""Of st_blocks."""
STORAGE = "ephemeral-storage"


class PodFiles(Struct, frozen=True):
    """Where a pod's files are."""

    directory: Path
    logs: Path
    memory: Path
    """On a memory file system; else below the other files."""


class DiskUse(Struct, frozen=True):
    containers: Mapping[str, Use] = {}
    volumes: Mapping[str, Use] = {}
    """Its emptyDirs on disk."""
    in_memory: Mapping[str, Use] = {}
    """Its emptyDirs in memory."""


def file_systems(node: Path, images: Path) -> dict[Signal, Observation]:
    """What is left where pods' files and images are. OSError."""
    found: dict[Signal, Observation] = {}
    pairs: tuple[tuple[Path, Signal, Signal], ...] = (
        (node, NODEFS, NODEFS_INODES),
        (images if images.is_dir() else node, IMAGEFS, IMAGEFS_INODES),
    )
    for path, size, inodes in pairs:
        fs = os.statvfs(path)
        found[size] = Observation(fs.f_bavail * fs.f_frsize, fs.f_blocks * fs.f_frsize)
        if fs.f_files:  # some file systems have no fixed number
            found[inodes] = Observation(fs.f_favail, fs.f_files)
    return found


def disk_use(pod: Pod, files: PodFiles) -> DiskUse:
    """By what the file system gave for it, as `du` counts."""
    containers: dict[str, Use] = {}
    for container in all_containers(pod):
        roots = (files.directory / "rootfs").glob(f"{pod.metadata.uid}_{container.name}_*")
        containers[container.name] = _sum(_of(p) for p in (files.logs / container.name, *roots))
    on_disk: dict[str, Use] = {}
    in_memory: dict[str, Use] = {}
    for volume in pod.spec.volumes:
        if volume.empty_dir is not None and volume.empty_dir.medium == "Memory":
            in_memory[volume.name] = _of(files.memory / "volumes" / volume.name)
        elif volume.empty_dir is not None:
            on_disk[volume.name] = _of(files.directory / "volumes" / volume.name)
    return DiskUse(containers, on_disk, in_memory)


def all_containers(pod: Pod) -> tuple[Container, ...]:
    return (*pod.spec.init_containers, *pod.spec.containers)


def total(uses: Collection[Use]) -> Use:
    return _sum(iter(uses))


def storage_limits(pod: Pod) -> StorageLimits:
    volumes = {
        v.name: (_bytes(v.empty_dir.size_limit), str(v.empty_dir.size_limit))
        for v in pod.spec.volumes
        if v.empty_dir is not None and v.empty_dir.size_limit
    }
    containers = {
        c.name: (_bytes(c.resources.limits[STORAGE]), str(c.resources.limits[STORAGE]))
        for c in all_containers(pod)
        if c.resources is not None and STORAGE in c.resources.limits
    }
    return StorageLimits(volumes, containers)


def _bytes(quantity: str | int | float) -> float:
    """Unreadable quantities count as none: the API refuses them."""
    try:
        return float(parse_quantity(quantity))
    except ValueError:
        return 0.0


def _sum(uses: Iterator[Use]) -> Use:
    disk, inodes = 0.0, 0
    for use in uses:
        disk, inodes = disk + use.disk, inodes + use.inodes
    return Use(disk=disk, inodes=inodes)


def _of(path: Path) -> Use:
    """Of a directory and all below it on the same file system; links are not followed, and a file
    of several names counts once."""
    try:
        top = path.lstat()
    except OSError:
        return Use()
    seen: dict[int, int] = {top.st_ino: top.st_blocks}
    waiting = [str(path)]
    while waiting:
        directory = waiting.pop()
        try:
            for name, status in _inside(directory, top.st_dev):
                if status.st_ino not in seen and stat.S_ISDIR(status.st_mode):
                    waiting.append(f"{directory}/{name}")
                seen[status.st_ino] = status.st_blocks
        except OSError:
            continue  # it changes while we look
    return Use(disk=float(sum(seen.values()) * BLOCK_BYTES), inodes=len(seen))


def _inside(directory: str, device: int) -> list[tuple[str, os.stat_result]]:
    """What is in a directory of this device; a link that has taken its place leads nowhere."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = []
        for name in os.listdir(fd):
            with contextlib.suppress(OSError):  # it has just gone
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if status.st_dev == device:
                    found.append((name, status))
        return found
    finally:
        os.close(fd)


# --- what can go


def remove_ended(pod: Pod, files: PodFiles, running: Collection[str]) -> None:
    """Files of containers that ended and were replaced: logs but the last, and what they wrote.
    `running` are ids of the containers that are there."""
    for container in all_containers(pod):
        logs = sorted(
            (p for p in (files.logs / container.name).glob("*.log*")),
            key=lambda p: int(p.name.partition(".")[0]) if p.name[:1].isdigit() else 0,
        )
        last = logs[-1].name.partition(".")[0] if logs else ""
        for path in logs:
            if path.name.partition(".")[0] != last:
                with contextlib.suppress(OSError):
                    path.unlink()
    for path in (files.directory / "rootfs").glob("*"):
        if parse_instance_id(path.name) is not None and path.name not in running:
            remove_tree(root_directory(files.directory, path.name))


def remove_finished(files: PodFiles) -> None:
    """All files of a pod that has ended for good."""
    remove_tree(files.directory)
    shutil.rmtree(files.logs, ignore_errors=True)

"""Reads the machine, for the Node object. What cannot be read is empty or 0."""

import os
import platform
import shutil
from pathlib import Path

from weft.node.agent_settings import MachineFacts

PODS_MAX = 250
"""Pods that a node takes."""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""In Kubernetes' words."""
_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Of the container that weft itself may run in."""


def machine_facts(data_dir: str) -> MachineFacts:
    """What the machine has for pods; the disk is the one of `data_dir`."""
    machine = platform.machine()
    return MachineFacts(
        cpu_count=len(os.sched_getaffinity(0)),
        memory_bytes=_memory(),
        disk_bytes=shutil.disk_usage(data_dir).total,
        pods_max=PODS_MAX,
        architecture=_ARCHITECTURES.get(machine, machine),
        kernel_version=platform.release(),
        os_image=_os_image(),
        machine_id=_read("/etc/machine-id"),
        boot_id=_read("/proc/sys/kernel/random/boot_id"),
    )


def _memory() -> int:
    """The machine's, or the limit of the container weft runs in."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [text for path in _MEMORY_LIMITS if (text := _read(path)).isdigit()]
    return min([physical, *(int(text) for text in limits)])


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _os_image() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"

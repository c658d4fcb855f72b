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
_USAGES = (
    ("/sys/fs/cgroup/memory.current", "inactive_file"),
    ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "total_inactive_file"),
)


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


def _physical() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _memory() -> int:
    """The machine's, or the limit of the container weft runs in."""
    limit = memory_limit()
    return _physical() if limit is None else limit


def memory_limit() -> int | None:
    """Of the container that weft runs in, if it has less than the machine."""
    limits = [int(text) for path in _MEMORY_LIMITS if (text := _read(path)).isdigit()]
    least = min(limits, default=_physical())
    return least if least < _physical() else None


def working_set() -> int:
    """Bytes that everything in that container needs: without files that can be read again."""
    for usage, inactive in _USAGES:
        text = _read(usage)
        if text.isdigit():
            directory = Path(usage).parent
            rows = (line.split() for line in _read(f"{directory}/memory.stat").splitlines())
            cached = next((int(row[1]) for row in rows if row[0] == inactive), 0)
            return max(0, int(text) - cached)
    return 0


def pids_max() -> int:
    """How many processes and threads the machine can have. ValueError."""
    return min(int(_read(path)) for path in ("/proc/sys/kernel/pid_max",
                                             "/proc/sys/kernel/threads-max"))  # fmt: skip


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

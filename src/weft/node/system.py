"""Facts about the machine, for the Node object."""

import os
import platform
import socket
from pathlib import Path

from msgspec import Struct


class Machine(Struct, frozen=True):
    """What `kubectl describe node` shows."""

    hostname: str
    address: str
    """The address from which this machine reaches others; 127.0.0.1 when it reaches none."""
    cpu_cores: float
    memory_bytes: int
    kernel_version: str
    os_image: str
    architecture: str
    """In Kubernetes' words: amd64, arm64."""
    machine_id: str
    boot_id: str


_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le"}
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_ANY_REMOTE = ("203.0.113.1", 9)
"""Documentation address: a connected datagram socket learns its route, nothing is sent."""


def machine() -> Machine:
    """Read them now."""
    return Machine(
        hostname=socket.gethostname(),
        address=_address(),
        cpu_cores=float(len(os.sched_getaffinity(0))),
        memory_bytes=_memory(),
        kernel_version=platform.release(),
        os_image=_os_image(),
        architecture=_ARCHITECTURES.get(platform.machine(), platform.machine()),
        machine_id=_read("/etc/machine-id"),
        boot_id=_read("/proc/sys/kernel/random/boot_id"),
    )


def memory_available() -> int:
    """Bytes that programs can still get without swapping."""
    return _meminfo().get("MemAvailable", 0)


def load_average() -> float:
    """Processes that wanted to run during the last minute."""
    return os.getloadavg()[0]


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _meminfo() -> dict[str, int]:
    pairs = (line.split(":", 1) for line in _read("/proc/meminfo").splitlines())
    return {name: int(rest.split()[0]) * 1024 for name, rest in pairs}


def _memory() -> int:
    """The machine's, or the limit of the container weft itself runs in."""
    total = _meminfo().get("MemTotal", 0)
    limits = (_read(str(path)) for path in _CGROUP_LIMITS)
    return min([total, *(int(limit) for limit in limits if limit.isdigit() and int(limit) > 0)])


def _os_image() -> str:
    for line in _read("/etc/os-release").splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip('"')
    return platform.system()


def _address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ANY_REMOTE)
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address

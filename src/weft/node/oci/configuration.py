"""The configuration of a container after the OCI runtime specification (1.0.2). Pure.

runc, crun and the pod host itself run it alike. What only the node knows (control groups, the root
file system's path) is filled in by the pod host.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from weft.node.oci import seccomp
from weft.node.oci.security import Confinement, Identity
from weft.node.runtime import Limits, Mount

VERSION = "1.0.2"
SHM_BYTES = 64 << 20
_PERIOD_MICROSECONDS = 100_000
MASKED = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys",
    "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
    "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
)  # fmt: skip
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_ETC = ("resolv.conf", "hosts", "hostname")


class Device(Struct, frozen=True):
    """A device of the node, for privileged containers."""

    path: str
    kind: str
    """c or b."""
    major: int
    minor: int


class Place(Struct, frozen=True):
    """Where a container runs."""

    netns: str = ""
    """Empty is the node's network."""
    spaces: str = ""
    """Directory of the pod's own namespaces (`ipc`, `uts`, `pid`); empty: none are shared."""
    hostname: str = ""
    shared_memory: str = ""
    """Directory that is the pod's /dev/shm; empty gives the container one of its own."""
    etc: Mapping[str, str] = {}
    """Files for /etc by name."""
    nodes_own: frozenset[str] = frozenset()
    """Those of them that are the machine's: read-only."""
    host_pid: bool = False
    host_ipc: bool = False
    message_queues: bool = False
    """The machine shows those of its own at /dev/mqueue."""
    shared_pid: bool = False
    rootless: bool = False
    machine: str = "x86_64"
    devices: tuple[Device, ...] = ()


class Program(Struct, frozen=True):
    """What runs, and as whom."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    identity: Identity
    terminal: bool = False


def configuration(
    program: Program, confinement: Confinement, place: Place, mounts: tuple[Mount, ...],
    limits: Limits,
) -> dict[str, Any]:  # fmt: skip
    """`config.json`, but for what the pod host fills in."""
    identity = program.identity
    capabilities = [f"CAP_{name}" for name in confinement.capabilities]
    env = {"HOME": identity.home, **program.env}
    if program.terminal:
        env.setdefault("TERM", "xterm")
    process: dict[str, Any] = {
        "terminal": program.terminal,
        "user": {
            "uid": identity.uid, "gid": identity.gid, "additionalGids": list(identity.groups),
        },
        "args": list(program.argv),
        "env": [f"{name}={value}" for name, value in env.items()],
        "cwd": program.cwd if program.cwd.startswith("/") else f"/{program.cwd}",
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
        "noNewPrivileges": confinement.no_new_privileges,
    }  # fmt: skip
    linux: dict[str, Any] = {
        "namespaces": _namespaces(place),
        "resources": _resources(limits, confinement),
        "maskedPaths": list(MASKED) if confinement.masked else [],
        "readonlyPaths": list(READ_ONLY) if confinement.masked else [],
    }
    if confinement.seccomp:
        linux["seccomp"] = seccomp.profile(confinement.capabilities, place.machine)
    if confinement.privileged:
        linux["devices"] = [
            {"path": d.path, "type": d.kind, "major": d.major, "minor": d.minor}
            for d in place.devices
        ]
    found = {
        "ociVersion": VERSION,
        "process": process,
        "root": {"path": "", "readonly": confinement.read_only_root},
        "mounts": [*_own_mounts(place, confinement), *_given_mounts(place, mounts, confinement)],
        "linux": linux,
    }
    if place.hostname and not place.spaces:
        found["hostname"] = place.hostname
    return found


def _namespaces(place: Place) -> list[dict[str, str]]:
    found = [{"type": "mount"}]
    if place.netns:
        found.append({"type": "network", "path": place.netns})
    if place.shared_pid and place.spaces:
        found.append({"type": "pid", "path": f"{place.spaces}/pid"})
    elif not place.host_pid:
        found.append({"type": "pid"})
    if not place.host_ipc:
        found.append({"type": "ipc"} | _path(place, "ipc"))
    if place.hostname:
        found.append({"type": "uts"} | _path(place, "uts"))
    return found


def _path(place: Place, kind: str) -> dict[str, str]:
    return {"path": f"{place.spaces}/{kind}"} if place.spaces else {}


def _resources(limits: Limits, confinement: Confinement) -> dict[str, Any]:
    access = {"allow": confinement.privileged, "access": "rwm"}
    found: dict[str, Any] = {"devices": [access]}
    if limits.cpu_cores is not None:
        quota = max(1000, int(limits.cpu_cores * _PERIOD_MICROSECONDS))
        found["cpu"] = {"quota": quota, "period": _PERIOD_MICROSECONDS}
    if limits.memory_bytes is not None:
        found["memory"] = {"limit": limits.memory_bytes}
    if limits.pids is not None:
        found["pids"] = {"limit": limits.pids}
    return found


def _own_mounts(place: Place, confinement: Confinement) -> list[dict[str, Any]]:
    """What every container has. A network namespace of another owner has no sysfs for it."""
    safe = ["nosuid", "noexec", "nodev"]
    write = "rw" if confinement.privileged else "ro"
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    found: list[dict[str, Any]] = [
        _mount("/proc", "proc", "proc", safe),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", pts if place.rootless else [*pts, "gid=5"]),
        _mount("/dev/mqueue", "mqueue", "mqueue", safe),
    ]
    if place.host_pid:
        found[0] = _mount("/proc", "bind", "/proc", ["rbind", *safe])
    # In the machine's IPC namespace a new mount shows the machine's queues, too.
    if place.host_ipc and place.message_queues:
        found[3] = _mount("/dev/mqueue", "bind", "/dev/mqueue", ["rbind", *safe])
    elif place.host_ipc and place.rootless:
        del found[3]
    if place.host_ipc:
        found.append(_mount("/dev/shm", "bind", "/dev/shm", ["rbind", *safe, "rw"]))  # noqa: S108
    elif place.shared_memory:
        source = place.shared_memory
        found.append(_mount("/dev/shm", "bind", source, ["rbind", *safe, "rw"]))  # noqa: S108
    else:
        size = f"size={SHM_BYTES // 1024}k"
        found.append(_mount("/dev/shm", "tmpfs", "shm", [*safe, "mode=1777", size]))  # noqa: S108
    if place.rootless:
        found.append(_mount("/sys", "bind", "/sys", ["rbind", *safe, "ro"]))
    else:
        found.append(_mount("/sys", "sysfs", "sysfs", [*safe, write]))
    return found


def _given_mounts(
    place: Place, mounts: tuple[Mount, ...], confinement: Confinement
) -> list[dict[str, Any]]:
    """Files of /etc and the pod's volumes, outer ones first; a volume wins over an own file. Only
    privileged containers find devices in volumes."""
    options = ["rbind", "rprivate", *([] if confinement.privileged else ["nodev"])]
    taken = {mount.target for mount in mounts}
    found = [
        _mount(f"/etc/{name}", "bind", place.etc[name],
               [*options, "ro" if name in place.nodes_own else "rw"])
        for name in _ETC
        if name in place.etc and f"/etc/{name}" not in taken
    ]  # fmt: skip
    for mount in sorted(mounts, key=lambda m: m.target.count("/")):
        write = "ro" if mount.read_only else "rw"
        found.append(_mount(mount.target, "bind", mount.source, [*options, write]))
    return found


def _mount(target: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source, "options": options}

"""Processes by number: identity, exit status of strangers, what belongs to a container."""

import contextlib
import fcntl
import os
import signal
import struct
from collections.abc import Iterable

from weft.node.podhost.records import MARK

_PIDFD_GET_INFO = 0xC040FF0B
_PIDFD_INFO_EXIT = 8
_PIDFD_INFO_BYTES = 64
_EXIT_CODE_OFFSET = 60


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third (state) on; empty when there is none."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return []


def starttime(pid: int) -> int:
    """Clock ticks after boot at which it started, 0 when it is gone. With the pid it is an
    identity."""
    fields = _stat(pid)
    return int(fields[19]) if fields else 0


def stranger_status(pidfd: int, pid: int) -> int | None:
    """Wait status of an ended process that is not our child.

    From the kernel (6.15 and later, after its parent reaped it), else from a zombie's stat line;
    None when neither tells (yet).
    """
    info = bytearray(_PIDFD_INFO_BYTES)
    struct.pack_into("<Q", info, 0, _PIDFD_INFO_EXIT)
    with contextlib.suppress(OSError):
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
        if struct.unpack_from("<Q", info)[0] & _PIDFD_INFO_EXIT:
            return int(struct.unpack_from("<i", info, _EXIT_CODE_OFFSET)[0])
    fields = _stat(pid)
    return int(fields[49]) if len(fields) > 49 and fields[0] == "Z" else None


def members(container_id: str, leader: int, leader_starttime: int) -> list[int]:
    """Processes of a container where no control group tells: by session and by mark.

    The session's number may be a stranger's by now, when nothing of the container is left. A
    process that left the session and cleared its environment is not found.
    """
    mark = f"{MARK}={container_id}".encode()
    session = leader if leader > 1 and starttime(leader) in (0, leader_starttime) else -1
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        fields = _stat(int(name))
        if not fields or fields[0] == "Z":
            continue
        if int(fields[3]) == session or _has_mark(name, mark):
            found.append(int(name))
    return found


def _has_mark(pid: str, mark: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return mark in file.read().split(b"\0")
    except OSError:
        return False


def usage(pids: Iterable[int]) -> tuple[float, int]:
    """CPU seconds (with those of ended children) and resident bytes of processes together."""
    ticks = pages = 0
    for pid in pids:
        fields = _stat(pid)
        if fields:
            ticks += sum(int(fields[i]) for i in (11, 12, 13, 14))
            pages += int(fields[21])
    return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")


def send(pid: int, number: int) -> None:
    """Signal it; one that has ended is no error. Never groups, everyone or PID 1."""
    if pid <= 1:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def kill_members(container_id: str, leader: int, leader_starttime: int) -> bool:
    """SIGKILL what `members` finds; True when nothing was left."""
    left = members(container_id, leader, leader_starttime)
    for pid in left:
        send(pid, signal.SIGKILL)
    return not left

"""Namespaces that the containers of one pod share: made once, kept by a bind mount.

<directory>/ipc, uts   bind mounts of the namespaces
<directory>/pid        the same, while the process in `init` runs, which is its PID 1
"""

import contextlib
import json
import os
import signal
from typing import NoReturn

from weft.node.linux import ns
from weft.node.podhost import procs

_FLAGS = {"ipc": ns.CLONE_NEWIPC, "uts": ns.CLONE_NEWUTS}


def ensure(directory: str, hostname: str, *, processes: bool) -> None:
    """Make those that are missing. OSError."""
    os.makedirs(directory, 0o700, exist_ok=True)
    missing = [name for name in _FLAGS if not _is_namespace(f"{directory}/{name}")]
    if missing:
        _make(directory, missing, hostname)
    if processes and not _init_runs(directory):
        _make_processes(directory)


def release(directory: str) -> None:
    """Let go of them all; nothing there is fine."""
    pid, started = _init(directory)
    if pid and procs.starttime(pid) == started:
        procs.send(pid, signal.SIGKILL)
    for name in ("ipc", "uts", "pid"):
        path = f"{directory}/{name}"
        while _is_namespace(path):
            try:
                ns.umount(path, ns.MNT_DETACH)
            except OSError:
                break
        with contextlib.suppress(OSError):
            os.unlink(path)
    with contextlib.suppress(OSError):
        os.unlink(f"{directory}/init")
    with contextlib.suppress(OSError):
        os.rmdir(directory)


def _is_namespace(path: str) -> bool:
    try:
        return os.stat(path).st_dev == os.stat("/proc/self/ns/ipc").st_dev
    except OSError:
        return False


def _make(directory: str, names: list[str], hostname: str) -> None:
    ready_read, ready_write = os.pipe()
    done_read, done_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(done_write)
            for name in names:
                ns.unshare(_FLAGS[name])
            if "uts" in names and hostname:
                ns.sethostname(hostname)
            os.write(ready_write, b"1")
            os.read(done_read, 1)
        finally:
            os._exit(0)
    os.close(ready_write)
    os.close(done_read)
    try:
        if not os.read(ready_read, 1):
            raise OSError(1, "the pod's own namespaces were refused")
        for name in names:
            _pin(f"/proc/{pid}/ns/{name}", f"{directory}/{name}")
    finally:
        os.close(done_write)
        os.close(ready_read)
        os.waitpid(pid, 0)


def _pin(namespace: str, path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    ns.mount(namespace, path, None, ns.MS_BIND)


def _init(directory: str) -> tuple[int, int]:
    try:
        with open(f"{directory}/init") as file:
            pid, started = json.load(file)
        return int(pid), int(started)
    except (OSError, ValueError):
        return 0, 0


def _init_runs(directory: str) -> bool:
    pid, started = _init(directory)
    return bool(pid) and procs.starttime(pid) == started and _is_namespace(f"{directory}/pid")


def _make_processes(directory: str) -> None:
    """PID 1 of the pod does nothing but outlive the others and collect orphans."""
    path = f"{directory}/pid"
    while _is_namespace(path):
        ns.umount(path, ns.MNT_DETACH)
    read_end, write_end = os.pipe()
    outer = os.fork()
    if outer == 0:
        try:
            ns.unshare(ns.CLONE_NEWPID)
            inner = os.fork()
            if inner == 0:
                _collect()
            os.write(write_end, str(inner).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    try:
        told = os.read(read_end, 32)
    finally:
        os.close(read_end)
        os.waitpid(outer, 0)
    if not told:
        raise OSError(1, "a process namespace was refused")
    pid = int(told)
    _pin(f"/proc/{pid}/ns/pid", path)
    with open(f"{directory}/init", "w") as file:
        json.dump([pid, procs.starttime(pid)], file)


def _collect() -> NoReturn:
    try:
        os.setsid()
        os.closerange(0, os.sysconf("SC_OPEN_MAX"))
        os.chdir("/")
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel collects them
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        while True:
            signal.pause()
    finally:
        os._exit(1)

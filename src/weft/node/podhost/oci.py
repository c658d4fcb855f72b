"""Starts containers that have a file system of their own: by runc or crun where the specification
names one, else by this program itself (`rootfs`); and commands inside them.

Whoever started it, a container is a process that the pod host waits for, in a control group that
the pod host made: end, logs, usage and adoption are as for processes without an image.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import Any, NoReturn

from weft.node.linux import cgroups, ns
from weft.node.podhost import procs, rootfs, spaces, spawn
from weft.node.podhost.records import MARK, Container

RUNTIME_TIMEOUT_SECONDS = 20.0
_FLAGS = {
    "mount": ns.CLONE_NEWNS,
    "network": ns.CLONE_NEWNET,
    "ipc": ns.CLONE_NEWIPC,
    "uts": ns.CLONE_NEWUTS,
    "pid": ns.CLONE_NEWPID,
}
_MESSAGE_BYTES_MAX = 2048
_HYBRID = "/sys/fs/cgroup/unified"

refused_runtimes: dict[str, str] = {}
"""Runtimes that started nothing where this program could, and why: not tried again."""


def start(container: Container, files: spawn.Files, how: str) -> str:
    """Start it; sets `container.pid`. Gives what went wrong, "" for nothing."""
    spec = container.spec
    if how == "none":
        return "containers from images need root or user namespaces, and this machine gives neither"
    if spec.get("spaces") and how == "root":
        shared = spec["spaces"]
        spaces.ensure(shared["directory"], shared["hostname"], processes=shared["processes"])
    runtime = spec.get("runtime") or ""
    # A terminal's output goes to the log by a descriptor that is known before the start.
    if runtime and how == "root" and not container.has_terminal and runtime not in refused_runtimes:
        why = _start_by(runtime, container, files)
        if not why:
            return ""
        container.pid = 0
        container.limit()  # the runtime removes the group of what it could not start
        message = _start_here(container, files, how)
        if not message:
            refused_runtimes[runtime] = why
            sys.stderr.write(f"{runtime} refused ({why}); containers are started without it\n")
            sys.stderr.flush()
        return message
    return _start_here(container, files, how)


def share_processes(container: Container, target: Container | None, how: str) -> str:
    """Let it join the process namespace of `target`. Gives what stands against it."""
    if how != "root":
        return "targetContainerName: sharing another container's processes needs root"
    if target is None or not target.running or procs.starttime(target.pid) != target.starttime:
        return "targetContainerName: the container it names does not run"
    if not target.spec.get("rootfs"):
        return "targetContainerName: the container it names is not from an image"
    namespaces = container.spec["oci"]["linux"]["namespaces"]
    others = [n for n in namespaces if n["type"] != "pid"]
    own = {"type": "pid", "path": f"/proc/{target.pid}/ns/pid"}
    container.spec["oci"]["linux"]["namespaces"] = [*others, own]
    return ""


# --- by this program


def _start_here(container: Container, files: spawn.Files, how: str) -> str:
    """Two forks: a process namespace begins with the child of whoever asked for it."""
    read_end, write_end = os.pipe()
    pid_read, pid_write = os.pipe()
    outer = os.fork()
    if outer == 0:
        try:
            _outer(container, files, how, pid_write, write_end)
        except BaseException as error:
            spawn.report(write_end, error, container.spec)
    os.close(write_end)
    os.close(pid_write)
    try:
        told = os.read(pid_read, 32)  # the outer child does nothing that can hang
        container.pid = int(told) if told else 0
        os.waitpid(outer, 0)
        return spawn.outcome(read_end, container.pid) or ("" if told else "it did not start")
    finally:
        os.close(read_end)
        os.close(pid_read)


def _outer(
    container: Container, files: spawn.Files, how: str, pid_write: int, write_end: int
) -> NoReturn:
    config = container.spec["oci"]
    container.group.enter()
    flags = 0
    for namespace in config["linux"]["namespaces"]:
        flag, path = _FLAGS[namespace["type"]], namespace.get("path", "")
        if path and (how == "root" or namespace["type"] == "network"):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            ns.setns(fd, flag)
            os.close(fd)
        else:
            flags |= flag
    uid, gid = os.getuid(), os.getgid()
    ns.unshare(flags | (ns.CLONE_NEWUSER if how != "root" else 0))
    if how != "root":  # one user is there, and the container's is that one
        user = config["process"]["user"]
        ns.become_mapped(uid, gid, user["uid"], user["gid"])
    inner = os.fork()
    if inner:
        os.write(pid_write, str(inner).encode())
        os._exit(0)
    try:
        os.close(pid_write)
        os.setsid()
        os.umask(0o022)
        rootfs.become(container.spec, how)
        _execute(container, files, config["process"]["args"])
    except BaseException as error:
        spawn.report(write_end, error, container.spec)


def _execute(
    container: Container, files: spawn.Files, argv: list[str], *, terminal: bool = False
) -> NoReturn:
    config = container.spec["oci"]
    process = config["process"]
    spawn.standard_files(files)
    if terminal or container.has_terminal:
        spawn.take_terminal(process["user"]["uid"])
    else:
        _own_pipes(files, process["user"]["uid"])
    rootfs.confine(config)
    environment = dict(entry.split("=", 1) for entry in process["env"])
    environment[MARK] = container.id
    if terminal:
        environment.setdefault("TERM", spawn.TERMINAL)
    spawn.execute(argv, process["cwd"], environment)


def _own_pipes(files: spawn.Files, uid: int) -> None:
    """Programs open /dev/stdout again: their user must be allowed to."""
    if uid == 0:
        return
    for fd in (1, 2):
        with contextlib.suppress(OSError):
            os.fchown(fd, uid, -1)


# --- by runc or crun


def _start_by(runtime: str, container: Container, files: spawn.Files) -> str:
    """`run --detach`: the container's first process becomes ours when the runtime has ended."""
    directory, spec = container.directory, container.spec
    bare = os.path.basename(runtime) == "crun"  # it can leave control groups alone
    config = _for_runtime(container, bare)
    log, pid_file = f"{directory}/runtime.log", f"{directory}/runtime.pid"
    for path in (log, pid_file):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    command = [runtime, "--root", f"{os.path.dirname(directory)}/.runtime", "--log", log]
    command += ["--cgroup-manager=disabled"] if bare else []
    command += ["run", "--detach", "--pid-file", pid_file, "--bundle", directory]
    pid = os.fork()
    if pid == 0:
        try:
            _run([*command, container.id], config, spec, files, container if bare else None)
        except BaseException as error:
            with contextlib.suppress(OSError), open(log, "a") as file:
                file.write(json.dumps({"msg": f"{type(error).__name__}: {error}"}) + "\n")
        finally:
            os._exit(1)
    failed = _ended_badly(pid)
    try:
        if failed:
            return _last_message(log) or failed
        with open(pid_file) as file:
            container.pid = int(file.read())
        return ""
    except (OSError, ValueError) as error:
        return str(error)


def _for_runtime(container: Container, bare: bool) -> dict[str, Any]:
    spec = container.spec
    config = json.loads(json.dumps(spec["oci"]))
    config["root"]["path"] = f"{spec['rootfs']['directory']}/root"
    config["process"]["env"].append(f"{MARK}={container.id}")
    if bare:
        config["linux"].pop("resources", None)
    elif path := cgroups.path_below_mount(container.group):
        config["linux"]["cgroupsPath"] = path
    return config  # type: ignore[no-any-return]


def _run(
    command: list[str], config: dict[str, Any], spec: dict[str, Any], files: spawn.Files,
    entering: Container | None,
) -> NoReturn:  # fmt: skip
    if entering is not None:
        entering.group.enter()
    os.setsid()
    ns.unshare(ns.CLONE_NEWNS)
    ns.mount(None, "/", None, ns.MS_REC | ns.MS_PRIVATE)
    rootfs.mount_root(spec["rootfs"], "root")
    if entering is not None and os.path.ismount(_HYBRID):  # crun takes it for the only one
        ns.umount(_HYBRID, ns.MNT_DETACH)
    bundle = command[command.index("--bundle") + 1]
    with open(f"{bundle}/config.json", "w", opener=_private) as file:
        json.dump(config, file)
    spawn.standard_files(files)
    _own_pipes(files, config["process"]["user"]["uid"])
    spawn.execute(command, "/", {"PATH": os.environ.get("PATH", os.defpath)})


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _ended_badly(pid: int) -> str:
    pidfd = os.pidfd_open(pid)
    try:
        if not spawn.readable(pidfd, RUNTIME_TIMEOUT_SECONDS):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return f"no answer within {RUNTIME_TIMEOUT_SECONDS:.0f} seconds"
    finally:
        os.close(pidfd)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return f"exit code {code}" if code else ""


def _last_message(log: str) -> str:
    """The runtime's last words: lines of JSON (runc), or text (crun)."""
    try:
        with open(log) as file:
            lines = file.read()[-_MESSAGE_BYTES_MAX:].strip().splitlines()
    except OSError:
        return ""
    if not lines:
        return ""
    try:
        return str(json.loads(lines[-1])["msg"])
    except (ValueError, KeyError, TypeError):
        return lines[-1]


def forget(container: Container) -> None:
    """It has ended: the runtime that started it shall know, and remove its control groups."""
    runtime = container.spec.get("runtime") or ""
    state = f"{os.path.dirname(container.directory)}/.runtime/{container.id}"
    if runtime and os.path.isdir(state):
        command = [runtime, "--root", os.path.dirname(state)]
        if os.path.basename(runtime) == "crun":
            command += ["--cgroup-manager=disabled"]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                [*command, "delete", "--force", container.id],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                timeout=RUNTIME_TIMEOUT_SECONDS, check=False,
            )  # fmt: skip


# --- commands inside


def start_inside(
    container: Container, argv: list[str], files: spawn.Files, how: str, *, terminal: bool = False
) -> int:
    """Fork a command into a running container, whoever started that; see `spawn.start_inside`.

    The process that is waited for stays outside and ends as the command does.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        container.group.enter()
        _join(container, how)
        inner = os.fork()
        if inner:
            code = os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1])
            os._exit(code if code >= 0 else 128 - code)
        if terminal:
            os.setsid()
        ns.prctl(ns.PR_SET_PDEATHSIG, signal.SIGKILL)
        _execute(container, files, argv, terminal=terminal)
    except spawn.NotFound as error:
        os.write(2, f'exec: "{argv[0]}": {error}\n'.encode())
        os._exit(127)
    except BaseException as error:
        told = files[2] if files[2] >= 0 else 2
        os.write(told, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(126)


def _join(container: Container, how: str) -> None:
    flags = ns.CLONE_NEWUSER if how != "root" else 0
    for namespace in container.spec["oci"]["linux"]["namespaces"]:
        flags |= _FLAGS[namespace["type"]]
    root = os.open(f"/proc/{container.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    pidfd = os.pidfd_open(container.pid)
    ns.setns(pidfd, flags)
    os.close(pidfd)
    os.fchdir(root)
    os.chroot(".")
    os.close(root)

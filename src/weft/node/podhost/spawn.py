"""From a specification to a running process: fork, namespaces, groups, files, identity, exec."""

import contextlib
import fcntl
import json
import os
import pwd
import select
import signal
import termios
from typing import Any, NoReturn

from weft.node.linux import ns, userns
from weft.node.linux.capabilities import CAPABILITIES
from weft.node.podhost import mounts
from weft.node.podhost.records import EXIT_START_ERROR, MARK, Container

START_TIMEOUT_SECONDS = 20.0
"""Longer than any mount or exec takes; a hanging file server must not stop the pod host."""
_ERROR_BYTES_MAX = 4096
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_UMASK = 0o022
TERMINAL = "xterm"
"""TERM of a program that has a terminal and is not told which."""

Files = tuple[int, int, int]
"""Standard input, output and error; -1 is /dev/null."""


def privilege(run_dir: str) -> str:
    """How a private mount namespace can be had: `root`, `user` (a user namespace) or `none`; or
    `nested`: the node is root in a user namespace, and containers shall have nothing of that."""
    if userns.is_inside(run_dir):
        return "nested"
    for name, flags in (("root", ns.CLONE_NEWNS), ("user", ns.CLONE_NEWNS | ns.CLONE_NEWUSER)):
        pid = os.fork()
        if pid == 0:
            try:
                ns.unshare(flags)
                ns.mount(None, "/", None, ns.MS_REC | ns.MS_PRIVATE)
                os._exit(0)
            except BaseException:
                os._exit(1)
        if os.waitpid(pid, 0)[1] == 0:
            return name
    return "none"


def start(container: Container, files: Files, how: str) -> str:
    """Fork and exec; sets `container.pid`. Gives what went wrong before exec, "" for nothing."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _become(container, files, how)
        except BaseException as error:
            report(write_end, error, container.spec)
    os.close(write_end)
    message = outcome(read_end, pid)
    os.close(read_end)
    container.pid = pid
    return message


def readable(fd: int, seconds: float) -> bool:
    """Wait until there is something to read."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def outcome(read_end: int, pid: int) -> str:
    """The end of the pipe closes by exec; anything in it is the reason why exec never came."""
    if not readable(read_end, START_TIMEOUT_SECONDS):
        if pid:
            os.kill(pid, signal.SIGKILL)
        return f"did not start within {START_TIMEOUT_SECONDS:.0f} seconds"
    raw = os.read(read_end, _ERROR_BYTES_MAX)
    return str(json.loads(raw)) if raw else ""


def report(write_end: int, error: BaseException, spec: dict[str, Any]) -> NoReturn:
    """In the child: say why exec never comes, and end."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
        if error.filename:
            text = f"{error.filename}: {error.strerror}"
    if isinstance(error, NotFound):
        text = f'exec: "{spec["argv"][0]}": {error}'
    try:
        os.write(write_end, json.dumps(text).encode()[:_ERROR_BYTES_MAX])
    finally:
        os._exit(EXIT_START_ERROR)


class NotFound(Exception):
    """There is no such program, or it cannot be run."""


def _become(container: Container, files: Files, how: str) -> NoReturn:
    spec = container.spec
    os.setsid()
    os.umask(_UMASK)  # mount points are for every user of the container
    container.group.enter()
    _join_namespaces(spec, "root" if spec.get("of_node") else how)
    if how != "none":
        hidden = spec.get("hidden") or []
        if spec["etc_dir"] or spec["mounts"] or hidden:
            mounts.build(spec["etc_dir"], spec["mounts"], container.directory, how, hidden)
        if spec["hostname"]:
            ns.sethostname(spec["hostname"])
    elif spec["mounts"]:
        raise OSError(1, "volumes need root or user namespaces, and this machine gives neither")
    standard_files(files)
    if container.has_terminal:
        take_terminal(spec["uid"])
    _change_user(spec, how)
    _execute(spec, spec["argv"], container.id, terminal=container.has_terminal)


def _join_namespaces(spec: dict[str, Any], how: str) -> None:
    if spec["netns"]:
        fd = os.open(spec["netns"], os.O_RDONLY | os.O_CLOEXEC)
        ns.setns(fd, ns.CLONE_NEWNET)
        os.close(fd)
    flags = _new_namespaces(spec, how)
    if not flags:
        return
    uid, gid = os.getuid(), os.getgid()
    inside = (uid, gid) if how != "nested" else _wanted_ids(spec)
    ns.unshare(flags)
    if flags & ns.CLONE_NEWUSER:  # programs still see whose they are
        ns.become_mapped(uid, gid, *inside)


def _wanted_ids(spec: dict[str, Any]) -> tuple[int, int]:
    """Where all are root: the user that is asked for, else whom the machine takes it for."""
    uid = userns.outer_uid() if spec["uid"] is None else spec["uid"]
    return uid, uid if spec["gid"] is None else spec["gid"]


def _new_namespaces(spec: dict[str, Any], how: str) -> int:
    if how == "none":
        return 0
    own_files = spec["etc_dir"] or spec["mounts"] or spec.get("hidden")
    flags = ns.CLONE_NEWNS if own_files else 0
    flags |= ns.CLONE_NEWUTS if spec["hostname"] else 0
    flags |= ns.CLONE_NEWIPC if spec["netns"] else 0
    if how == "nested":
        flags |= ns.CLONE_NEWNS
    return flags | (ns.CLONE_NEWUSER if flags and how != "root" else 0)


def standard_files(files: Files) -> None:
    """Make them this process's 0, 1 and 2."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for number, fd in enumerate(files):
        os.dup2(null if fd < 0 else fd, number)


def take_terminal(uid: int | None) -> None:
    """Standard input becomes this session's controlling terminal, and the user's own."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if uid is not None:
        with contextlib.suppress(OSError):  # not ours to give
            os.fchown(0, uid, -1)


def _change_user(spec: dict[str, Any], how: str) -> None:
    if how == "nested" and not spec.get("of_node"):  # it has the user that it shall have
        _give_up_rights()
        return
    uid, gid, groups = spec["uid"], spec["gid"], spec["supplemental_groups"]
    if uid is not None and gid is None:
        gid = _primary_group(uid)
    if groups or ((uid is not None or gid is not None) and os.geteuid() == 0):
        os.setgroups(groups)
    if gid is not None and gid != os.getgid():
        os.setgid(gid)
    if uid is not None and uid != os.getuid():
        os.setuid(uid)
    if spec["no_new_privileges"]:
        ns.prctl(ns.PR_SET_NO_NEW_PRIVS, 1)


def _give_up_rights() -> None:
    """Those over its own namespaces, too: what is hidden there must stay so, also from root."""
    for number in range(len(CAPABILITIES)):
        with contextlib.suppress(OSError):  # a kernel that does not know it
            ns.prctl(ns.PR_CAPBSET_DROP, number)
    ns.prctl(ns.PR_SET_NO_NEW_PRIVS, 1)


def _primary_group(uid: int) -> int:
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return 0


def _execute(
    spec: dict[str, Any], argv: list[str], container_id: str, *, terminal: bool = False
) -> NoReturn:
    environment = {"PATH": _DEFAULT_PATH, **spec["env"], MARK: container_id}
    if terminal:
        environment.setdefault("TERM", TERMINAL)
    execute(argv, spec["cwd"], environment)


def execute(argv: list[str], cwd: str, environment: dict[str, str]) -> NoReturn:
    """Become the program, with signals as programs expect them. OSError; NotFound."""
    try:
        os.chdir(cwd or "/")
    except OSError as error:
        text = f"cannot change to working directory {cwd}: {error.strerror}"
        raise OSError(error.errno, text) from error
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.umask(_UMASK)
    _normal_oom_score()
    path = environment.get("PATH", _DEFAULT_PATH)
    try:
        os.execve(_program(argv[0], path), argv, environment)  # noqa: S606
    except OSError as error:
        raise NotFound((error.strerror or "").lower()) from error


def _program(name: str, path: str) -> str:
    """As a shell finds it; directories that may not be read have nothing in them."""
    if "/" in name:
        return name
    found = [f"{directory or '.'}/{name}" for directory in path.split(":")]
    found = [candidate for candidate in found if os.path.isfile(candidate)]
    if not found:
        raise NotFound("executable file not found in $PATH")
    return next((c for c in found if os.access(c, os.X_OK)), found[0])


def _normal_oom_score() -> None:
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("0")


def start_inside(
    container: Container, argv: list[str], files: Files, how: str, *, terminal: bool = False
) -> int:
    """Fork a command into a running container; its session is its own. Failures are written to
    its standard error and end it with 126 (cannot run) or 127 (not found), as shells do."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        container.group.enter()
        spec = container.spec
        flags = _new_namespaces(spec, how)
        flags |= ns.CLONE_NEWNET if spec["netns"] else 0
        if flags:
            _join_container(container.pid, flags)
        standard_files(files)
        if terminal:
            take_terminal(spec["uid"])
        _change_user(spec, how)
        _execute(spec, argv, container.id, terminal=terminal)
    except NotFound as error:
        os.write(2, f'exec: "{argv[0]}": {error}\n'.encode())
        os._exit(127)
    except BaseException as error:
        told = files[2] if files[2] >= 0 else 2
        os.write(told, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(126)


def _join_container(pid: int, flags: int) -> None:
    pidfd = os.pidfd_open(pid)
    try:
        ns.setns(pidfd, flags)
    except OSError:  # before Linux 5.8: one namespace at a time
        for name, flag in (
            ("net", ns.CLONE_NEWNET),
            ("user", ns.CLONE_NEWUSER),
            ("uts", ns.CLONE_NEWUTS),
            ("ipc", ns.CLONE_NEWIPC),
            ("mnt", ns.CLONE_NEWNS),
        ):
            if flags & flag:
                fd = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
                ns.setns(fd, flag)
                os.close(fd)
    os.close(pidfd)

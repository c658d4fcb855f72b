"""The user namespace in which the node of an ordinary user lives: with a mount namespace, in which
pods' networks are pinned, and a network namespace that is the node's side of them.

The daemon and the pod host are in the first two, and stay in the machine's network: nobody comes
back to that from another one. A small process keeps all three until the node is taken down, so
that a killed daemon finds them again; any other process that is in them will do as well.

<run_dir>/userns.json   which they are
<run_dir>/node-net      where the network namespace is pinned, in the mount namespace only
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from typing import NoReturn

from weft.node.linux import netlink, ns

RECORD_NAME, HOME_NAME, LOCK_NAME = "userns.json", "node-net", "userns.lock"
HOME_SYSCTLS = {
    "net/ipv4/ip_unprivileged_port_start": "0",
    "net/ipv4/ip_forward": "0",  # nothing of pods passes but what the node's proxy takes
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv6/conf/default/disable_ipv6": "1",
}
_FLAGS = ns.CLONE_NEWUSER | ns.CLONE_NEWNS
_OK = b"ok"
_STARTTIME_FIELD = 19
"""Of /proc/PID/stat after the name."""


def home(run_dir: str) -> str:
    """Path of the node's network namespace, for those who are in the mount namespace."""
    return os.path.join(run_dir, HOME_NAME)


def is_inside(run_dir: str) -> bool:
    """Whether this process is in the user namespace of this node."""
    record = _record(run_dir)
    return bool(record) and record["user"] == _inode("self", "user")


def outer_uid() -> int:
    """This user's number as the machine, or the user namespace around this one, sees it."""
    with open("/proc/self/uid_map") as file:
        for line in file:
            first, outside, count = (int(word) for word in line.split())
            if first <= os.geteuid() < first + count:
                return outside + os.geteuid() - first
    return os.geteuid()


def is_mapped() -> bool:
    """Whether this user has another number here than for the machine."""
    return outer_uid() != os.geteuid()


def exists(run_dir: str) -> bool:
    """Whether the node's namespaces are alive."""
    return _member(_record(run_dir)) > 0


def enter(run_dir: str, *, create: bool) -> bool:
    """Go into the node's user and mount namespace; False when there are none and none shall be
    made. To be called while the process has one thread, with a run directory that is this user's
    alone. OSError."""
    if not os.path.isdir(run_dir):
        return False
    with _locked(run_dir):
        member = _member(_record(run_dir))
        if not member and create:
            member = _create(run_dir)
        if not member:
            return False
        _join(member)
        if not keeper_of(run_dir):
            _write_record(run_dir, _keep_again())
    return True


def _join(member: int) -> None:
    here = "/"
    with contextlib.suppress(OSError):
        here = os.getcwd()
    opened = [os.open(f"/proc/{member}/ns/{name}", os.O_RDONLY) for name in ("user", "mnt")]
    try:  # one by one, as kernels before 5.8 want it
        for fd in opened:
            ns.setns(fd)
    finally:
        for fd in opened:
            os.close(fd)
    with contextlib.suppress(OSError):
        os.chdir(here)  # joining a mount namespace leads to its root


def unpin(run_dir: str) -> None:
    """The node's network is not needed any more; it goes with its last process. Idempotent."""
    netlink.delete_namespace(home(run_dir))


def forget(run_dir: str) -> None:
    """There are none, for whoever asks; what made them has ended before it was used."""
    unpin(run_dir)
    for name in (RECORD_NAME, LOCK_NAME):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(run_dir, name))
    for directory in (run_dir, os.path.dirname(run_dir)):
        with contextlib.suppress(OSError):  # something else is in it
            os.rmdir(directory)


def release(run_dir: str, keeper: int) -> None:
    """End the process that keeps the namespaces, when the run directory is gone."""
    if keeper and not os.path.exists(os.path.join(run_dir, RECORD_NAME)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(keeper, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # an earlier daemon's child
            os.waitpid(keeper, 0)


def keeper_of(run_dir: str) -> int:
    """The process that keeps the namespaces; 0 when it has ended."""
    record = _record(run_dir)
    pid = record.get("keeper", 0)
    return pid if pid and _starttime(pid) == record["started"] else 0


# --- which they are


def _record(run_dir: str) -> dict[str, int]:
    try:
        with open(os.path.join(run_dir, RECORD_NAME)) as file:
            found = json.load(file)
        return {name: int(found[name]) for name in ("keeper", "started", "user", "mnt")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _member(record: dict[str, int]) -> int:
    """A process in both namespaces; 0 when there is none."""
    if not record:
        return 0
    others = (int(name) for name in os.listdir("/proc") if name.isdigit())
    for pid in (record["keeper"], *others):
        if _inode(pid, "user") == record["user"] and _inode(pid, "mnt") == record["mnt"]:
            return pid
    return 0


def _inode(pid: int | str, name: str) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/{name}").st_ino
    except OSError:  # gone, or somebody else's
        return 0


def _starttime(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return 0 if fields[0] in "ZX" else int(fields[_STARTTIME_FIELD])
    except (OSError, IndexError):
        return 0


@contextlib.contextmanager
def _locked(run_dir: str) -> Iterator[None]:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    fd = os.open(os.path.join(run_dir, LOCK_NAME), flags, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


# --- making them


def _create(run_dir: str) -> int:
    """The keeper's pid. OSError."""
    said_read, said_write = os.pipe()
    mapped_read, mapped_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(said_read)
        os.close(mapped_write)
        _keep(run_dir, said_write, mapped_read)
    os.close(said_write)
    os.close(mapped_read)
    try:
        _listen(said_read)
        ns.map_one(str(pid), os.geteuid(), os.getegid(), 0, 0)  # root inside
        os.write(mapped_write, _OK)
        _listen(said_read)
        _write_record(run_dir, pid)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(said_read)
        os.close(mapped_write)
    return pid


def _listen(fd: int) -> None:
    said = os.read(fd, 512)
    if said != _OK:
        text = said.decode(errors="replace") or "it ended"
        raise OSError(1, f"the node's user namespace cannot be made: {text}")


def _write_record(run_dir: str, pid: int) -> None:
    record = {
        "keeper": pid, "started": _starttime(pid),
        "user": _inode(pid, "user"), "mnt": _inode(pid, "mnt"),
    }  # fmt: skip
    path = os.path.join(run_dir, RECORD_NAME)
    with open(f"{path}.new", "w") as file:
        json.dump(record, file)
    os.replace(f"{path}.new", path)


def _keep(run_dir: str, said: int, mapped: int) -> NoReturn:
    """In the child: make the namespaces, and stay."""
    try:
        os.setsid()
        ns.unshare(_FLAGS | ns.CLONE_NEWNET)
        os.write(said, _OK)
        if os.read(mapped, 8) != _OK:
            os._exit(1)
        ns.mount(None, "/", None, ns.MS_REC | ns.MS_SLAVE)
        _make_home(run_dir)
        os.write(said, _OK)
        _stay()
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(said, str(error).encode()[:500])
    finally:
        os._exit(1)


def _keep_again() -> int:
    """Another keeper for namespaces that this process is in, after somebody killed the first."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            _stay()
        finally:
            os._exit(1)
    return pid


def _make_home(run_dir: str) -> None:
    path = home(run_dir)
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o400))
    ns.mount("/proc/self/ns/net", path, None, ns.MS_BIND)
    for name, value in HOME_SYSCTLS.items():
        with contextlib.suppress(FileNotFoundError), open(f"/proc/sys/{name}", "w") as file:
            file.write(value)
    with contextlib.closing(netlink.Netlink()) as node:
        node.talk(node.link_up(netlink.LOOPBACK_INDEX))


def _stay() -> NoReturn:
    """As a program that is as small as can be, with nothing of its starter's."""
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.chdir("/")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if program := shutil.which("sleep"):
        with contextlib.suppress(OSError):
            os.execve(program, ["sleep", "infinity"], {})  # noqa: S606
    command = [sys.executable, "-I", "-S", "-c", "import signal\nwhile True: signal.pause()"]
    os.execve(sys.executable, command, {})  # noqa: S606

"""Namespaces, mounts and process attributes by ctypes (os.setns is newer than Python 3.11)."""

import contextlib
import ctypes
import os

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "s390x": 217, "ppc64le": 203}


def _check(result: int, what: str) -> None:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else os.fsencode(value)


def unshare(flags: int) -> None:
    """Leave the namespaces of `flags` (CLONE_NEW*) for new ones. OSError."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(fd: int, flags: int = 0) -> None:
    """Join the namespace behind `fd`, or those of `flags` when `fd` is a pidfd. OSError."""
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(flags)), "setns")


def mount(
    source: str | None, target: str, kind: str | None = None, flags: int = 0, data: str = ""
) -> None:
    """mount(2). OSError names the target."""
    result = _libc.mount(
        _bytes(source),
        _bytes(target),
        _bytes(kind),
        ctypes.c_ulong(flags),
        _bytes(data) if data else None,
    )
    _check(result, f"mount {kind or source or ''} on {target}")


def umount(target: str, flags: int = 0) -> None:
    """umount2(2). OSError names the target."""
    _check(_libc.umount2(_bytes(target), ctypes.c_int(flags)), f"umount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2), which C libraries do not wrap. OSError."""
    number = _SYS_PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise OSError(38, f"pivot_root: unknown on {os.uname().machine}")
    result = _libc.syscall(ctypes.c_long(number), _bytes(new_root), _bytes(put_old))
    _check(int(result), f"pivot_root {new_root}")


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument. OSError."""
    zero = ctypes.c_ulong(0)
    _check(_libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero), "prctl")


_CAPABILITY_VERSION_3 = 0x20080522
_SECCOMP_MODE_FILTER = 2


def set_capabilities(mask: int) -> None:
    """Have exactly these capabilities (a bit for each number) permitted and effective. OSError."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    low, high = mask & 0xFFFF_FFFF, mask >> 32
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    _check(_libc.capset(header, data), "capset")


def filter_calls(program: bytes) -> None:
    """Install a seccomp filter: classic BPF, 8 bytes an instruction. OSError."""
    code = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

    given = Program(len(program) // 8, ctypes.addressof(code))
    result = _libc.prctl(
        PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(given),
        ctypes.c_ulong(0), ctypes.c_ulong(0),
    )  # fmt: skip
    _check(result, "seccomp")


def sethostname(name: str) -> None:
    """Name this UTS namespace. OSError."""
    raw = name.encode()
    _check(_libc.sethostname(raw, ctypes.c_size_t(len(raw))), "sethostname")


def become_mapped(uid: int, gid: int, inside_uid: int, inside_gid: int) -> None:
    """Map the ids held outside (`uid`, `gid`) to ids inside this new user namespace. OSError."""
    map_one("self", uid, gid, inside_uid, inside_gid)


def map_one(process: str, uid: int, gid: int, inside_uid: int, inside_gid: int) -> None:
    """The same for the new user namespace of another process, by number. OSError."""
    with contextlib.suppress(FileNotFoundError), open(f"/proc/{process}/setgroups", "w") as file:
        file.write("deny")
    with open(f"/proc/{process}/uid_map", "w") as file:
        file.write(f"{inside_uid} {uid} 1")
    with open(f"/proc/{process}/gid_map", "w") as file:
        file.write(f"{inside_gid} {gid} 1")

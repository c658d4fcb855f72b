"""A container with a file system of its own: from its configuration (OCI runtime specification) to
a running program, without another runtime.

The child that `become` runs in is already in the container's namespaces. Sources of mounts are
opened before the root changes and targets are looked up after it, so that links in an image lead
nowhere but into the container. Nothing in a container allows device nodes but the devices that are
bound there: control groups for devices are not needed.
"""

import contextlib
import os
import shutil
import stat
from typing import Any

from weft.node.linux import ns
from weft.node.linux.capabilities import CAPABILITIES
from weft.node.podhost import filters

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_FLAGS = {
    "ro": ns.MS_RDONLY,
    "nosuid": ns.MS_NOSUID,
    "nodev": ns.MS_NODEV,
    "noexec": ns.MS_NOEXEC,
    "strictatime": 1 << 24,
}
_BIND_WORDS = ("bind", "rbind", "private", "rprivate", "rw")
_KEPT_FLAGS = ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC


def mount_root(rootfs: dict[str, Any], how: str) -> str:
    """Mount layers and what the container writes over each other, in this mount namespace; where.
    Where overlays are refused, the layers are copied instead."""
    directory, layers = rootfs["directory"], rootfs["layers"]
    root, upper, work = (f"{directory}/{name}" for name in ("root", "upper", "work"))
    for path in (root, upper, work):
        os.makedirs(path, 0o755, exist_ok=True)
        os.chmod(path, 0o755)  # noqa: S103 - the container's root, for all its users
    if not layers:
        ns.mount(upper, root, None, ns.MS_BIND)
        return root
    os.chdir(os.path.dirname(layers[0]))
    lower = ":".join(os.path.basename(layer) for layer in layers)
    options = f"lowerdir={lower},upperdir={_quoted(upper)},workdir={_quoted(work)}"
    if how != "root":
        options += ",userxattr"
    try:
        ns.mount("overlay", root, "overlay", ns.MS_NODEV, options)
    except OSError:
        _copy(list(reversed(layers)), upper)
        ns.mount(upper, root, None, ns.MS_BIND)
        ns.mount(None, root, None, ns.MS_BIND | ns.MS_REMOUNT | ns.MS_NODEV)
    os.chdir("/")
    return root


def _quoted(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _copy(layers: list[str], target: str) -> None:
    """Lowest first."""
    for layer in layers:
        for where, directories, files in os.walk(layer):
            here = os.path.normpath(f"{target}/{os.path.relpath(where, layer)}")
            if _is_opaque(where) and here != target:
                shutil.rmtree(here, ignore_errors=True)
            _copy_directory(where, here)
            for name in (*directories, *files):
                source, there = f"{where}/{name}", f"{here}/{name}"
                status = os.lstat(source)
                if stat.S_ISDIR(status.st_mode):
                    if os.path.lexists(there) and not stat.S_ISDIR(os.lstat(there).st_mode):
                        os.unlink(there)
                    continue
                if os.path.lexists(there):
                    if stat.S_ISDIR(os.lstat(there).st_mode):
                        shutil.rmtree(there)
                    else:
                        os.unlink(there)
                if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                    shutil.copy2(source, there, follow_symlinks=False)
                    with contextlib.suppress(PermissionError):
                        os.chown(there, status.st_uid, status.st_gid, follow_symlinks=False)
                        if stat.S_ISREG(status.st_mode):
                            os.chmod(there, stat.S_IMODE(status.st_mode))


def _copy_directory(source: str, target: str) -> None:
    os.makedirs(target, exist_ok=True)
    status = os.stat(source)
    with contextlib.suppress(PermissionError):
        os.chown(target, status.st_uid, status.st_gid)
    os.chmod(target, stat.S_IMODE(status.st_mode))


def _is_opaque(directory: str) -> bool:
    for name in ("trusted.overlay.opaque", "user.overlay.opaque"):
        with contextlib.suppress(OSError):
            if os.getxattr(directory, name) == b"y":
                return True
    return False


def become(spec: dict[str, Any], how: str) -> None:
    """Change the root to the container's and make everything in it. OSError says what failed."""
    config = spec["oci"]
    ns.mount(None, "/", None, ns.MS_REC | ns.MS_PRIVATE)
    root = mount_root(spec["rootfs"], how)
    mounts = config["mounts"]
    sources = {i: _open(m["source"]) for i, m in enumerate(mounts) if m["type"] == "bind"}
    wanted = [f"/dev/{name}" for name in _DEVICES]
    wanted += [device["path"] for device in config["linux"].get("devices", ())]
    devices = {path: _open(path) for path in wanted if os.path.exists(path)}
    _mount_proc(root, mounts)
    old = _change_root(root)
    for index, mount in enumerate(mounts):
        if mount["destination"] != "/proc":
            _mount(mount, sources.get(index, -1))
        if mount["destination"] == "/dev":
            _fill_dev(devices)
    _hide(config["linux"])
    if config.get("hostname"):
        ns.sethostname(config["hostname"])
    os.makedirs(config["process"]["cwd"], 0o755, exist_ok=True)
    if old >= 0:
        os.fchdir(old)
        ns.umount(".", ns.MNT_DETACH)
        os.close(old)
    for fd in (*sources.values(), *devices.values()):
        os.close(fd)
    os.chdir("/")
    if config["root"].get("readonly"):
        _restrict("/", ns.MS_RDONLY | ns.MS_NODEV)


def _open(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_CLOEXEC)


def _mount_proc(root: str, mounts: list[dict[str, Any]]) -> None:
    """Before the root changes: what is mounted later is named by descriptors, through /proc."""
    path = f"{root}/proc"
    if os.path.islink(path):
        raise OSError(40, "/proc of the image is a link")
    os.makedirs(path, 0o555, exist_ok=True)
    mount = next(m for m in mounts if m["destination"] == "/proc")
    if mount["type"] == "bind":
        ns.mount("/proc", path, None, ns.MS_BIND | ns.MS_REC)
    else:
        try:
            ns.mount("proc", path, "proc", _flags(mount["options"]))
        except PermissionError:  # the node's /proc is itself covered in parts
            ns.mount("/proc", path, None, ns.MS_BIND | ns.MS_REC)


def _change_root(root: str) -> int:
    """Gives the old root to let go of, or -1 where it cannot be reached any more."""
    old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.chdir(root)
    try:
        ns.pivot_root(".", ".")
    except OSError:  # the first root file system cannot be pivoted away
        ns.mount(root, "/", None, ns.MS_MOVE)
        os.chroot(".")
        os.close(old)
        old = -1
    os.chdir("/")
    return old


def _mount(mount: dict[str, Any], source: int) -> None:
    target = mount["destination"]
    try:
        if mount["type"] != "bind":
            os.makedirs(target, 0o755, exist_ok=True)
            words = [o for o in mount["options"] if o not in _FLAGS and o != "rw"]
            flags = _flags(mount["options"])
            ns.mount(mount["source"], target, mount["type"], flags, ",".join(words))
            return
        _point(target, source)
        ns.mount(f"/proc/self/fd/{source}", target, None, ns.MS_BIND | ns.MS_REC)
        _restrict(target, _flags(mount["options"]))
    except OSError as error:
        if target in ("/dev/mqueue", "/sys"):  # where the kernel lacks it, or it is not ours
            return
        text = f"cannot mount {mount['source']} at {target}: {error.strerror}"
        raise OSError(error.errno, text) from error


def _restrict(target: str, flags: int) -> None:
    if flags:
        kept = os.statvfs(target).f_flag & _KEPT_FLAGS  # may be locked in a user namespace
        ns.mount(None, target, None, ns.MS_BIND | ns.MS_REMOUNT | flags | kept)


def _flags(options: list[str]) -> int:
    found = 0
    for option in options:
        found |= _FLAGS.get(option, 0)
    return found


def _point(target: str, source: int) -> None:
    """The mount point, made in the container's own file system where it is missing."""
    if os.path.exists(target):
        return
    if stat.S_ISDIR(os.fstat(source).st_mode):
        os.makedirs(target, 0o755, exist_ok=True)
        return
    os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
    path = os.path.realpath(target)
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))


def _fill_dev(devices: dict[str, int]) -> None:
    for path, fd in devices.items():
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
        ns.mount(f"/proc/self/fd/{fd}", path, None, ns.MS_BIND)
    for name, target in _LINKS.items():
        with contextlib.suppress(FileExistsError):
            os.symlink(target, f"/dev/{name}")


def _hide(linux: dict[str, Any]) -> None:
    for path in linux.get("readonlyPaths", ()):
        if os.path.exists(path):
            ns.mount(path, path, None, ns.MS_BIND | ns.MS_REC)
            _restrict(path, ns.MS_RDONLY | ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC)
    for path in linux.get("maskedPaths", ()):
        if os.path.isdir(path):
            ns.mount("tmpfs", path, "tmpfs", ns.MS_RDONLY, "size=0k")
        elif os.path.exists(path):
            ns.mount("/dev/null", path, None, ns.MS_BIND)


def confine(config: dict[str, Any]) -> None:
    """Filter, capabilities and user, in the order in which each may still be set. OSError."""
    process = config["process"]
    names = process["capabilities"]["permitted"]
    held = [CAPABILITIES.index(name.removeprefix("CAP_")) for name in names]
    mask = sum(1 << number for number in held)
    ns.prctl(ns.PR_CAP_AMBIENT, ns.PR_CAP_AMBIENT_CLEAR_ALL)
    for number in range(len(CAPABILITIES)):
        if not mask >> number & 1:
            with contextlib.suppress(OSError):  # a kernel that does not know it
                ns.prctl(ns.PR_CAPBSET_DROP, number)
    if process.get("noNewPrivileges"):
        ns.prctl(ns.PR_SET_NO_NEW_PRIVS, 1)
    profile = config["linux"].get("seccomp")
    if profile:
        ns.filter_calls(filters.program(profile))
    user = process["user"]
    with contextlib.suppress(PermissionError):  # one user only, in a user namespace
        os.setgroups(user["additionalGids"])
    if os.getgid() != user["gid"]:
        os.setgid(user["gid"])
    if os.getuid() != user["uid"]:
        os.setuid(user["uid"])
    if user["uid"] == 0:
        ns.set_capabilities(mask & _possible())
    else:
        ns.set_capabilities(0)


def _possible() -> int:
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("CapPrm:"):
                return int(line.split()[1], 16)
    return 0

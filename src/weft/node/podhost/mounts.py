"""What a container sees of the host's file system: all of it, with its own /etc and volumes.

Runs in the child, in its new mount namespace. A volume whose target the host lacks needs a mount
point, and none may be made on the host. Below /etc and /dev it is in an overlay. Elsewhere the
deepest existing parent is replaced, in this namespace only, by a small tmpfs in which every entry
of that parent is bind mounted again; there the mount point is made.
"""

import contextlib
import errno
import os
from typing import Any

from weft.node.linux import ns

PARENT_ENTRIES_MAX = 4096
"""Entries of a directory that may be shown again one by one to add a mount point to it."""
_TMPFS_OPTIONS = "size=64m,mode=0755"
_KEPT_FLAGS = ns.MS_NOSUID | ns.MS_NODEV | ns.MS_NOEXEC


def build(
    etc_dir: str, mounts: list[dict[str, Any]], directory: str, how: str, hidden: list[str]
) -> None:
    """Make the view. `directory` is the container's own, for scratch; `how` is
    `spawn.privilege()`; in directories of `hidden` nothing is seen. OSError says what failed."""
    ns.mount(None, "/", None, ns.MS_REC | ns.MS_PRIVATE)
    wanted = sorted(mounts, key=lambda mount: str(mount["target"]).count("/"))
    _overlay_etc(etc_dir, wanted, directory)
    if how == "root":  # devices of an overlay made in a user namespace cannot be opened
        _overlay_dev(wanted, directory)
    view = _View(f"{directory}/scratch")
    for mount in wanted:
        if mount.get("optional") and _lacks_point(mount, "/dev/"):
            continue
        try:
            view.add(mount["source"], mount["target"], mount["read_only"])
        except OSError as error:
            if mount.get("optional"):
                continue
            text = f"cannot mount {mount['source']} at {mount['target']}: {error.strerror}"
            raise OSError(error.errno, text) from error
    for path in hidden:
        if os.path.isdir(path):
            ns.mount("tmpfs", path, "tmpfs", ns.MS_RDONLY, "size=4k,mode=0555")


def _overlay_etc(etc_dir: str, mounts: list[dict[str, Any]], directory: str) -> None:
    layers = [etc_dir] if etc_dir else []
    missing = [m for m in mounts if _lacks_point(m, "/etc/")]
    if missing:
        layers.append(_points(missing, directory, "/etc"))
    if not layers:
        return
    try:
        _overlay("/etc", layers)
    except OSError:
        if missing:
            raise
        _bind_files(etc_dir)


def _overlay_dev(mounts: list[dict[str, Any]], directory: str) -> None:
    """An overlay hides what is mounted below it: that is mounted again on top."""
    missing = [m for m in mounts if _lacks_point(m, "/dev/")]
    if not missing:
        return
    inner = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in _mounts_below("/dev/")}
    try:
        _overlay("/dev", [_points(missing, directory, "/dev")])
    except OSError:
        if not all(mount.get("optional") for mount in missing):
            raise
    else:
        for path, fd in inner.items():
            ns.mount(f"/proc/self/fd/{fd}", path, None, ns.MS_BIND | ns.MS_REC)
    finally:
        for fd in inner.values():
            os.close(fd)


def _lacks_point(mount: dict[str, Any], root: str) -> bool:
    target = os.path.normpath(mount["target"])
    return target.startswith(root) and not os.path.lexists(target)


def _points(mounts: list[dict[str, Any]], directory: str, root: str) -> str:
    """A layer for `root` with the mount points of mounts below it."""
    for mount in mounts:
        _mount_point(directory + os.path.normpath(mount["target"]), mount["source"])
    return directory + root


def _overlay(path: str, layers: list[str]) -> None:
    lower = ":".join(layer.replace("\\", "\\\\").replace(":", "\\:") for layer in layers)
    ns.mount("overlay", path, "overlay", ns.MS_RDONLY, f"lowerdir={lower}:{path}")


def _mounts_below(root: str) -> list[str]:
    """Mount points below a directory, outer ones first."""
    with open("/proc/self/mountinfo") as file:
        points = [line.split(" ", 5)[4] for line in file]
    return list(dict.fromkeys(point for point in points if point.startswith(root)))


def _bind_files(etc_dir: str) -> None:
    """Without overlays: only files that exist, and are no links, can be covered."""
    for name in os.listdir(etc_dir):
        if os.path.isfile(f"/etc/{name}") and not os.path.islink(f"/etc/{name}"):
            ns.mount(f"{etc_dir}/{name}", f"/etc/{name}", None, ns.MS_BIND)


def _mount_point(path: str, source: str) -> None:
    """Make a directory or file to mount `source` on, with its parents."""
    if os.path.isdir(source):
        os.makedirs(path, 0o755, exist_ok=True)
        return
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))


class _View:
    def __init__(self, scratch: str) -> None:
        self._scratch = scratch
        self._own: dict[str, bool] = {"/": False}
        """Trees by path: in own ones (our tmpfs, writable volumes) mount points may be made."""

    def add(self, source: str, target: str, read_only: bool) -> None:
        if not os.path.exists(source):
            raise FileNotFoundError(errno.ENOENT, f"{source} does not exist")
        path = os.path.realpath(target)
        if path == "/":
            raise OSError(errno.EINVAL, "the root directory cannot be covered")
        if not os.path.exists(path):
            self._make_point(path, source)
        if os.path.isdir(source) != os.path.isdir(path):
            raise OSError(errno.ENOTDIR, "one is a directory, the other is not")
        ns.mount(source, path, None, ns.MS_BIND | ns.MS_REC)
        if read_only:
            kept = os.statvfs(path).f_flag & _KEPT_FLAGS  # may be locked in a user namespace
            ns.mount(None, path, None, ns.MS_BIND | ns.MS_REMOUNT | ns.MS_RDONLY | kept)
        self._own[path] = not read_only

    def _make_point(self, path: str, source: str) -> None:
        parent = os.path.dirname(path)
        while not os.path.isdir(parent):
            parent = os.path.dirname(parent)
        if not self._is_own(parent):
            self._replace(parent)
        _mount_point(path, source)

    def _is_own(self, path: str) -> bool:
        while path not in self._own:
            path = os.path.dirname(path)
        return self._own[path]

    def _replace(self, parent: str) -> None:
        os.makedirs(self._scratch, 0o700, exist_ok=True)
        names = os.listdir(parent)
        if len(names) > PARENT_ENTRIES_MAX:
            text = f"{parent} has {len(names)} entries; make the mount point on the host"
            raise OSError(errno.E2BIG, text)
        status = os.stat(parent)
        ns.mount("tmpfs", self._scratch, "tmpfs", 0, _TMPFS_OPTIONS)
        # Unbindable: the tree that holds the scratch directory is itself bound into it.
        ns.mount(None, self._scratch, None, ns.MS_UNBINDABLE)
        for name in names:
            _show(os.path.join(parent, name), f"{self._scratch}/{name}")
            self._own.setdefault(os.path.join(parent, name), False)
        os.chmod(self._scratch, status.st_mode & 0o7777)
        if status.st_uid != os.getuid():
            with contextlib.suppress(OSError):  # not mapped in a user namespace
                os.chown(self._scratch, status.st_uid, status.st_gid)
        if parent == "/":
            _change_root(self._scratch)
        else:
            ns.mount(self._scratch, parent, None, ns.MS_MOVE)
        self._own[parent] = True


def _show(source: str, target: str) -> None:
    with contextlib.suppress(FileNotFoundError):  # removed meanwhile
        if os.path.islink(source):
            os.symlink(os.readlink(source), target)
            return
        _mount_point(target, source)
        ns.mount(source, target, None, ns.MS_BIND | ns.MS_REC)


def _change_root(root: str) -> None:
    os.chdir(root)
    try:
        ns.pivot_root(".", ".")
        ns.umount(".", ns.MNT_DETACH)
    except OSError:  # the first root file system cannot be pivoted away
        ns.mount(root, "/", None, ns.MS_MOVE)
        os.chroot(".")
    os.chdir("/")

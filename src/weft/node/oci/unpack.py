"""Unpacks one layer into a directory that overlayfs takes as a lower one. Blocking.

Every step starts from descriptors of directories below the layer's root, and links in an archive
are followed inside that root only: nothing outside can be reached, whatever the archive holds.
Device nodes are not made: containers get their devices from the node, and what they mount allows
none.
"""

import ctypes
import functools
import gzip
import hashlib
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import IO, Any, cast

import zstandard

from weft.node.linux import userns
from weft.node.oci.documents import LAYER_BYTES_MAX, ImageError
from weft.node.oci.layer_plan import (
    ENTRIES_MAX,
    Entry,
    Hide,
    Kind,
    Make,
    Opaque,
    Path,
    permissions,
    plan,
)

HEADER_BYTES_MAX = 1 << 20
"""Of the extended header of one member."""
_LINKS_MAX = 40
_COPY_BYTES = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OWNERS = 1 << 0 | 1 << 21
_CAPABILITY = "security.capability"
_KINDS: dict[bytes, Kind] = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.CONTTYPE: "file",
    tarfile.GNUTYPE_SPARSE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
    tarfile.CHRTYPE: "character",
    tarfile.BLKTYPE: "block",
    tarfile.FIFOTYPE: "fifo",
}
_HEADERS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


def unpacked(stream: IO[bytes]) -> IO[bytes]:
    """A layer's archive, whatever it is packed with; `stream` must be seekable."""
    magic = stream.read(4)
    stream.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=stream))
    if magic == b"\x28\xb5\x2f\xfd":
        reader = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)
        return cast("IO[bytes]", reader)
    return stream


class _Counted:
    """Reads on, and keeps the digest and the size of what was read."""

    def __init__(self, stream: IO[bytes], bytes_max: int) -> None:
        self._stream = stream
        self._left = bytes_max
        self._max = bytes_max
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ImageError(f"a layer of more than {self._max} bytes")
        self._hash.update(data)
        return data

    def digest(self) -> str:
        """Of everything, to the end of the stream."""
        while self.read(_COPY_BYTES):
            pass
        return "sha256:" + self._hash.hexdigest()


class _Member(tarfile.TarInfo):
    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        if self.type in _HEADERS and self.size > HEADER_BYTES_MAX:
            raise ImageError(f"an extended header of {self.size} bytes; at most {HEADER_BYTES_MAX}")
        return super()._proc_member(archive)  # type: ignore[misc]


def unpack(stream: IO[bytes], directory: FilePath, diff_id: str, bytes_max: int = 0) -> int:
    """Unpack into `directory` (not there yet); bytes of its files. ImageError or OSError, and
    then the directory is gone. The digest of the archive must be `diff_id`."""
    directory.mkdir(mode=0o755)
    try:
        counted = _Counted(unpacked(stream), bytes_max or LAYER_BYTES_MAX)
        with tarfile.open(
            fileobj=cast("Any", counted), mode="r|", tarinfo=_Member, errorlevel=2
        ) as archive:
            writer = _Writer(directory)
            try:
                for entry, content in _entries(archive):
                    writer.apply(entry, content)
                writer.finish()
            finally:
                writer.close()
        found = counted.digest()
        if found != diff_id:
            raise ImageError(f"the layer's content is {found}, the image says {diff_id}")
        _to_disk(directory)
    except (tarfile.TarError, EOFError, zstandard.ZstdError, gzip.BadGzipFile) as error:
        remove_tree(directory)
        raise ImageError(f"a layer cannot be unpacked: {error}") from None
    except BaseException:
        remove_tree(directory)
        raise
    return writer.bytes


def _entries(archive: tarfile.TarFile) -> Iterator[tuple[Entry, IO[bytes] | None]]:
    count = 0
    while (member := archive.next()) is not None:
        cast("Any", archive).members.clear()  # else all stay in memory
        count += 1
        if count > ENTRIES_MAX:
            raise ImageError(f"a layer of more than {ENTRIES_MAX} entries")
        kind = _KINDS.get(member.type)
        if kind is None:
            continue
        capability = member.pax_headers.get(f"SCHILY.xattr.{_CAPABILITY}", "")
        yield (
            Entry(
                member.name, kind, member.mode, member.uid, member.gid, float(member.mtime),
                member.linkname, capability=capability.encode("utf-8", "surrogateescape"),
            ),
            archive.extractfile(member) if kind == "file" else None,
        )  # fmt: skip


class _Writer:
    """Carries out plans below one root."""

    def __init__(self, root: FilePath) -> None:
        self._root = os.open(root, _DIRECTORY)
        self._owns = _may_own()
        self._opaque = "trusted.overlay.opaque" if self._owns else "user.overlay.opaque"
        self._near: tuple[Path, int] = ((), os.dup(self._root))
        self._directories: dict[Path, Entry] = {}
        self._moved = False
        """Something was removed since a directory was found: it may be another one now."""
        self.bytes = 0

    def close(self) -> None:
        os.close(self._near[1])
        os.close(self._root)

    def apply(self, entry: Entry, content: IO[bytes] | None) -> None:
        """One member. ImageError or OSError."""
        step = plan(entry)
        if isinstance(step, Hide):
            self._hide(step.path)
        elif isinstance(step, Opaque):
            where = self._descend(step.path)
            try:
                os.setxattr(where, self._opaque, b"y")
            finally:
                os.close(where)
        elif step is not None and entry.kind not in ("character", "block"):
            self._make(step, content)

    def finish(self) -> None:
        """Modes and times of directories, now that nothing is put into them any more."""
        for path in sorted(self._directories, reverse=True):
            entry = self._directories[path]
            try:
                fd = self._descend(path, make=False)
            except OSError:
                continue  # replaced later in the archive
            os.fchmod(fd, permissions(entry.mode))
            os.utime(fd, (entry.mtime, entry.mtime))
            os.close(fd)

    def _make(self, step: Make, content: IO[bytes] | None) -> None:
        path, entry = step.path, step.entry
        if not path:
            self._directories[path] = entry
            self._own(self._root, entry)
            return
        parent, name = self._parent(path[:-1]), path[-1]
        if entry.kind == "directory":
            self._make_directory(parent, path, entry)
            return
        if step.path == step.target:
            return
        self._clear(parent, name)
        if entry.kind == "file":
            self._write(parent, name, entry, content)
        elif entry.kind == "symlink":
            self._moved = True
            os.symlink(entry.link, name, dir_fd=parent)
            if self._owns:
                os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        elif entry.kind == "hardlink":
            self._link(step, parent)
        else:
            os.mkfifo(name, permissions(entry.mode), dir_fd=parent)
            if self._owns:
                os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)

    def _make_directory(self, parent: int, path: Path, entry: Entry) -> None:
        status = _status(parent, path[-1])
        if status is None or not stat.S_ISDIR(status.st_mode):
            self._clear(parent, path[-1])
            os.mkdir(path[-1], 0o755, dir_fd=parent)
        self._directories[path] = entry
        fd = os.open(path[-1], _DIRECTORY, dir_fd=parent)
        try:
            self._own(fd, entry)
        finally:
            os.close(fd)

    def _own(self, fd: int, entry: Entry) -> None:
        if self._owns:
            os.fchown(fd, entry.uid, entry.gid)

    def _write(self, parent: int, name: str, entry: Entry, content: IO[bytes] | None) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=parent)
        try:
            while content is not None and (data := content.read(_COPY_BYTES)):
                self.bytes += len(data)
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
            self._own(fd, entry)
            os.fchmod(fd, permissions(entry.mode))
            if entry.capability and self._owns:
                os.setxattr(fd, _CAPABILITY, entry.capability)
            os.utime(fd, (entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    def _link(self, step: Make, parent: int) -> None:
        here = self._descend(step.target[:-1], make=False)
        try:
            os.link(
                step.target[-1], step.path[-1], src_dir_fd=here, dst_dir_fd=parent,
                follow_symlinks=False,
            )  # fmt: skip
        except OSError as error:
            text = f"hard link {step.entry.name!r} to {step.entry.link!r}: {error.strerror}"
            raise ImageError(text) from None
        finally:
            os.close(here)

    def _hide(self, path: Path) -> None:
        """A whiteout as overlayfs has them: a character device 0/0, which anybody may make."""
        parent = self._parent(path[:-1])
        self._clear(parent, path[-1])
        os.mknod(path[-1], stat.S_IFCHR, 0, dir_fd=parent)

    def _clear(self, parent: int, name: str) -> None:
        status = _status(parent, name)
        if status is None:
            return
        self._moved = True
        if stat.S_ISDIR(status.st_mode):
            shutil.rmtree(name, dir_fd=parent)
        else:
            os.unlink(name, dir_fd=parent)

    # --- finding directories

    def _parent(self, path: Path) -> int:
        """The directory, made where it is missing. Ours: do not close."""
        known, fd = self._near
        if known != path or self._moved:
            self._moved = False
            fd = self._descend(path)
            os.close(self._near[1])
            self._near = (path, fd)
        return fd

    def _descend(self, path: Path, *, make: bool = True) -> int:
        """A descriptor of the directory at `path`, with links followed below the root only."""
        stack = [os.dup(self._root)]
        todo, links = list(reversed(path)), 0
        try:
            while todo:
                name = todo.pop()
                if name in ("", "."):
                    continue
                if name == "..":
                    if len(stack) > 1:
                        os.close(stack.pop())
                    continue
                status = _status(stack[-1], name)
                if status is None and make:
                    os.mkdir(name, 0o755, dir_fd=stack[-1])
                elif status is not None and stat.S_ISLNK(status.st_mode):
                    links += 1
                    if links > _LINKS_MAX:
                        raise ImageError(f"too many links on the way to {'/'.join(path)!r}")
                    target = os.readlink(name, dir_fd=stack[-1])
                    if target.startswith("/"):
                        while len(stack) > 1:
                            os.close(stack.pop())
                    todo.extend(reversed(target.split("/")))
                    continue
                elif status is not None and not stat.S_ISDIR(status.st_mode) and make:
                    os.unlink(name, dir_fd=stack[-1])  # also a whiteout: it is back
                    os.mkdir(name, 0o755, dir_fd=stack[-1])
                stack.append(os.open(name, _DIRECTORY, dir_fd=stack[-1]))
            return os.dup(stack[-1])
        finally:
            for fd in stack:
                os.close(fd)


@functools.cache
def _may_own() -> bool:
    """Whether this process may give files away and set what only the kernel's administrator may:
    CAP_CHOWN and CAP_SYS_ADMIN, and not in a user namespace, where there is nobody else."""
    if userns.is_mapped():
        return False
    for line in FilePath("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16) & _OWNERS == _OWNERS
    return False


def _status(parent: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _to_disk(directory: FilePath) -> None:
    """The layer is whole also after a power failure."""
    fd = os.open(directory, _DIRECTORY)
    try:
        ctypes.CDLL(None).syncfs(fd)
    finally:
        os.close(fd)


def remove_tree(directory: FilePath) -> None:
    """Remove all of it, also directories that their owner may not write. Nothing there is fine."""

    def unlock(function: Any, path: str, _: Any) -> None:
        try:
            os.chmod(os.path.dirname(path), 0o700)
            if function in (os.scandir, os.open, os.rmdir):
                os.chmod(path, 0o700)
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)
        except OSError:
            return

    shutil.rmtree(directory, onerror=unlock)
    if directory.exists():
        shutil.rmtree(directory, ignore_errors=True)


def read_text(layers: tuple[str, ...], name: str, bytes_max: int = 1 << 20) -> str:
    """A small file of an image (such as etc/passwd), from its topmost layer first; "" when it has
    none. Links are not followed."""
    for layer in layers:
        try:
            parent = os.open(f"{layer}/{os.path.dirname(name)}", _DIRECTORY)
        except FileNotFoundError:
            continue
        except OSError:
            return ""
        try:
            fd = os.open(os.path.basename(name), os.O_RDONLY | os.O_NOFOLLOW, dir_fd=parent)
        except FileNotFoundError:
            continue
        except OSError:
            return ""
        finally:
            os.close(parent)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return ""
            return file.read(bytes_max).decode(errors="replace")
    return ""

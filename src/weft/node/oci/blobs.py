"""Content on disk under its digest, and layers unpacked beside it. Blocking.

    images/blobs/sha256/<hex>   manifests, configurations, packed layers
    images/layers/<hex>         unpacked, as overlayfs wants them
    images/partial/             being written

Everything appears by a rename, when it is whole and its digest is right.
"""

import contextlib
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from weft.lib.files import PRIVATE_DIRECTORY_MODE, PRIVATE_MODE
from weft.node.oci.documents import MANIFEST_BYTES_MAX, ImageError, checked_digest
from weft.node.oci.unpack import remove_tree, unpack

LAYER_NAME_CHARACTERS = 24
"""Of a layer's digest: overlayfs takes all names of a stack in one page, relative to here."""
_COPY_BYTES = 1 << 20


class Blobs:
    """Several processes may use one directory."""

    def __init__(self, directory: Path) -> None:
        self._root = directory
        self._blobs = directory / "blobs" / "sha256"
        self._partial = directory / "partial"
        self.layers = directory / "layers"

    def path(self, digest: str) -> Path:
        """Where a blob is, or would be. ImageError for what is no digest."""
        return self._blobs / checked_digest(digest).removeprefix("sha256:")

    def has(self, digest: str) -> bool:
        return self.path(digest).exists()

    def read(self, digest: str) -> bytes:
        """A document. ImageError when it is missing or too large."""
        try:
            with self.path(digest).open("rb") as file:
                data = file.read(MANIFEST_BYTES_MAX + 1)
        except FileNotFoundError:
            raise ImageError(f"{digest} is missing") from None
        if len(data) > MANIFEST_BYTES_MAX:
            raise ImageError(f"{digest} is too large for a document")
        return data

    def put(self, data: bytes) -> str:
        """Keep a document; its digest."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        with self.writer(digest) as writer:
            writer.write(data)
        return digest

    def copy(self, stream: IO[bytes], digest: str, bytes_max: int) -> None:
        """Keep what `stream` has, which must have this digest ("" for whatever it is)."""
        with self.writer(digest, bytes_max) as writer:
            while data := stream.read(_COPY_BYTES):
                writer.write(data)

    def partial(self, digest: str) -> Path:
        """A file that a download goes on with after it was cut off."""
        self._make()
        return self._partial / checked_digest(digest).removeprefix("sha256:")

    def adopt(self, file: Path, digest: str) -> None:
        """A whole download becomes the blob. ImageError, and the file is gone, when its content
        is something else."""
        found = hashlib.sha256()
        with file.open("rb") as stream:
            while data := stream.read(_COPY_BYTES):
                found.update(data)
            os.fsync(stream.fileno())
        if "sha256:" + found.hexdigest() != digest:
            file.unlink()
            raise ImageError(f"{digest} came with other content (sha256:{found.hexdigest()})")
        file.rename(self.path(digest))

    @contextlib.contextmanager
    def writer(self, digest: str, bytes_max: int = MANIFEST_BYTES_MAX) -> "Iterator[Writer]":
        """Write a blob; it is kept when the block ends and the digest is right."""
        self._make()
        file = self._partial / secrets.token_hex(8)
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_MODE)
        try:
            with open(fd, "wb") as stream:
                writer = Writer(stream, bytes_max)
                yield writer
                stream.flush()
                os.fsync(fd)
            if digest not in ("", writer.digest):
                raise ImageError(f"{digest} came with other content ({writer.digest})")
            file.rename(self.path(writer.digest))
        finally:
            file.unlink(missing_ok=True)

    def layer(self, diff_id: str) -> Path:
        """Where a layer is unpacked, or would be."""
        name = checked_digest(diff_id).removeprefix("sha256:")
        return self.layers / name[:LAYER_NAME_CHARACTERS]

    def unpack(self, blob: str, diff_id: str) -> None:
        """Unpack a layer unless it is there. ImageError; OSError."""
        target = self.layer(diff_id)
        if target.exists():
            return
        self._make()
        self.layers.mkdir(mode=PRIVATE_DIRECTORY_MODE, exist_ok=True)
        fresh = self._partial / f"layer-{secrets.token_hex(8)}"
        with self.path(blob).open("rb") as stream:
            unpack(stream, fresh, diff_id)
        try:
            fresh.rename(target)
        except OSError:  # another process was first
            remove_tree(fresh)
            if not target.exists():
                raise

    @contextlib.contextmanager
    def in_use(self, *, alone: bool = False) -> Iterator[None]:
        """While content is written that no image names yet. `alone` waits for nobody: with it
        ImageError when others write."""
        self._make()
        fd = os.open(self._root / ".use", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_MODE)
        try:
            if alone:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise ImageError("images are being imported or pulled; try again") from None
            else:
                fcntl.flock(fd, fcntl.LOCK_SH)
            yield
        finally:
            os.close(fd)

    def sweep(self, blobs: set[str], layers: set[str]) -> int:
        """Remove all but these digests and layer directories' names; bytes freed, roughly. Only
        within `in_use(alone=True)`."""
        freed = 0
        kept = {digest.removeprefix("sha256:") for digest in blobs}
        for folder, keep in ((self._blobs, kept), (self.layers, layers), (self._partial, set())):
            for path in folder.iterdir() if folder.exists() else ():
                if path.name in keep:
                    continue
                freed += size_of(path)
                remove_tree(path) if path.is_dir() else path.unlink()
        return freed

    def _make(self) -> None:
        for folder in (self._blobs, self._partial):
            folder.mkdir(mode=PRIVATE_DIRECTORY_MODE, parents=True, exist_ok=True)


class Writer:
    """Counts and hashes what is written."""

    def __init__(self, stream: IO[bytes], bytes_max: int) -> None:
        self._stream = stream
        self._max = bytes_max
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        """ImageError when it is too much."""
        self.size += len(data)
        if self.size > self._max:
            raise ImageError(f"more than {self._max} bytes")
        self._hash.update(data)
        self._stream.write(data)

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a directory."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    total = 0
    for root, _, files in os.walk(path):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(f"{root}/{name}").st_size
    return total

"""The image store: what an image name means on this machine.

A process image is a directory and a command. The index is one private JSON file (images hold
environment variables, and those hold secrets); every change replaces it atomically, and changes
made by another process (`weft image add`) are seen at the next look.
"""

import fcntl
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from weft.lib.files import PRIVATE_DIRECTORY_MODE, PRIVATE_MODE, replace_file
from weft.node.runtime import Image

DEFAULT_REGISTRY = "docker.io"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"


def normalize(name: str) -> str:
    """The full name, as container engines complete it: `redis` is
    `docker.io/library/redis:latest`. A digest stays, and then no tag is added."""
    rest, _, digest = name.partition("@")
    head, _, tail = rest.rpartition("/")
    repository, colon, tag = tail.partition(":")
    first = head.split("/", 1)[0]
    if not head:
        head = f"{DEFAULT_REGISTRY}/{DEFAULT_NAMESPACE}"
    elif "." not in first and ":" not in first and first != "localhost":
        head = f"{DEFAULT_REGISTRY}/{head}"
    elif head == DEFAULT_REGISTRY:
        head = f"{DEFAULT_REGISTRY}/{DEFAULT_NAMESPACE}"
    full = f"{head}/{repository}"
    if digest:
        return f"{full}{colon}{tag}@{digest}"
    return f"{full}:{tag or DEFAULT_TAG}"


def familiar(name: str) -> str:
    """The shortest name that means the same, for people."""
    full = normalize(name)
    for prefix in (f"{DEFAULT_REGISTRY}/{DEFAULT_NAMESPACE}/", f"{DEFAULT_REGISTRY}/"):
        if full.startswith(prefix):
            return full.removeprefix(prefix)
    return full


class ImageStore:
    """Images. Several processes may use one store."""

    def __init__(self, data_dir: Path) -> None:
        self._directory = data_dir / "images"
        self._index = self._directory / "index.json"
        self._stamp: tuple[int, int] = (0, 0)
        self._images: dict[str, Image] = {}

    def resolve(self, name: str) -> Image | None:
        """See Images."""
        return self._read().get(normalize(name))

    def names(self) -> tuple[str, ...]:
        """All names in their short form, sorted."""
        return tuple(sorted(familiar(name) for name in self._read()))

    def list(self) -> tuple[Image, ...]:
        """All images, by name."""
        images = self._read()
        return tuple(images[name] for name in sorted(images))

    def add(
        self,
        name: str,
        directory: Path,
        command: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
    ) -> Image:
        """Add or replace. The directory must exist (NotADirectoryError). Without a command every
        container of the image must have one."""
        if not directory.is_dir():
            raise NotADirectoryError(f"{directory} is not a directory")
        image = Image(normalize(name), str(directory.resolve()), command, dict(env or {}))
        self._change(lambda images: images.__setitem__(image.name, image))
        return image

    def remove(self, name: str) -> bool:
        """Whether there was one of this name."""
        full = normalize(name)
        found = full in self._read()
        self._change(lambda images: images.pop(full, None))
        return found

    def _read(self) -> dict[str, Image]:
        try:
            status = self._index.stat()
        except FileNotFoundError:
            self._images, self._stamp = {}, (0, 0)
            return self._images
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._stamp:
            self._images = msgspec.json.decode(self._index.read_bytes(), type=dict[str, Image])
            self._stamp = stamp
        return self._images

    def _change(self, change: Callable[[dict[str, Image]], object]) -> None:
        self._directory.mkdir(mode=PRIVATE_DIRECTORY_MODE, parents=True, exist_ok=True)
        lock = os.open(
            self._directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_MODE
        )
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            images = dict(self._read())
            change(images)
            text = msgspec.json.format(msgspec.json.encode(images), indent=2)
            replace_file(self._index, text)
        finally:
            os.close(lock)

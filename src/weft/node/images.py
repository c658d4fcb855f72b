"""The image store: what an image name means on this machine.

A process image is a directory and a command; a container image is layers and a configuration,
which are beside the index under their digests (`oci.blobs`). The index is one private JSON file
(images hold environment variables, and those hold secrets); every change replaces it atomically,
and changes made by another process (`weft image add`) are seen at the next look.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from weft.lib.files import PRIVATE_DIRECTORY_MODE, PRIVATE_MODE, replace_file
from weft.node.oci import archives
from weft.node.oci.blobs import Blobs, size_of
from weft.node.oci.documents import (
    ImageError,
    Index,
    Manifest,
    environment,
    platform_of,
    read_configuration,
    read_manifest,
)
from weft.node.oci.references import familiar, normalize, parse
from weft.node.runtime import Image, OciImage

__all__ = ["ImageStore", "familiar", "normalize"]


class ImageStore:
    """Images. Several processes may use one store."""

    def __init__(self, data_dir: Path) -> None:
        self.directory = self._directory = data_dir / "images"
        self._index = self._directory / "index.json"
        self._stamp: tuple[int, int] = (0, 0)
        self._images: dict[str, Image] = {}
        self.blobs = Blobs(self._directory)
        self.platform = platform_of(os.uname().machine)

    def resolve(self, name: str) -> Image | None:
        """See Images. A digest after a tag decides alone."""
        images, full = self._read(), normalize(name)
        if full in images or "@" not in full:
            return images.get(full)
        repository, digest = _without_tag(full)
        for image in images.values():
            if image.oci is not None and digest == image.oci.digest:
                if _without_tag(image.name)[0] == repository:
                    return image
                if repository in image.oci.repositories:
                    return image
        return None

    def id_of(self, name: str) -> str:
        """`imageID` of containers that run it."""
        image = self.resolve(name)
        if image is None or image.oci is None:
            return f"weft://{name}"
        return f"{_without_tag(image.name)[0]}@{image.oci.digest}"

    def names(self) -> tuple[str, ...]:
        """All names in their short form, sorted."""
        return tuple(sorted(familiar(name) for name in self._read()))

    def list(self) -> tuple[Image, ...]:
        """All images, by name."""
        images = self._read()
        return tuple(images[name] for name in sorted(images))

    def layers(self, image: OciImage) -> tuple[str, ...]:
        """Directories of its layers, topmost first."""
        return tuple(str(self.blobs.layer(layer)) for layer in reversed(image.layers))

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

    def import_from(self, source: Path, names: tuple[str, ...] = ()) -> tuple[Image, ...]:
        """Container images from a file or directory (`oci.archives`). Blocking. ImageError says
        what is wrong; then nothing was added."""
        with self.blobs.in_use():
            found = archives.read(source, self.blobs, self.platform, names)
            images = [self._made(name, each.digest) for each in found for name in each.names]
            self._change(lambda known: known.update({image.name: image for image in images}))
        return tuple(images)

    def keep(self, name: str, digest: str, origin: Literal["import", "pull"] = "pull") -> Image:
        """An image whose content is in the blobs: unpack it and give it this name. Blocking;
        within `blobs.in_use`. ImageError."""
        full = str(parse(name))
        image = self._made(full, digest)
        assert image.oci is not None
        pulled = msgspec.structs.replace(
            image.oci, origin=origin, repositories=(_without_tag(full)[0],)
        )
        image = msgspec.structs.replace(image, oci=pulled)
        self._change(lambda images: images.__setitem__(full, image))
        return image

    def _made(self, name: str, digest: str) -> Image:
        manifest = self.manifest(digest)
        configuration = read_configuration(self.blobs.read(manifest.config.digest), manifest)
        layers = configuration.rootfs.diff_ids
        for descriptor, layer in zip(manifest.layers, layers, strict=True):
            self.blobs.unpack(descriptor.digest, layer)
        settings = configuration.settings
        platform = f"{configuration.os or 'linux'}/{configuration.architecture}"
        return Image(
            name=name,
            directory=settings.working_dir or "/",
            command=settings.entrypoint or (),
            args=settings.cmd or (),
            env=environment(settings),
            oci=OciImage(
                digest=digest, id=manifest.config.digest, layers=layers, user=settings.user,
                stop_signal=settings.stop_signal, platform=platform,
                created=configuration.created or "",
                size_bytes=sum(size_of(self.blobs.layer(layer)) for layer in layers),
                ports=tuple(settings.exposed_ports or ()), labels=settings.labels or {},
            ),
        )  # fmt: skip

    def manifest(self, digest: str) -> Manifest:
        """Of an image for one platform. ImageError."""
        manifest = read_manifest(self.blobs.read(digest))
        if isinstance(manifest, Index):
            raise ImageError(f"{digest} is an index")
        return manifest

    def remove(self, name: str) -> bool:
        """Whether there was one of this name. Its content stays until `prune`."""
        full = normalize(name)
        found = full in self._read()
        self._change(lambda images: images.pop(full, None))
        return found

    def prune(self, used_layers: Iterable[str]) -> int:
        """Remove content that no image has, but for these layers' directories, which containers
        run from; bytes freed. Blocking. ImageError while images are written."""
        with self.blobs.in_use(alone=True):
            blobs: set[str] = set()
            layers = {Path(path).name for path in used_layers}
            for image in self._read().values():
                if image.oci is None:
                    continue
                manifest = self.manifest(image.oci.digest)
                blobs |= {image.oci.digest, manifest.config.digest}
                blobs |= {layer.digest for layer in manifest.layers}
                layers |= {self.blobs.layer(layer).name for layer in image.oci.layers}
            return self.blobs.sweep(blobs, layers)

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


def _without_tag(name: str) -> tuple[str, str]:
    """Repository and digest of a full name."""
    rest, _, digest = name.partition("@")
    head, _, tail = rest.rpartition("/")
    return f"{head}/{tail.partition(':')[0]}", digest


def layers_in_use(run_dir: Path) -> tuple[str, ...]:
    """Layers' directories of the containers that a pod host has."""
    found: list[str] = []
    for state in (run_dir / "containers").glob("*/state.json"):
        try:
            spec = json.loads(state.read_text()).get("spec") or {}
        except (OSError, ValueError):
            continue
        found += (spec.get("rootfs") or {}).get("layers", ())
    return tuple(found)

"""Reads images from files: `docker save` archives, OCI layouts (archives, directories). Blocking.

Content goes into the blobs; what comes back are names and the manifests they mean.
"""

import contextlib
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec
from msgspec import Struct

from weft.node.oci.blobs import Blobs
from weft.node.oci.documents import (
    LAYER_BYTES_MAX,
    LAYERS_MAX,
    MANIFEST_BYTES_MAX,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    ImageError,
    Index,
    Manifest,
    Platform,
    choose,
    digest_of,
    read_manifest,
)
from weft.node.oci.references import normalize, parse
from weft.node.oci.unpack import unpacked

IMAGES_MAX = 1000
"""In one archive."""
INDEX_DEPTH_MAX = 4
_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")

Opener = Callable[[str], IO[bytes]]
"""Opens a file of an archive by its name. ImageError when it has none of that name."""


class _Saved(Struct, frozen=True, rename="pascal"):
    """One image of `docker save`'s manifest.json."""

    config: str
    layers: tuple[str, ...]
    repo_tags: tuple[str, ...] | None = None


class Found(Struct, frozen=True):
    """An image whose content is in the blobs now."""

    names: tuple[str, ...]
    digest: str
    """Of its manifest."""


def read(source: Path, blobs: Blobs, platform: Platform, names: tuple[str, ...]) -> list[Found]:
    """Everything in a file or directory. `names` are given to its one image, instead of those it
    has. ImageError; OSError."""
    with _opened(source) as (opener, members):
        if "manifest.json" in members:
            found = _read_saved(opener, blobs)
        elif "index.json" in members:
            found = _read_layout(opener, blobs, platform)
        else:
            raise ImageError(
                f"{source} is neither what `docker save` writes (it has no manifest.json)"
                " nor an OCI layout (no index.json)"
            )
    if names:
        if len(found) != 1:
            raise ImageError(f"{source} holds {len(found)} images; a name is for one only")
        found = [Found(tuple(normalize(n) for n in names), found[0].digest)]
    for image in found:
        if not image.names:
            raise ImageError(f"{source}: an image without a name; give it one with --name")
        for name in image.names:
            try:
                parse(name)
            except ValueError as error:
                raise ImageError(str(error)) from None
    return found


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[tuple[Opener, frozenset[str]]]:
    if source.is_dir():
        top = frozenset(os.listdir(source))
        yield (lambda name: _in_directory(source, name)), top
        return
    with source.open("rb") as raw, _seekable(raw) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                names = frozenset(_clean(name) for name in archive.getnames())
                by_name = {_clean(m.name): m for m in archive.getmembers()}

                def opener(name: str) -> IO[bytes]:
                    member = by_name.get(_clean(name))
                    content = archive.extractfile(member) if member is not None else None
                    if content is None:
                        raise ImageError(f"{source} has no {name}")
                    return content

                yield opener, names
        except (tarfile.TarError, KeyError, RecursionError) as error:
            raise ImageError(f"{source} is no archive that can be read: {error}") from None


@contextlib.contextmanager
def _seekable(raw: IO[bytes]) -> Iterator[IO[bytes]]:
    """A packed archive is unpacked into a file that has no name."""
    plain = unpacked(raw)
    if plain is raw:
        yield raw
        return
    with tempfile.TemporaryFile() as file:
        size = 0
        while data := plain.read(1 << 20):
            size += len(data)
            if size > LAYER_BYTES_MAX:
                raise ImageError(f"an archive of more than {LAYER_BYTES_MAX} bytes")
            file.write(data)
        file.seek(0)
        yield file


def _in_directory(source: Path, name: str) -> IO[bytes]:
    path = source / _clean(name)
    if not path.resolve().is_relative_to(source.resolve()):
        raise ImageError(f"{name} leads out of {source}")
    try:
        return path.open("rb")
    except OSError as error:
        raise ImageError(f"{source} has no {name}: {error.strerror}") from None


def _clean(name: str) -> str:
    parts = [part for part in PurePosixPath(name).parts if part not in (".", "/")]
    if ".." in parts:
        raise ImageError(f"{name!r} leads out of the archive")
    return "/".join(parts)


def _document(opener: Opener, name: str) -> bytes:
    with opener(name) as stream:
        data = stream.read(MANIFEST_BYTES_MAX + 1)
    if len(data) > MANIFEST_BYTES_MAX:
        raise ImageError(f"{name} has more than {MANIFEST_BYTES_MAX} bytes")
    return data


# --- docker save


def _read_saved(opener: Opener, blobs: Blobs) -> list[Found]:
    try:
        saved = msgspec.json.decode(_document(opener, "manifest.json"), type=tuple[_Saved, ...])
    except msgspec.MsgspecError as error:
        raise ImageError(f"manifest.json cannot be read: {error}") from None
    if len(saved) > IMAGES_MAX:
        raise ImageError(f"{len(saved)} images; at most {IMAGES_MAX} are taken")
    return [_keep_saved(opener, blobs, image) for image in saved]


def _keep_saved(opener: Opener, blobs: Blobs, image: _Saved) -> Found:
    """Such archives have no manifest: it is made from what is there, with layers as they are."""
    if len(image.layers) > LAYERS_MAX:
        raise ImageError(f"{len(image.layers)} layers; at most {LAYERS_MAX} are possible")
    config = _document(opener, image.config)
    blobs.put(config)
    layers = []
    for name in image.layers:
        with opener(name) as stream, blobs.writer("", LAYER_BYTES_MAX) as writer:
            while data := stream.read(1 << 20):
                writer.write(data)
        layers.append(Descriptor(writer.digest, writer.size, OCI_LAYER))
    manifest = Manifest(
        Descriptor(digest_of(config), len(config), OCI_CONFIG), tuple(layers), OCI_MANIFEST
    )
    body = msgspec.json.encode({"schemaVersion": 2, **msgspec.to_builtins(manifest)})
    return Found(tuple(normalize(tag) for tag in image.repo_tags or ()), blobs.put(body))


# --- OCI layout


def _read_layout(opener: Opener, blobs: Blobs, platform: Platform) -> list[Found]:
    index = read_manifest(_document(opener, "index.json"))
    if not isinstance(index, Index):
        raise ImageError("index.json is no index")
    if len(index.manifests) > IMAGES_MAX:
        raise ImageError(f"{len(index.manifests)} images; at most {IMAGES_MAX} are taken")
    plain = [m for m in index.manifests if m.platform is not None and not _name(m)]
    if plain and len(plain) == len(index.manifests):  # one image for several platforms
        index = Index((choose(index, platform),))
    found: dict[str, tuple[str, ...]] = {}
    for entry in index.manifests:
        digest = _keep_manifest(opener, blobs, entry, platform)
        name = _name(entry)
        found[digest] = (*found.get(digest, ()), *((normalize(name),) if name else ()))
    return [Found(names, digest) for digest, names in found.items()]


def _name(entry: Descriptor) -> str:
    """The full name of an entry; a bare tag, as the specification has it, names no image."""
    for key in _NAMES:
        name = entry.annotations.get(key, "")
        if name and (key == _NAMES[0] or "/" in name or ":" in name):
            return name
    return ""


def _keep_manifest(
    opener: Opener, blobs: Blobs, entry: Descriptor, platform: Platform, depth: int = 0
) -> str:
    """Copy a manifest and all it names; the digest of the one for this platform."""
    if depth > INDEX_DEPTH_MAX:
        raise ImageError("indexes within indexes")
    body = _document(opener, _blob_name(entry.digest))
    if digest_of(body) != entry.digest:
        raise ImageError(f"{entry.digest} has other content ({digest_of(body)})")
    manifest = read_manifest(body)
    if isinstance(manifest, Index):
        chosen = choose(manifest, platform)
        return _keep_manifest(opener, blobs, chosen, platform, depth + 1)
    for each in (manifest.config, *manifest.layers):
        if not blobs.has(each.digest):
            with opener(_blob_name(each.digest)) as stream:
                blobs.copy(stream, each.digest, LAYER_BYTES_MAX)
    return blobs.put(body)


def _blob_name(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/", 1)

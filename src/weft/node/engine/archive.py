"""Images of weft's store as archives that engines load (`docker save`'s form)."""

import io
import json
import shutil
import tarfile
import tempfile
from typing import IO

from weft.node.images import ImageStore
from weft.node.oci.unpack import unpacked
from weft.node.runtime import OciImage


def write(store: ImageStore, image: OciImage, names: tuple[str, ...], output: IO[bytes]) -> None:
    """Blocking. ImageError, OSError. Layers go as they are, but for Zstandard, which engines of
    some years ago do not know."""
    manifest = store.manifest(image.digest)
    configuration = f"{manifest.config.digest.partition(':')[2]}.json"
    layers: list[str] = []
    with tarfile.open(fileobj=output, mode="w") as archive:
        _add(archive, configuration, store.blobs.read(manifest.config.digest))
        for number, layer in enumerate(manifest.layers):
            layers.append(f"{number}-{layer.digest.partition(':')[2]}.tar")
            _add_layer(archive, layers[-1], store, layer.digest)
        entry = {"Config": configuration, "RepoTags": list(names) or None, "Layers": layers}
        _add(archive, "manifest.json", json.dumps([entry]).encode())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _add_layer(archive: tarfile.TarFile, name: str, store: ImageStore, digest: str) -> None:
    with open(store.blobs.path(digest), "rb") as packed, tempfile.TemporaryFile() as plain:
        shutil.copyfileobj(unpacked(packed), plain)
        member = tarfile.TarInfo(name)
        member.size = plain.tell()
        plain.seek(0)
        archive.addfile(member, plain)

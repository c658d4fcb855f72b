"""Manifests, indexes and configurations of images: bytes to values. Pure.

Sources: OCI image specification 1.1 and Docker's image manifest version 2, schema 2. Whatever is
wrong raises ImageError with a sentence for people.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct, field

MANIFEST_BYTES_MAX = 4 << 20
"""As registries limit manifests; configurations are held to it too."""
LAYERS_MAX = 127
"""As engines limit them: the kernel stacks no more."""
LAYER_BYTES_MAX = 16 << 30
"""Of one layer, packed or unpacked."""
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
ACCEPTED = (OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST)
_FOREIGN = ("nondistributable", "foreign")
_VARIANTS = {"arm64": "v8", "arm": "v7"}
"""What is meant where an image names no variant, or a machine does not."""
_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "i686": "386",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}


_Read = TypeVar("_Read")


class ImageError(ValueError):
    """An image cannot be used; says why."""


class Platform(Struct, frozen=True):
    architecture: str = ""
    os: str = ""
    variant: str = ""


class Descriptor(Struct, frozen=True, rename="camel"):
    digest: str
    size: int
    media_type: str = ""
    platform: Platform | None = None
    annotations: Mapping[str, str] = {}


class Manifest(Struct, frozen=True, rename="camel"):
    config: Descriptor
    layers: tuple[Descriptor, ...] = ()
    media_type: str = ""


class Index(Struct, frozen=True, rename="camel"):
    manifests: tuple[Descriptor, ...] = ()
    media_type: str = ""


class Settings(Struct, frozen=True, rename="pascal"):
    """`config` of an image's configuration."""

    user: str = ""
    env: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    working_dir: str = ""
    stop_signal: str = ""
    labels: Mapping[str, str] | None = None
    exposed_ports: Mapping[str, object] | None = None
    volumes: Mapping[str, object] | None = None


class RootFs(Struct, frozen=True):
    type: str = "layers"
    diff_ids: tuple[str, ...] = ()


class Configuration(Struct, frozen=True):
    architecture: str = ""
    os: str = ""
    created: str | None = ""
    config: Settings | None = None
    rootfs: RootFs = field(default_factory=RootFs)

    @property
    def settings(self) -> Settings:
        return self.config or Settings()


def digest_of(data: bytes) -> str:
    """`sha256:` and hex."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def checked_digest(digest: str) -> str:
    """The digest; it becomes a file name, so nothing else may pass."""
    if not DIGEST.fullmatch(digest):
        raise ImageError(f'"{digest[:100]}" is no sha256 digest (other algorithms are not read)')
    return digest


def _decode(data: bytes, kind: type[_Read], what: str) -> _Read:
    if len(data) > MANIFEST_BYTES_MAX:
        raise ImageError(f"{what} of {len(data)} bytes; at most {MANIFEST_BYTES_MAX} are read")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ImageError(f"{what} cannot be read: {error}") from None


def read_manifest(data: bytes) -> Manifest | Index:
    """What a registry or layout has under a name."""
    raw = _decode(data, dict[str, msgspec.Raw], "manifest")
    if "manifests" in raw:
        index = _decode(data, Index, "index")
        for each in index.manifests:
            checked_digest(each.digest)
        return index
    if "fsLayers" in raw:
        raise ImageError("manifest of schema version 1; the image must be pushed again")
    if "config" not in raw:
        raise ImageError("manifest without `config` and `manifests`: no image")
    manifest = _decode(data, Manifest, "manifest")
    for each in (manifest.config, *manifest.layers):
        checked_digest(each.digest)
        if each.size < 0 or each.size > LAYER_BYTES_MAX:
            raise ImageError(f"{each.digest}: size {each.size}, at most {LAYER_BYTES_MAX}")
        if any(word in each.media_type for word in _FOREIGN):
            raise ImageError(f"layer {each.digest} is not distributed with the image")
    if len(manifest.layers) > LAYERS_MAX:
        raise ImageError(f"{len(manifest.layers)} layers; at most {LAYERS_MAX} are possible")
    return manifest


def read_configuration(data: bytes, manifest: Manifest) -> Configuration:
    """An image's configuration, which must speak of the manifest's layers."""
    found = _decode(data, Configuration, "configuration")
    layers, ids = len(manifest.layers), len(found.rootfs.diff_ids)
    if layers != ids:
        raise ImageError(f"the manifest has {layers} layers, the configuration {ids}")
    for digest in found.rootfs.diff_ids:
        checked_digest(digest)
    if found.os not in ("", "linux"):
        raise ImageError(f"the image is for {found.os}, this machine runs Linux")
    return found


def platform_of(machine: str) -> Platform:
    """The platform of a machine as `uname -m` calls it."""
    architecture = _ARCHITECTURES.get(machine, machine)
    return Platform(architecture, "linux", _VARIANTS.get(architecture, ""))


def choose(index: Index, wanted: Platform) -> Descriptor:
    """The manifest for this platform. Without a platform, an only manifest is taken."""
    fitting = [m for m in index.manifests if _fits(m.platform, wanted)]
    if not fitting:
        unsaid = [m for m in index.manifests if m.platform is None]
        fitting = unsaid if len(unsaid) == 1 else []
    if not fitting:
        there = sorted({_words(m.platform) for m in index.manifests if m.platform is not None})
        text = ", ".join(t for t in there if "unknown" not in t) or "none"
        raise ImageError(
            f"no matching manifest for {_words(wanted)} in the manifest list entries"
            f" (there are {text})"
        )
    exact = [m for m in fitting if m.platform is not None and m.platform.variant == wanted.variant]
    return (exact or fitting)[0]


def _fits(offered: Platform | None, wanted: Platform) -> bool:
    if offered is None or (offered.os, offered.architecture) != (wanted.os, wanted.architecture):
        return False
    variant = offered.variant or _VARIANTS.get(offered.architecture, "")
    return not variant or variant <= (wanted.variant or variant)


def _words(platform: Platform | None) -> str:
    if platform is None:
        return "an unnamed platform"
    return "/".join(filter(None, (platform.os, platform.architecture, platform.variant)))


def environment(settings: Settings) -> dict[str, str]:
    """The image's variables; entries without `=` say nothing."""
    pairs = (entry.partition("=") for entry in settings.env or ())
    return {name: value for name, sign, value in pairs if name and sign}

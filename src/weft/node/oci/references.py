"""Names of images. Pure.

Grammar: the `reference` package of distribution (familiar names as Docker completes them).
"""

import re

from msgspec import Struct

DEFAULT_REGISTRY = "docker.io"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"
NAME_CHARACTERS_MAX = 255
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Reference(Struct, frozen=True):
    """A name in its parts; one of `tag` and `digest` is never empty."""

    registry: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        """Registry and path."""
        return f"{self.registry}/{self.path}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")


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


def parse(name: str) -> Reference:
    """The parts of a name, completed. ValueError says what is wrong with it."""
    rest, _, digest = normalize(name).partition("@")
    registry, _, remainder = rest.partition("/")
    path, colon, tag = remainder.rpartition(":")
    if not colon or "/" in tag:
        path, tag = remainder, ""
    if digest and not _DIGEST.fullmatch(digest):
        raise ValueError(f'invalid image name "{name}": a digest is sha256: and 64 hex digits')
    if tag and not _TAG.fullmatch(tag):
        raise ValueError(f'invalid image name "{name}": "{tag}" is no tag')
    if not _HOST.fullmatch(registry):
        raise ValueError(f'invalid image name "{name}": "{registry}" is no registry host')
    if not _PATH.fullmatch(path):
        lower = " (repository names are lower case)" if path != path.lower() else ""
        raise ValueError(f'invalid image name "{name}": "{path}" is no repository{lower}')
    if len(path) + len(registry) > NAME_CHARACTERS_MAX:
        raise ValueError(f"image name is longer than {NAME_CHARACTERS_MAX} characters")
    return Reference(registry, path, tag, digest)

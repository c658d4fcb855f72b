"""What an entry of a layer's archive asks for, and whether that is allowed. Pure.

Source: OCI image specification, "layer": whiteouts, opaque directories, hard links.
"""

import stat
from typing import Literal

from msgspec import Struct

from weft.node.oci.documents import ImageError

NAME_BYTES_MAX = 4096
ENTRIES_MAX = 1_000_000
"""Of one layer."""
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_RESERVED = ".wh..wh."

Kind = Literal["directory", "file", "symlink", "hardlink", "character", "block", "fifo"]
Path = tuple[str, ...]
"""Components below the root of the layer; () is the root itself."""


class Entry(Struct, frozen=True):
    """One member of an archive."""

    name: str
    kind: Kind
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime: float = 0.0
    link: str = ""
    device: tuple[int, int] = (0, 0)
    capability: bytes = b""
    """File capabilities (security.capability)."""


class Make(Struct, frozen=True):
    """Make what the entry says at `path`; `target` is a hard link's."""

    path: Path
    entry: Entry
    target: Path = ()


class Hide(Struct, frozen=True):
    """What lower layers have here is gone."""

    path: Path


class Opaque(Struct, frozen=True):
    """Nothing of lower layers is in this directory."""

    path: Path


def plan(entry: Entry) -> Make | Hide | Opaque | None:
    """What to do; None for what only other engines need. ImageError for tricks."""
    path = components(entry.name)
    if path and path[-1].startswith(WHITEOUT):
        if path[-1] == OPAQUE:
            return Opaque(path[:-1])
        if path[-1].startswith(_RESERVED):
            return None
        name = path[-1].removeprefix(WHITEOUT)
        if name in ("", ".", ".."):
            raise ImageError(f"whiteout {entry.name!r} hides nothing that can be named")
        return Hide((*path[:-1], name))
    if not path and entry.kind != "directory":
        raise ImageError("the root of a layer is a directory")
    target = components(entry.link) if entry.kind == "hardlink" else ()
    if entry.kind == "hardlink" and not target:
        raise ImageError(f"{entry.name!r} is a hard link to the root")
    return Make(path, entry, target)


def components(name: str) -> Path:
    """A member's name, taken from the layer's root. ImageError when it leaves it."""
    if len(name.encode("utf-8", "surrogateescape")) > NAME_BYTES_MAX:
        raise ImageError(f"a name of more than {NAME_BYTES_MAX} bytes: {name[:60]!r}...")
    if "\0" in name:
        raise ImageError(f"a name with a zero byte: {name[:60]!r}")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        raise ImageError(f"{name[:200]!r} leads out of the layer")
    return parts


def permissions(mode: int) -> int:
    """The bits that chmod takes."""
    return stat.S_IMODE(mode) & 0o7777

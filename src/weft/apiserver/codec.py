"""Objects between the store and the wire, as bytes.

A stored object is JSON that starts with `{"kind":...,"apiVersion":...,"metadata":{` and carries no
metadata.resourceVersion. Serving it replaces that head by one with the asked-for version and the
revision, so reads never parse. Versions of one kind differ in `apiVersion` only.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec
import orjson
from msgspec import Struct

from weft.api.conversions import conversion
from weft.api.kinds import Kind
from weft.store.interface import Entry

HEADS_KEPT_MAX = 2048
"""Of kinds and versions; definitions of custom kinds come and go."""
_METADATA = b'"metadata":{'


def api_version(kind: Kind, version: str = "") -> str:
    """As written in objects; `version` "" is the stored one."""
    version = version or kind.version
    return f"{kind.group}/{version}" if kind.group else version


@lru_cache(maxsize=HEADS_KEPT_MAX)
def _head(kind: Kind, version: str) -> bytes:
    name = api_version(kind, version)
    return f'{{"kind":"{kind.kind}","apiVersion":"{name}","metadata":{{'.encode()


@lru_cache(maxsize=HEADS_KEPT_MAX)
def _list_head(kind: Kind, version: str) -> bytes:
    name = api_version(kind, version)
    return f'{{"kind":"{kind.list_kind}","apiVersion":"{name}","metadata":'.encode()


def is_in(kind: Kind, version: str, value: bytes) -> bool:
    """Whether stored bytes were written in this version."""
    return value.startswith(_head(kind, version))


def with_words_of(value: bytes, other: bytes) -> bytes:
    """`other` under the head of `value`, which says in which version the store has it."""
    return value[: value.index(_METADATA)] + other[other.index(_METADATA) :]


def to_stored(kind: Kind, obj: Mapping[str, Any]) -> bytes:
    """The bytes to store. `obj.metadata` must not be empty."""
    metadata = {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}
    rest = {k: v for k, v in obj.items() if k not in ("kind", "apiVersion", "metadata")}
    tail = orjson.dumps(rest)
    meta = orjson.dumps(metadata)
    body = b"," + tail[1:] if rest else b"}"
    return _head(kind, kind.version) + meta[1:] + body


def to_served(kind: Kind, version: str, value: bytes, revision: int) -> bytes:
    """What clients read: stored bytes with their version and resourceVersion spliced in.

    `revision` 0 leaves resourceVersion out (dry runs of a creation).
    """
    if view := conversion(kind):
        obj = view.to_view(to_object(value, revision))
        head = {"kind": kind.kind, "apiVersion": api_version(kind), "metadata": obj["metadata"]}
        return orjson.dumps(head | {k: v for k, v in obj.items() if k not in head})
    number = b'"resourceVersion":"%d",' % revision if revision else b""
    start = value.index(_METADATA) + len(_METADATA)
    return _head(kind, version) + number + value[start:]


def to_object(value: bytes, revision: int = 0) -> dict[str, Any]:
    """Stored bytes as a JSON object, with resourceVersion when `revision` is given."""
    obj: dict[str, Any] = orjson.loads(value)
    if revision:
        obj["metadata"]["resourceVersion"] = str(revision)
    return obj


def served_entry(kind: Kind, version: str, entry: Entry) -> bytes:
    """`to_served` of a store entry."""
    return to_served(kind, version, entry.value, entry.mod_revision)


def list_metadata(revision: int, continue_token: str = "", remaining: int = 0) -> dict[str, Any]:
    """The metadata of a list."""
    metadata: dict[str, Any] = {"resourceVersion": str(revision)}
    if continue_token:
        metadata["continue"] = continue_token
    if remaining:
        metadata["remainingItemCount"] = remaining
    return metadata


def to_list(kind: Kind, version: str, items: Iterable[bytes], metadata: Mapping[str, Any]) -> bytes:
    """A list object of served items."""
    return list_start(kind, version, metadata) + b",".join(items) + LIST_END


LIST_END = b"]}"


def list_start(kind: Kind, version: str, metadata: Mapping[str, Any]) -> bytes:
    """A list object up to its first item."""
    return _list_head(kind, version) + orjson.dumps(metadata) + b',"items":['


def event(type_: str, obj: bytes) -> bytes:
    """One line of a watch stream."""
    return b'{"type":"%s","object":%s}\n' % (type_.encode(), obj)


def bookmark(kind: Kind, version: str, revision: int, *, initial_end: bool = False) -> bytes:
    """The object of a BOOKMARK event."""
    metadata: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
    if initial_end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    name = api_version(kind, version)
    return orjson.dumps({"kind": kind.kind, "apiVersion": name, "metadata": metadata})


def loads(body: bytes) -> dict[str, Any]:
    """A served object as JSON."""
    found: dict[str, Any] = orjson.loads(body)
    return found


def dumps(obj: Mapping[str, Any]) -> bytes:
    """JSON text."""
    return orjson.dumps(obj)


def copy(obj: dict[str, Any]) -> dict[str, Any]:
    """A deep copy; a round trip through JSON text is several times faster than copy.deepcopy."""
    return loads(orjson.dumps(obj))


class _Labelled(Struct):
    labels: dict[str, str] | None = None


class _Head(Struct):
    metadata: _Labelled


def stored_version(value: bytes) -> str:
    """The version that an object's bytes were stored in."""
    head = orjson.loads(value[: value.index(_METADATA)].rstrip(b",") + b"}")
    return str(head["apiVersion"]).rpartition("/")[2]


_head_decoder = msgspec.json.Decoder(_Head)


def labels(value: bytes) -> Mapping[str, str]:
    """The labels of an object's bytes, without parsing the rest into values."""
    return _head_decoder.decode(value).metadata.labels or {}

"""Merge patches from two values: exactly what changed, nothing when nothing did."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from weft.api.merging import merge_diff
from weft.api.snapshot import meta
from weft.runtime.plan import Patch

_NOT_PATCHED = ("apiVersion", "kind", "status")


def plain(value: Any) -> Any:
    """The value as JSON types."""
    return msgspec.to_builtins(value)


def status_patch(obj: Struct, status: Struct, *, conditional: bool = False) -> tuple[Patch, ...]:
    """The patch of the status subresource that brings `obj` to `status`, if one is needed.

    `conditional` patches fail when the object changed meanwhile: where others write too."""
    before: Any = obj.status  # type: ignore[attr-defined]
    changes = {} if before == status else merge_diff(plain(before), plain(status))
    if not changes:
        return ()
    body: dict[str, Any] = {"status": changes}
    if conditional:
        body["metadata"] = {"resourceVersion": meta(obj).resource_version}
    return (_patch(obj, body, "status"),)


def object_patch(old: Struct, new: Struct, *, conditional: bool = False) -> tuple[Patch, ...]:
    """The patch of all but the status that turns `old` into `new`, if one is needed.

    `conditional` patches fail when the object changed meanwhile: needed where a list is replaced.
    """
    changes = {} if old == new else merge_diff(_body(old), _body(new))
    if not changes:
        return ()
    if conditional:
        changes.setdefault("metadata", {})["resourceVersion"] = meta(old).resource_version
    return (_patch(old, changes),)


def _body(obj: Struct) -> dict[str, Any]:
    """Metadata is always there, so that a patch never replaces it as a whole."""
    found = {k: v for k, v in plain(obj).items() if k not in _NOT_PATCHED}
    return {"metadata": {}} | found


def _patch(obj: Struct, body: Mapping[str, Any], subresource: str = "") -> Patch:
    found = meta(obj)
    return Patch(type(obj), found.namespace, found.name, body, subresource)

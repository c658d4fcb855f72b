"""Requests about kinds that show another kind's objects (`weft.api.conversions`): what is asked
for, in the words of the store, and the answer back in the words of the view. Pure."""

from collections.abc import Mapping
from typing import Any

from msgspec import structs

from weft.api import registry
from weft.api.conversions import Conversion, conversion
from weft.apiserver import codec, rules, verbs
from weft.apiserver.request import FieldValidation, Target


def _of(target: Target) -> Conversion:
    found = conversion(target.kind)
    assert found is not None
    return found


def stored_target(target: Target) -> Target:
    """The same object where it is stored."""
    kind = registry.stored(target.kind)
    return structs.replace(target, kind=kind, version=kind.version)


def to_stored(
    target: Target, body: Any, validation: FieldValidation
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A body that a client sent, and warnings. Raises ApiError 400 as the view's own decoder."""
    obj = verbs.identify(target, body)
    obj, warnings = rules.decode(target.kind, target.version, obj, validation)
    made = _of(target).to_stored(obj)
    return made | {"apiVersion": codec.api_version(registry.stored(target.kind))}, warnings


def shown(target: Target, stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored object as the view has it."""
    head = {"kind": target.kind.kind, "apiVersion": codec.api_version(target.kind)}
    return _of(target).to_view(stored) | head


def answer(target: Target, body: bytes) -> bytes:
    """A served object as the view has it; a Status as it is."""
    if body.startswith(b'{"kind":"Status"'):
        return body
    found = shown(target, codec.loads(body))
    return codec.dumps({k: found.pop(k) for k in ("kind", "apiVersion", "metadata")} | found)

"""What expressions of MutatingAdmissionPolicies make: objects to apply and JSON patches. Pure.

Source: Kubernetes' documentation of MutatingAdmissionPolicy and cel/mutation of its API server:
`Object{...}`, for each field of it a type by its path (`Object.spec.template`), `JSONPatch{...}`
and `jsonpatch.escapeKey`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from weft.api.cel.syntax import CelError

OBJECT, JSON_PATCH = "Object", "JSONPatch"
_PATCH_FIELDS = frozenset(("op", "path", "from", "value"))
_OPERATIONS = ("add", "copy", "move", "remove", "replace", "test")


class Made(dict[str, Any]):
    """A value of one of these types; in expressions a map like any other."""

    def __init__(self, type_name: str, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.type_name = type_name


def _make(type_name: str, fields: Mapping[str, Any]) -> Made:
    """The value of `type_name{fields}`. Raises CelError."""
    if type_name == JSON_PATCH:
        return _patch(fields)
    for name, value in fields.items():
        inner = value if isinstance(value, list) else [value]
        for item in inner:
            wanted = f"{type_name}.{name}"
            if isinstance(item, Made) and item.type_name != wanted:
                raise CelError(
                    f"unexpected type of field '{name}' of {type_name}: wanted '{wanted}', "
                    f"got '{item.type_name}'"
                )
    return Made(type_name, fields)


def _patch(fields: Mapping[str, Any]) -> Made:
    for name in ("op", "path", "from"):
        if name in fields and not isinstance(fields[name], str):
            raise CelError(f"unexpected type of field '{name}' of JSONPatch: wanted 'string'")
    if fields.get("op") not in _OPERATIONS:
        raise CelError(f"unknown op of JSONPatch: {fields.get('op')!r}")
    return Made(JSON_PATCH, fields)


def _check(type_name: str, fields: frozenset[str]) -> None:
    """Raises CelError for a type that does not exist, or has no such field."""
    if type_name == JSON_PATCH:
        if unknown := sorted(fields - _PATCH_FIELDS):
            raise CelError(f"undefined field '{unknown[0]}' (JSONPatch has op, path, from, value)")
    elif type_name != OBJECT and not type_name.startswith(f"{OBJECT}."):
        raise CelError(f"undeclared reference to '{type_name}' (in container '')")


def escape_key(key: Any) -> str:
    """A key as part of a JSON pointer."""
    if not isinstance(key, str):
        raise CelError("no such overload: jsonpatch.escapeKey")
    return key.replace("~", "~0").replace("/", "~1")


class MutationTypes:
    """As weft.api.cel.program.Types."""

    functions: Mapping[str, Callable[..., Any]] = {"jsonpatch.escapeKey": escape_key}

    def check(self, type_name: str, fields: frozenset[str]) -> None:
        """As Types.check."""
        _check(type_name, fields)

    def make(self, type_name: str, fields: Mapping[str, Any]) -> Made:
        """As Types.make."""
        return _make(type_name, fields)


def plain(value: Any) -> Any:
    """JSON of a value."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value

"""What weft.api knows about kinds, in the form that verbs need it. Pure."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from weft.api import defaults, prepare
from weft.api.errors import ApiError
from weft.api.field_errors import FieldError
from weft.api.kinds import Kind
from weft.api.schema import Schema, schema_for
from weft.api.structure import structural_errors
from weft.apiserver import failures
from weft.apiserver.request import FieldValidation
from weft.apiserver.strategic import FieldRule, Rules

_PLAIN = FieldRule()


@cache
def patch_rules(kind: Kind) -> Rules:
    """How a kind's fields are merged by strategic merge patches."""

    @cache
    def rule(path: tuple[str, ...]) -> FieldRule:
        found: Schema | None = schema_for(kind)
        for step in path:
            while found is not None and found.type == "array":
                found = found.items
            found = found.child(step) if found is not None else None
        if found is None:
            return _PLAIN
        merge = "merge" in found.patch_strategies
        return FieldRule(merge, found.patch_merge_key, "replace" in found.patch_strategies)

    return rule


def check_fields(
    kind: Kind, version: str, obj: dict[str, Any], validation: FieldValidation
) -> tuple[str, ...]:
    """Check an object's structure; unknown fields are removed unless strictly refused.

    Gives the warnings. Raises ApiError 400 (unknown fields under Strict; wrong types), worded as
    Kubernetes' decoder does.
    """
    errors = structural_errors(kind, obj)
    if not errors:
        return ()
    unknown = [e for e in errors if e.kind == "Unknown"]
    wrong = [e for e in errors if e.kind == "TypeInvalid"]
    if wrong:
        raise _undecodable(kind, version, "; ".join(_told(e) for e in wrong))
    if unknown and validation == "Strict":
        told = ", ".join(_told(e) for e in unknown)
        raise _undecodable(kind, version, f"strict decoding error: {told}")
    for error in unknown:
        _remove(obj, error.at)
    return tuple(_told(e) for e in unknown) if validation == "Warn" else ()


def _told(error: FieldError) -> str:
    return f"{error.message} ({error.suggestion})" if error.suggestion else error.message


def _undecodable(kind: Kind, version: str, why: str) -> ApiError:
    return failures.bad_request(
        f'{kind.kind} in version "{version}" cannot be handled as a {kind.kind}: {why}'
    )


def _remove(obj: Any, at: tuple[str | int, ...]) -> None:
    for step in at[:-1]:
        obj = obj[step]
    obj.pop(at[-1], None)


def refuse_invalid(kind: Kind, name: str, errors: Iterable[FieldError]) -> None:
    """Raises ApiError 422 when there are errors."""
    causes: list[Mapping[str, Any]] = [
        {"reason": e.reason, "message": e.body, "field": e.path} for e in errors
    ]
    if causes:
        raise failures.invalid(kind, name, causes)


def default(kind: Kind, obj: dict[str, Any]) -> dict[str, Any]:
    """Fill in absent fields; changes and returns `obj`, which must be of a valid shape."""
    return defaults.default(kind, obj)


prepare_create = prepare.prepare_create
prepare_update = prepare.prepare_update
prepare_status_update = prepare.prepare_status_update


def validate(kind: Kind, obj: Mapping[str, Any]) -> list[FieldError]:
    """Errors of an object about to be stored."""
    return structural_errors(kind, obj)


def validate_update(kind: Kind, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[FieldError]:
    """Errors of a replacement."""
    return structural_errors(kind, new)

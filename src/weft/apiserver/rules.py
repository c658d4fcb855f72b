"""What weft.api knows about kinds, in the form that verbs need it. Pure."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from weft.api import defaults, prepare, validation
from weft.api.errors import ApiError
from weft.api.field_errors import FieldError
from weft.api.kinds import Kind
from weft.api.objects import without_nulls
from weft.api.schema import Schema, schema_for
from weft.api.validation import drop_unknown, structure_errors
from weft.apiserver import custom, failures, managed_fields
from weft.apiserver.request import FieldValidation, Target
from weft.apiserver.strategic import FieldRule, Rules
from weft.apiserver.structured_merge import MergeError

Json = dict[str, Any]
_PLAIN = FieldRule()
KINDS_KEPT_MAX = 512
FIELD_RULES_KEPT_MAX = 4096
"""Of one kind. Patches name fields as they like: keys of labels, of data."""


@lru_cache(maxsize=KINDS_KEPT_MAX)
def patch_rules(kind: Kind) -> Rules:
    """How a kind's fields are merged by strategic merge patches."""

    @lru_cache(maxsize=FIELD_RULES_KEPT_MAX)
    def rule(path: tuple[str, ...]) -> FieldRule:
        found: Schema | None = schema_for(kind) if kind.definition is None else None
        for step in path:
            while found is not None and found.type == "array":
                found = found.items
            found = found.child(step) if found is not None else None
        if found is None:
            return _PLAIN
        merge = "merge" in found.patch_strategies
        return FieldRule(merge, found.patch_merge_key, "replace" in found.patch_strategies)

    return rule


class WrongTypes(ApiError):
    """400: values of the wrong type, each with what is wrong about it."""

    def __init__(self, error: ApiError, errors: Sequence[FieldError]) -> None:
        super().__init__(error.code, error.reason, error.message, error.details)
        self.errors = tuple(errors)


def misfit(kind: Kind, body: Any, error: WrongTypes) -> ApiError:
    """422 for a patch that gives fields values of the wrong type."""
    schema = schema_for(kind) if kind.definition is None else None
    told = ", ".join(f"{_unrestored(schema, e)} ({e.path})" for e in error.errors)
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)  # any number, however large
    cause = {
        "reason": "FieldValueInvalid",
        "message": f"Invalid value: {json.dumps(text)}: {told}",
        "field": "patch",
    }
    message = f' "" is invalid: patch: {cause["message"]}'
    return ApiError(422, "Invalid", message, {"causes": [cause]})


_GO_TYPES = {"object": "map", "array": "slice", "boolean": "bool", "integer": "int64"}


def _unrestored(schema: Schema | None, error: FieldError) -> str:
    """In the words of Kubernetes' conversion, where it has some."""
    found: Schema | None = schema
    for step in error.at:
        found = found.child(step) if found is not None else None
    wanted = {"map": "map", "object": "struct", "array": "slice"}.get(found.type if found else "")
    given = _GO_TYPES.get(str(error.value), str(error.value))
    return f"cannot restore {wanted} from {given}" if wanted else _told(error.body, error)


def decode(
    kind: Kind, version: str, obj: dict[str, Any], validation: FieldValidation
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The object without nulls and unknown fields, and the warnings about those.

    Raises ApiError 400 (wrong types; unknown fields under Strict), worded as Kubernetes' decoder
    words it, with a hint where there is one.
    """
    if kind.definition is not None:
        obj, errors = custom.decoded(kind, version, obj)
    else:
        obj = without_nulls(obj)
        errors = structure_errors(kind, obj)
    wrong = [e for e in errors if e.kind == "TypeInvalid"]
    if wrong:
        text = "; ".join(_told(e.message, e) for e in wrong)
        raise WrongTypes(_undecodable(kind, version, text), wrong)
    unknown = [e for e in errors if e.kind == "Unknown"]
    if not unknown:
        return obj, ()
    told = tuple(_told(e.message, e) for e in unknown)
    if validation == "Strict":
        raise _undecodable(kind, version, f"strict decoding error: {', '.join(told)}")
    kept = obj if kind.definition is not None else drop_unknown(obj, unknown)
    return kept, told if validation == "Warn" else ()


def _told(message: str, error: FieldError) -> str:
    return f"{message} ({error.suggestion})" if error.suggestion else message


def _undecodable(kind: Kind, version: str, why: str) -> ApiError:
    return failures.bad_request(
        f'{kind.kind} in version "{version}" cannot be handled as a {kind.kind}: {why}'
    )


def refuse_invalid(kind: Kind, name: str, errors: Iterable[FieldError]) -> None:
    """Raises ApiError 422 when there are errors."""
    causes = [{"reason": e.reason, "message": _told(e.body, e), "field": e.path} for e in errors]
    if causes:
        raise failures.invalid(kind, name, causes)


def with_halves(kind: Kind, obj: dict[str, Any]) -> dict[str, Any]:
    """Kinds with a status have a spec, too; what follows may rely on it."""
    if "status" in kind.subresources:
        obj.setdefault("spec", {})
    return obj


def default(kind: Kind, version: str, obj: dict[str, Any]) -> dict[str, Any]:
    """Fill in absent fields; changes and returns `obj`, which must be of a valid shape."""
    if kind.definition is not None:
        return custom.defaulted(kind, version, obj)
    return defaults.default(kind, with_halves(kind, obj))


def settler(target: Target) -> Callable[[Json], Json]:
    """Gives an object that others changed on its way its shape and defaults again."""

    def settle(obj: Json) -> Json:
        known, _ = decode(target.kind, target.version, obj, "Ignore")
        return default(target.kind, target.version, known)

    return settle


def track(
    kind: Kind,
    old: Mapping[str, Any] | None,
    new: dict[str, Any],
    writer: managed_fields.Writer,
    *,
    begin: bool,
) -> dict[str, Any]:
    """The new state with what the write changed as its writer's own."""
    if not begin and "managedFields" not in (old or new)["metadata"]:
        return new
    schema = schema_for(kind, _version(kind, writer))
    return managed_fields.track(schema, old, new, writer, begin=begin)


def _version(kind: Kind, writer: managed_fields.Writer) -> str:
    if kind.definition is None:
        return ""
    return custom.version_of(kind, writer.api_version.rpartition("/")[2]).name


def apply(
    kind: Kind,
    old: Mapping[str, Any] | None,
    config: Mapping[str, Any],
    writer: managed_fields.Writer,
    *,
    force: bool,
) -> managed_fields.Applied:
    """Server-side apply. Raises ApiError 400 for what cannot be merged, 409 for conflicts."""
    try:
        schema = schema_for(kind, _version(kind, writer))
        return managed_fields.apply(schema, old, config, writer, force=force)
    except MergeError as error:
        where = "/".join(n for n in (config["metadata"].get("namespace"),) if n)
        name = f"{where}/{config['metadata']['name']}"
        raise failures.bad_request(
            f"failed to create typed patch object ({name}; {writer.api_version}, "
            f"Kind={kind.kind}): {error}"
        ) from error


def prepare_create(kind: Kind, version: str, obj: Json) -> Json:
    """Make a new, defaulted object ready to validate and store."""
    if kind.definition is not None:
        return custom.prepare_create(kind, version, obj)
    return prepare.prepare_create(kind, obj, obj["metadata"]["uid"])


def prepare_update(kind: Kind, version: str, new: Json, old: Mapping[str, Any]) -> Json:
    """Make a replacement ready: status and the server's metadata stay, generation follows spec."""
    if kind.definition is not None:
        return custom.prepare_update(kind, version, new, old)
    return prepare.prepare_update(kind, new, old)


def prepare_status_update(kind: Kind, new: Json, old: Mapping[str, Any]) -> Json:
    """Make an update of the status alone: everything else stays as it was."""
    if kind.definition is not None:
        return custom.prepare_status_update(new, old)
    return prepare.prepare_status_update(kind, new, old)


def validate_create(kind: Kind, version: str, obj: Json) -> list[FieldError]:
    """All errors of a new object, defaulted and prepared."""
    if kind.definition is not None:
        return custom.errors_of(kind, version, obj)
    return validation.validate_create(kind, obj)


def validate_update(
    kind: Kind, version: str, new: Json, old: Mapping[str, Any]
) -> list[FieldError]:
    """All errors of a replacement, including changes that may not be."""
    if kind.definition is not None:
        return custom.errors_of(kind, version, new, old)
    return validation.validate_update(kind, new, old)

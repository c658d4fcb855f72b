"""`x-kubernetes-validations`: CEL rules of a schema, compiled once, run on objects. Pure."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from weft.api.cel.syntax import RESERVED, STEPS_MAX, CelError
from weft.api.cel.values import OptionalOf
from weft.api.crd.jsonpath import fields
from weft.api.crd.objects import HEAD, Raw
from weft.api.crd.values import key_of, keys_of
from weft.api.field_errors import FieldError, Location, error
from weft.api.structure import json_type

if TYPE_CHECKING:
    from weft.api.cel.program import Program

VALIDATIONS = "x-kubernetes-validations"
OBJECT_STEPS_MAX = 1_000_000
"""Steps that all rules of one object may take together."""
_VARIABLES = ("self", "oldSelf")
_REASONS: Mapping[str, Any] = {
    "": "Invalid",
    "FieldValueInvalid": "Invalid",
    "FieldValueForbidden": "Forbidden",
    "FieldValueRequired": "Required",
    "FieldValueDuplicate": "Duplicate",
}
_RESERVED = RESERVED | {"true", "false", "null", "in"}


class Rule(Struct, frozen=True, eq=False):
    """One rule of one place of a schema."""

    program: "Program"
    message: str
    message_program: "Program | None"
    kind: str
    field_path: Location
    transition: bool
    """Whether it compares with the old state."""
    optional_old: bool
    """Whether it also runs where there is no old state."""


class Rules(Struct, frozen=True, eq=False):
    """The rules of a schema and of what is below it; only where there are any."""

    schema: Mapping[str, Any]
    own: tuple[Rule, ...] = ()
    fields: Mapping[str, "Rules"] = {}
    values: "Rules | None" = None
    items: "Rules | None" = None


def compile_rules(schema: Raw) -> tuple[Rules | None, list[FieldError]]:
    """The rules of a schema, and what is wrong with them (places are those in the schema)."""
    errors: list[FieldError] = []
    return _compile(schema, (), errors), errors


def _compile(schema: Raw, at: Location, errors: list[FieldError]) -> Rules | None:
    own = []
    for index, raw in enumerate(schema.get(VALIDATIONS) or ()):
        rule = _rule(raw, (*at, VALIDATIONS, index), errors)
        if rule is not None:
            own.append(rule)
    below = {
        name: found
        for name, sub in (schema.get("properties") or {}).items()
        if isinstance(sub, Mapping)
        and (found := _compile(sub, (*at, "properties", name), errors)) is not None
    }
    extra, items = schema.get("additionalProperties"), schema.get("items")
    values = each = None
    if isinstance(extra, Mapping):
        values = _compile(extra, (*at, "additionalProperties"), errors)
    if isinstance(items, Mapping):
        each = _compile(items, (*at, "items"), errors)
    if not own and not below and values is None and each is None:
        return None
    return Rules(schema, tuple(own), below, values, each)


def _rule(raw: Any, at: Location, errors: list[FieldError]) -> Rule | None:
    if not isinstance(raw, Mapping) or not str(raw.get("rule") or "").strip():
        errors.append(error((*at, "rule"), "Required", None, "rule is not specified"))
        return None
    reason = raw.get("reason") or ""
    if reason not in _REASONS:
        listed = ", ".join(f'"{name}"' for name in _REASONS if name)
        errors.append(error((*at, "reason"), "NotSupported", reason, f"supported values: {listed}"))
        return None
    program = _program(raw, "rule", at, errors)
    message = _program(raw, "messageExpression", at, errors)
    path: Location = ()
    try:
        path = fields(raw["fieldPath"]) or () if raw.get("fieldPath") else ()
    except ValueError as found:
        errors.append(error((*at, "fieldPath"), "Invalid", raw["fieldPath"], str(found)))
    if program is None:
        return None
    return Rule(
        program, raw.get("message") or "", message, _REASONS[reason], path,
        transition=bool(re.search(r"\boldSelf\b", raw["rule"])),
        optional_old=bool(raw.get("optionalOldSelf")),
    )  # fmt: skip


def _program(raw: Raw, name: str, at: Location, errors: list[FieldError]) -> "Program | None":
    if not raw.get(name):
        return None
    from weft.api.cel.program import compile_expression  # noqa: PLC0415 - only where rules are

    try:
        return compile_expression(str(raw[name]), _VARIABLES)
    except CelError as found:
        detail = f"compilation failed: ERROR: {found}"
        errors.append(error((*at, name), "Invalid", raw[name], detail))
        return None


# ------------------------------------------------------------------ running


def errors_of(rules: Rules | None, value: Any, old: Any = None) -> list[FieldError]:
    """What the rules say about an object of a valid shape; `old` is its state before an update."""
    if rules is None:
        return []
    return list(_Run().walk(rules, value, old, ()))


class _Run:
    def __init__(self) -> None:
        self._left = OBJECT_STEPS_MAX

    def walk(self, rules: Rules, value: Any, old: Any, at: Location) -> Iterator[FieldError]:
        if value is None:
            return
        unchanged = old is not None and value == old
        if rules.own:
            yield from self._own(rules, value, old, at, unchanged)
        if isinstance(value, Mapping):
            before = old if isinstance(old, Mapping) else {}
            for name, item in value.items():
                below = rules.fields.get(name)
                if below is None and name not in (rules.schema.get("properties") or {}):
                    below = rules.values
                if below is not None:
                    yield from self.walk(below, item, before.get(name), (*at, name))
        elif isinstance(value, list) and rules.items is not None:
            keys = keys_of(rules.schema)
            known = old if isinstance(old, list) and keys else []
            before = {key_of(keys, item): item for item in known}
            for index, item in enumerate(value):
                was = before.get(key_of(keys, item)) if keys else None
                yield from self.walk(rules.items, item, was, (*at, index))

    def _own(
        self, rules: Rules, value: Any, old: Any, at: Location, unchanged: bool
    ) -> Iterator[FieldError]:
        mine = to_cel(rules.schema, value)
        before = None if old is None else to_cel(rules.schema, old)
        for rule in rules.own:
            if rule.transition and old is None and not rule.optional_old:
                continue
            if unchanged and not rule.transition:
                continue
            values = {"self": mine, "oldSelf": before}
            if rule.optional_old:
                values["oldSelf"] = OptionalOf(old is not None, before)
            if found := self._one(rule, values, value, at):
                yield found

    def _one(
        self, rule: Rule, values: Mapping[str, Any], value: Any, at: Location
    ) -> FieldError | None:
        shown = value if isinstance(value, str | int | float | bool) else json_type(value)
        try:
            budget = min(STEPS_MAX, self._left)
            holds, left = rule.program.evaluate_counted(values, budget)
            self._left -= budget - left
        except CelError as found:
            detail = f"{found} evaluating rule: {rule.message or rule.program.source.strip()}"
            return error(at, "Invalid", shown, detail)
        if holds is True:
            return None
        where = (*at, *rule.field_path)
        return error(where, rule.kind, shown, self._message(rule, values))  # type: ignore[arg-type]

    def _message(self, rule: Rule, values: Mapping[str, Any]) -> str:
        if rule.message_program is not None:
            try:
                made = rule.message_program.evaluate(values)
                if isinstance(made, str) and made.strip() and "\n" not in made:
                    return made
            except CelError:
                pass
        return rule.message or f"failed rule: {rule.program.source.strip()}"


# ------------------------------------------------------------------ values for rules


def to_cel(schema: Raw, value: Any) -> Any:
    """A JSON value as CEL types it: times, durations and bytes by their format, numbers as
    doubles, names that are no CEL names escaped."""
    if isinstance(value, Mapping):
        return _map(schema, value)
    if isinstance(value, list):
        items = schema.get("items")
        return [to_cel(items, v) for v in value] if isinstance(items, Mapping) else value
    if isinstance(value, str) and "format" in schema:
        return _formatted(schema["format"], value)
    if schema.get("type") == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _map(schema: Raw, value: Raw) -> dict[str, Any]:
    known, extra = schema.get("properties") or {}, schema.get("additionalProperties")
    found = {}
    for name, item in value.items():
        if item is None:
            continue
        if name in known:
            found[escaped(name)] = to_cel(known[name], item)
        elif isinstance(extra, Mapping):
            found[name] = to_cel(extra, item)
        elif name in HEAD:
            found[name] = item
        else:
            found[escaped(name)] = item
    return found


def escaped(name: str) -> str:
    """A property's name as rules write it (`foo.bar` as `foo__dot__bar`)."""
    if name in _RESERVED:
        return f"__{name}__"
    if name.isidentifier() and "__" not in name:
        return name
    signs = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
    return re.sub(r"__|[./-]", lambda found: signs[found[0]], name)


def _formatted(form: str, value: str) -> Any:
    from weft.api.cel.times import duration, timestamp  # noqa: PLC0415 - only where rules are

    try:
        match form:
            case "date-time":
                return timestamp(value)
            case "date":
                return timestamp(f"{value}T00:00:00Z")
            case "duration":
                return duration(value)
            case "byte":
                return base64.b64decode(value, validate=True)
    except (CelError, binascii.Error):
        pass  # the schema's own check tells of it
    return value

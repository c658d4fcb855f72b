"""Label and field selectors, as text in queries and as LabelSelector values."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from weft.api.k8s.meta_v1 import LabelSelector

Operator = Literal["=", "!=", "in", "notin", "exists", "!"]


class Requirement(Struct, frozen=True):
    """One condition on a label."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, Any]) -> bool:
        """`!=` and `notin` also hold when the label is absent, as in Kubernetes."""
        if self.operator == "exists":
            return self.key in labels
        if self.operator == "!":
            return self.key not in labels
        if self.operator in ("=", "in"):
            return self.key in labels and labels[self.key] in self.values
        return self.key not in labels or labels[self.key] not in self.values


class Selector(Struct, frozen=True):
    """All requirements must hold; none at all matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, Any] | None) -> bool:
        return all(requirement.matches(labels or {}) for requirement in self.requirements)


EVERYTHING = Selector()

_KEY = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
_SET = re.compile(rf"\s*({_KEY})\s+(in|notin)\s*\(([^()]*)\)\s*")
_EQUALS = re.compile(rf"\s*({_KEY})\s*(==|!=|=)\s*([-A-Za-z0-9_.]*)\s*")
_ABSENT = re.compile(rf"\s*!\s*({_KEY})\s*")
_PRESENT = re.compile(rf"\s*({_KEY})\s*")
_COMMA_OUTSIDE = re.compile(r",(?![^()]*\))")


def parse_labels(text: str) -> Selector:
    """`a=b,c!=d,e in (x,y),f notin (z),g,!h`. Raises ValueError naming the bad part."""
    if not text.strip():
        return EVERYTHING
    return Selector(tuple(_requirement(part) for part in _COMMA_OUTSIDE.split(text)))


def _requirement(part: str) -> Requirement:
    if found := _SET.fullmatch(part):
        values = frozenset(value.strip() for value in found[3].split(","))
        return Requirement(found[1], "in" if found[2] == "in" else "notin", values)
    if found := _EQUALS.fullmatch(part):
        return Requirement(found[1], "!=" if found[2] == "!=" else "=", frozenset((found[3],)))
    if found := _ABSENT.fullmatch(part):
        return Requirement(found[1], "!")
    if found := _PRESENT.fullmatch(part):
        return Requirement(found[1], "exists")
    raise ValueError(
        f"unable to parse requirement: `{part.strip()}` is no label condition "
        "(examples: app=web, tier!=db, version in (v1,v2), !canary)"
    )


# ------------------------------------------------------------------ LabelSelector values

_OPERATORS: dict[str, Operator] = {
    "In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!",
}  # fmt: skip


def from_selector(selector: LabelSelector | Mapping[str, Any] | None) -> Selector | None:
    """The selector of a LabelSelector, as value or JSON. None matches nothing, empty everything;
    an unknown operator is read as matching nothing."""
    if selector is None:
        return None
    if isinstance(selector, LabelSelector):
        equal: Mapping[str, str] = selector.match_labels
        others = [(e.key, e.operator, e.values) for e in selector.match_expressions]
    else:
        equal = selector.get("matchLabels") or {}
        others = [
            (e.get("key") or "", e.get("operator") or "", tuple(e.get("values") or ()))
            for e in selector.get("matchExpressions") or ()
        ]
    found = [Requirement(key, "=", frozenset((value,))) for key, value in sorted(equal.items())]
    for key, operator, values in others:
        found.append(Requirement(key, _OPERATORS.get(operator, "in"), frozenset(values)))
    return Selector(tuple(found))


def matches_selector(
    selector: LabelSelector | Mapping[str, Any] | None, labels: Mapping[str, Any] | None
) -> bool:
    """Whether a LabelSelector chooses these labels; an absent one chooses nothing."""
    found = from_selector(selector)
    return found is not None and found.matches(labels)


def matches_labels(wanted: Mapping[str, str], labels: Mapping[str, Any] | None) -> bool:
    """Whether all wanted labels are there, as a Service selects; nothing wanted is no match."""
    have = labels or {}
    return bool(wanted) and all(have.get(key) == value for key, value in wanted.items())


def format_selector(selector: LabelSelector | Mapping[str, Any] | None) -> str:
    """As kubectl prints it: `app=web,tier in (a,b)`; `<none>` when empty or absent."""
    found = from_selector(selector)
    if found is None or not found.requirements:
        return "<none>"
    return ",".join(_text(requirement) for requirement in found.requirements)


def _text(need: Requirement) -> str:
    if need.operator == "exists":
        return need.key
    if need.operator == "!":
        return f"!{need.key}"
    values = ",".join(sorted(need.values))
    if need.operator in ("in", "notin"):
        return f"{need.key} {need.operator} ({values})"
    return f"{need.key}{need.operator}{values}"


# ------------------------------------------------------------------ field selectors


class FieldRequirement(Struct, frozen=True):
    path: tuple[str, ...]
    equal: bool
    value: str

    def matches(self, obj: Mapping[str, Any]) -> bool:
        return (_field_text(obj, self.path) == self.value) is self.equal


class FieldSelector(Struct, frozen=True):
    """All requirements must hold. An absent field equals the empty string."""

    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, obj: Mapping[str, Any]) -> bool:
        return all(requirement.matches(obj) for requirement in self.requirements)

    def value_of(self, *path: str) -> str | None:
        """The value that the selector demands of a field; None when it demands none."""
        for need in self.requirements:
            if need.path == path and need.equal:
                return need.value
        return None


_FIELD = re.compile(r"\s*([A-Za-z][\w.-]*)\s*(==|!=|=)\s*(.*?)\s*", re.DOTALL)


def parse_fields(text: str) -> FieldSelector:
    """`metadata.name=a,status.phase!=Running`. `\\,` and `\\=` stand for themselves in values.
    Raises ValueError naming the bad part."""
    found: list[FieldRequirement] = []
    for part in re.split(r"(?<!\\),", text):
        if not part.strip():
            continue
        match = _FIELD.fullmatch(part)
        if not match:
            raise ValueError(
                f"invalid field selector: `{part.strip()}` (example: metadata.name=web)"
            )
        value = re.sub(r"\\([,=\\])", r"\1", match[3])
        found.append(FieldRequirement(tuple(match[1].split(".")), match[2] != "!=", value))
    return FieldSelector(tuple(found))


def _field_text(obj: Mapping[str, Any], path: tuple[str, ...]) -> str:
    value: Any = obj
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)

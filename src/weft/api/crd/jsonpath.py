"""The simple JSONPaths of printer columns, scale and selectable fields. Pure.

`.spec.replicas`, `.metadata.labels['a.b/c']`, `.status.conditions[?(@.type=="Ready")].status`,
`.items[0].x`, `.items[*].x`, escaped dots (`.a\\.b`).
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from msgspec import Struct

PATHS_KEPT_MAX = 1024


class Filter(Struct, frozen=True):
    """`[?(@.field=="value")]`."""

    path: tuple[str, ...]
    equal: bool
    value: str


Part = str | int | Filter | None
"""A field, an index, a filter; None is `[*]`."""
_PART = re.compile(
    r"""\.(?P<field>(?:[^.\[\]\\]|\\.)+)
    |\[(?P<index>-?\d+)\]
    |\[(?P<all>\*)\]
    |\['(?P<single>(?:[^'\\]|\\.)*)'\]
    |\["(?P<double>(?:[^"\\]|\\.)*)"\]
    |\[\?\(\s*@(?P<path>(?:\.[\w\-/]+)+)\s*(?P<sign>==|!=)\s*
        (?P<mark>['"])(?P<value>[^'"]*)(?P=mark)\s*\)\]""",
    re.VERBOSE,
)


@lru_cache(maxsize=PATHS_KEPT_MAX)
def parse(text: str) -> tuple[Part, ...]:
    """Raises ValueError naming what cannot be read."""
    body = text.strip().removeprefix("{").removesuffix("}")
    found: list[Part] = []
    at = 0
    while at < len(body):
        match = _PART.match(body, at)
        if match is None:
            raise ValueError(f"`{body[at:]}` of the JSONPath `{text}` is not understood")
        found.append(_part(match))
        at = match.end()
    if not found:
        raise ValueError("a JSONPath starts with a dot, as in `.spec.replicas`")
    return tuple(found)


def _part(match: re.Match[str]) -> Part:
    if match["all"]:
        return None
    if match["index"]:
        return int(match["index"])
    if match["path"]:
        return Filter(tuple(match["path"][1:].split(".")), match["sign"] == "==", match["value"])
    name = next(v for v in (match["field"], match["single"], match["double"]) if v is not None)
    return re.sub(r"\\(.)", r"\1", name)


def find(text: str, obj: Any) -> list[Any]:
    """Every value at the path. Raises ValueError for a path that cannot be read."""
    values = [obj]
    for part in parse(text):
        values = [below for value in values for below in _step(value, part)]
    return values


def _step(value: Any, part: Part) -> list[Any]:
    if isinstance(part, str):
        return [value[part]] if isinstance(value, Mapping) and part in value else []
    if part is None and isinstance(value, Mapping):
        return list(value.values())
    if not isinstance(value, list):
        return []
    if part is None:
        return list(value)
    if isinstance(part, int):
        return [value[part]] if -len(value) <= part < len(value) else []
    return [item for item in value if (_text(item, part.path) == part.value) is part.equal]


def _text(item: Any, path: tuple[str, ...]) -> str:
    for step in path:
        item = item.get(step) if isinstance(item, Mapping) else None
    return str(item).lower() if isinstance(item, bool) else str(item)


def fields(text: str) -> tuple[str, ...] | None:
    """The path as plain field names; None when it has anything else."""
    parts = parse(text)
    named = tuple(part for part in parts if isinstance(part, str))
    return named if len(named) == len(parts) else None

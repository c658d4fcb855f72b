"""Seam."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from weft.api.kinds import Kind
from weft.lib.timefmt import age, parse_rfc3339


class Column(Struct, frozen=True):
    name: str
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0


def columns(kind: Kind) -> tuple[Column, ...]:
    return (Column("Name", format="name"), Column("Age"))


def cells(kind: Kind, obj: Mapping[str, Any], now: float) -> list[Any]:
    m = obj["metadata"]
    return [m["name"], age(now - parse_rfc3339(m["creationTimestamp"]))]

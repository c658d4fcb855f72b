"""JSON merge patches (RFC 7396): what turns one value into another."""

from collections.abc import Mapping
from typing import Any


def merge_diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch that turns `old` into `new`; {} when they are equal. A null in `new` cannot
    be told from an absent field, as merge patches cannot either."""
    changes: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if before == value:
            continue
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            if inner := merge_diff(before, value):
                changes[key] = inner
        else:
            changes[key] = value
    return changes

"""Numbers that users may write as a count or as a percentage."""

import re

_PERCENT = re.compile(r"^(\d+)%$")


def scaled(value: int | str | None, total: int, default: str, *, up: bool) -> int:
    """`value` as a count; a percentage is taken of `total` and rounded `up` or down.

    What is no count and no percentage reads as `default`.
    """
    if isinstance(value, int):
        return max(0, value)
    found = _PERCENT.match(value or default) or _PERCENT.match(default)
    percent = int(found[1]) if found else 0
    return -(-percent * total // 100) if up else percent * total // 100

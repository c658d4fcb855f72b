"""Paths in policies: what a callee may understand a path as, not only how it is written.

The proxy resolves dot segments and compares the rest as it stands. Callees do more: they decode
percent signs, fold slashes, strip what follows a semicolon, ignore case, each in its own way. A
condition that refuses must hold for every way of writing the path, one that lets through for none
that is in doubt.
"""

import re

from weft.mesh.model import Condition, StringMatch

_SLASH = r"(?:/|\\|%2f|%5c)"
_DOT = r"(?:\.|%2e)"
DOUBTFUL = (
    rf"(?i).*(?:(?:%2f|%5c){_DOT}{{1,2}}|{_DOT}{{2}}(?:%2f|%5c)|{_SLASH}{_DOT}{{1,2}};"
    r"|%25(?:2e|2f|5c|25)|%00).*"
)
"""Dot segments that only decoding shows, or that end in a semicolon; what is encoded twice: paths
that a callee may resolve to another one (RE2)."""
UNPLAIN = r"(?i).*(?:%(?:00|25|2[def]|3[0-9b]|4[1-9a-f]|5[0-9acf]|6[1-9a-f]|7[0-9ae])|//|\\|;).*"
"""Paths that can be written more simply: letters, digits, dots, slashes and the like in percent
signs, doubled slashes, backslashes, semicolons (RE2)."""
_TEMPLATE = re.compile(r"(\{\*\*?\})")
_OPERATORS = {"{*}": "[^/]+", "{**}": ".*"}
_PARAMETERS = r"(?:;[^/]*)?"
"""What some callees strip from the end of a segment."""


def names_path(condition: Condition) -> bool:
    """Whether a condition in CEL looks at the path of requests."""
    return condition[0] == "path" or any(
        isinstance(part, tuple) and names_path(part) for part in condition[1:]
    )


def as_written(text: StringMatch) -> StringMatch:
    """The path as it is written; every path where the text says `present`."""
    if text.kind == "present":
        return StringMatch("prefix", "/")
    if text.kind == "template":
        parts = (_OPERATORS.get(part) or re.escape(part) for part in _TEMPLATE.split(text.value))
        return StringMatch("regex", "".join(parts))
    return text


def any_writing(text: StringMatch) -> StringMatch:
    """Every path that a callee may take for one of these."""
    if text.kind == "present":
        return as_written(text)
    if text.kind == "regex":
        return StringMatch("regex", f"(?i){text.value}")
    parts = _TEMPLATE.split(text.value) if text.kind == "template" else [text.value]
    literal = "".join(_OPERATORS.get(part) or "".join(map(_character, part)) for part in parts)
    before = ".*" if text.kind == "suffix" else ""
    after = ".*" if text.kind == "prefix" else f"{_PARAMETERS}{_SLASH}*"
    return StringMatch("regex", f"(?i){before}{literal}{after}")


def _character(character: str) -> str:
    if character == "/":
        return rf"{_PARAMETERS}{_SLASH}+"
    encoded = "".join(f"%{byte:02x}" for byte in character.encode())
    return f"(?:{re.escape(character)}|{encoded})"

"""Paths in policies: what a callee may understand a path as, not only how it is written.

The proxy resolves dot segments and compares the rest as it stands. Callees do more: they decode
percent signs, fold slashes, strip what follows a semicolon, ignore case, each in its own way. A
condition that refuses must hold for every way of writing the path, one that lets through for none
that is in doubt.
"""

import re

from envoy.type.matcher.v3 import path_pb2, string_pb2

from weft.mesh.model import StringMatch
from weft.xds.matches import regex, string_matcher
from weft.xds.proto import Proto

_SLASH = r"(?:/|\\|%2f|%5c)"
_DOT = r"(?:\.|%2e)"
DOUBTFUL = (
    rf"(?i).*(?:(?:%2f|%5c){_DOT}{{1,2}}|{_DOT}{{2}}(?:%2f|%5c)|{_SLASH}{_DOT}{{1,2}};"
    r"|%25(?:2e|2f|5c|25)|%00).*"
)
"""Dot segments that only decoding shows, or that end in a semicolon; what is encoded twice."""
_TEMPLATE = re.compile(r"(\{\*\*?\})")
_OPERATORS = {"{*}": "[^/]+", "{**}": ".*"}
_PARAMETERS = r"(?:;[^/]*)?"
"""What some callees strip from the end of a segment."""


def path_matcher(text: StringMatch) -> Proto:
    """The path as it is written."""
    if text.kind == "present":
        return _path(string_pb2.StringMatcher(prefix="/"))
    if text.kind == "template":
        parts = (_OPERATORS.get(part) or re.escape(part) for part in _TEMPLATE.split(text.value))
        return _path(string_pb2.StringMatcher(safe_regex=regex("".join(parts))))
    return _path(string_matcher(text))


def doubtful_path() -> Proto:
    """Paths that a callee may resolve to another one."""
    return _path(string_pb2.StringMatcher(safe_regex=regex(DOUBTFUL)))


def any_writing(text: StringMatch) -> Proto:
    """Every path that a callee may take for one of these."""
    if text.kind == "present":
        return path_matcher(text)
    if text.kind == "regex":
        return _path(string_pb2.StringMatcher(safe_regex=regex(f"(?i){text.value}")))
    parts = _TEMPLATE.split(text.value) if text.kind == "template" else [text.value]
    literal = "".join(_OPERATORS.get(part) or "".join(map(_character, part)) for part in parts)
    before = ".*" if text.kind == "suffix" else ""
    after = ".*" if text.kind == "prefix" else f"{_PARAMETERS}{_SLASH}*"
    return _path(string_pb2.StringMatcher(safe_regex=regex(f"(?i){before}{literal}{after}")))


def _character(character: str) -> str:
    if character == "/":
        return rf"{_PARAMETERS}{_SLASH}+"
    encoded = "".join(f"%{byte:02x}" for byte in character.encode())
    return f"(?:{re.escape(character)}|{encoded})"


def _path(matcher: Proto) -> Proto:
    return path_pb2.PathMatcher(path=matcher)

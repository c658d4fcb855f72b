"""Regular expressions as the proxy reads them: RE2, in linear time whatever the expression."""

import re
from functools import lru_cache
from typing import Any

EXPRESSIONS_KEPT_MAX = 1024
"""Compiled expressions that are kept."""
_GROUP = re.compile(r"\\(\d|\\)")


@lru_cache(maxsize=EXPRESSIONS_KEPT_MAX)
def _compiled(pattern: str) -> Any:
    """None when it is none; building the model has reported that."""
    import re2  # noqa: PLC0415 - only who asks about an expression needs the library

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error:
        return None


def holds(pattern: str, text: str) -> bool:
    """Whether an expression matches the whole text."""
    compiled = _compiled(pattern)
    return compiled is not None and compiled.fullmatch(text) is not None


def substituted(pattern: str, substitution: str, text: str) -> str:
    """The text with every match replaced; `\\1` in the substitution is the first group, `\\0` the
    whole match."""
    compiled = _compiled(pattern)
    if compiled is None:
        return text
    parts: list[str] = []
    end, last = 0, -1
    for match in compiled.finditer(text):
        if match.start() == match.end() == last:
            continue  # RE2 replaces nothing right behind a match
        parts += [text[end : match.start()], _filled(substitution, match)]
        end = last = match.end()
    return "".join([*parts, text[end:]])


def _filled(substitution: str, match: Any) -> str:
    def group(found: re.Match[str]) -> str:
        return "\\" if found[1] == "\\" else match.group(int(found[1])) or ""

    return _GROUP.sub(group, substitution)

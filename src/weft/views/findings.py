"""Findings of the analysis as text, as a table, for programs, and for GitHub."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from weft.api.diagnostics import Diagnostic, Severity
from weft.views.tables import PLAIN, Style, render

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""The worst first."""
_WORDS = {"error": "error", "warning": "warning", "info": "note"}
_GITHUB = {"error": "error", "warning": "warning", "info": "notice"}
_GITHUB_ESCAPES = (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"))


class Scope(Struct, frozen=True):
    """What was looked at."""

    objects: int
    files: int = 0
    live: bool = False


def at_least(found: Iterable[Diagnostic], least: Severity) -> tuple[Diagnostic, ...]:
    """Findings that are as bad or worse."""
    wanted = SEVERITIES[: SEVERITIES.index(least) + 1]
    return tuple(each for each in found if each.severity in wanted)


def finding_lines(found: Iterable[Diagnostic], style: Style = PLAIN) -> list[str]:
    """`error[CODE] file:line Kind ns/name path: what`, and a line with the hint below it."""
    lines = []
    for each in found:
        tone = _tone(each.severity, style)
        head = f"{tone}{_WORDS[each.severity]}[{each.code}]{style.reset if tone else ''}"
        where = " ".join(part for part in (_place(each), _object(each), each.path) if part)
        lines.append(f"{head} {where}: {each.message}" if where else f"{head} {each.message}")
        if each.hint:
            lines.append(f"  {style.bold}hint:{style.reset} {each.hint}")
    return lines


def finding_table(found: Iterable[Diagnostic], style: Style = PLAIN) -> list[str]:
    """A row for each finding."""
    rows = [
        (_WORDS[d.severity], d.code, _place(d) or "-", _about(d), d.path or "-", d.message)
        for d in found
    ]
    headers = ("Severity", "Code", "File", "Object", "Field", "Message")
    return render(headers, rows, style) if rows else []


def github_lines(found: Iterable[Diagnostic]) -> list[str]:
    """Workflow commands, which GitHub shows beside the lines of a change."""
    return [_github(each) for each in found]


def document(found: Sequence[Diagnostic], scope: Scope) -> dict[str, Any]:
    """For programs."""
    count = Counter(each.severity for each in found)
    return {
        "findings": [msgspec.to_builtins(each) for each in found],
        "summary": {
            "errors": count["error"],
            "warnings": count["warning"],
            "notes": count["info"],
            **msgspec.to_builtins(scope),
        },
    }


def summary(found: Sequence[Diagnostic], scope: Scope) -> str:
    """One line: how many findings in what."""
    count = Counter(each.severity for each in found)
    parts = [_number(count[s], _WORDS[s]) for s in SEVERITIES if count[s]]
    where = _number(scope.objects, "object")
    if scope.files:
        where += f" of {_number(scope.files, 'file')}"
    if scope.live:
        where += " on top of what is stored" if scope.files else " that are stored"
    return f"{', '.join(parts) or 'nothing to report'} in {where}"


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _place(found: Diagnostic) -> str:
    return f"{found.file}:{found.line}" if found.line else found.file


def _about(found: Diagnostic) -> str:
    name = "/".join(part for part in (found.namespace, found.name) if part)
    return f"{found.kind} {name}".strip()


def _object(found: Diagnostic) -> str:
    """The object; messages of the manifest reader name it themselves."""
    return "" if found.code.startswith("WEFT01") else _about(found)


def _tone(severity: Severity, style: Style) -> str:
    return {"error": style.bad, "warning": style.busy, "info": style.dim}[severity]


def _github(found: Diagnostic) -> str:
    fields = {"file": found.file, "line": str(found.line or ""), "title": found.code}
    given = ",".join(f"{k}={_escaped(v, True)}" for k, v in fields.items() if v)
    where = " ".join(part for part in (_object(found), found.path) if part)
    text = f"{where}: {found.message}" if where else found.message
    text += f"\nhint: {found.hint}" if found.hint else ""
    return f"::{_GITHUB[found.severity]} {given}::{_escaped(text)}"


def _escaped(text: str, field: bool = False) -> str:
    more = ((":", "%3A"), (",", "%2C")) if field else ()
    for character, instead in (*_GITHUB_ESCAPES, *more):
        text = text.replace(character, instead)
    return text

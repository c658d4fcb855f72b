"""Diagnostics: what is wrong with what a user wrote, where, and how to mend it.

Every code is defined once, next to the check that reports it, and never re-used for another
meaning. Severity `error` means the object (or the named part) is not in force.
"""

from typing import Literal

from msgspec import Struct

Severity = Literal["error", "warning", "info"]


class Diagnostic(Struct, frozen=True):
    """One finding about one object."""

    code: str
    """Stable, e.g. `WEFT0101`."""
    severity: Severity
    message: str
    """One sentence: what is wrong, with the names in backticks."""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    """Field path in the object, e.g. `spec.http[0].route[1].destination`."""
    hint: str = ""
    """What to do about it; may be empty."""
    file: str = ""
    """Where the user wrote it; empty when it came over the API."""
    line: int = 0
    """Counted from 1; 0 when unknown."""
    group: str = ""
    """API group of the kind, only where the bare kind means one of another group (Gateway)."""


def render(finding: Diagnostic) -> str:
    """For people: what is wrong, a line saying where, an empty line, the hint."""
    place = f"{finding.file}:{finding.line}" if finding.line else finding.file
    where = "  ".join(part for part in (place, finding.path) if part)
    text = f"{finding.severity}[{finding.code}]: {finding.message}"
    text += f"\n  {where}" if where else ""
    return f"{text}\n\nhint: {finding.hint}\n" if finding.hint else f"{text}\n"

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

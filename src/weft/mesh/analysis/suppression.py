"""Findings that a user does not want to see: by option, or by an annotation of the object."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from msgspec import Struct

from weft.api.diagnostics import Diagnostic
from weft.mesh.analysis.annotation_catalogue import SUPPRESS, SUPPRESS_ISTIO
from weft.mesh.analysis.istio_codes import EQUIVALENT
from weft.mesh.analysis.objects import ObjectKey, diagnostic_key

ALL = "*"


class Suppression(Struct, frozen=True):
    """Codes, and the objects of which they are not reported."""

    codes: frozenset[str]
    """`*` is every code."""
    target: str = ALL
    """Pattern for `Kind namespace/name`."""

    def covers(self, found: Diagnostic) -> bool:
        """Whether the finding is not to be reported."""
        if ALL not in self.codes and found.code not in self.codes:
            return False
        slashed = f"{found.kind} {found.namespace}/{found.name}"
        dotted = f"{found.kind} {found.name}.{found.namespace}"
        return any(fnmatchcase(text, self.target) for text in (slashed, dotted))


def parse(text: str) -> Suppression:
    """`CODE`, or `CODE=Kind namespace/name` with `*` for any part. Raises ValueError.

    Istio's codes and its way to write objects (`Kind name.namespace`) are understood as well.
    """
    code, _, target = text.partition("=")
    codes = codes_of(code)
    if not codes:
        raise ValueError(f"`{code}` is no code: write for example `WEFT2403=Service default/web`")
    return Suppression(codes, " ".join(target.split()) or ALL)


def codes_of(written: str) -> frozenset[str]:
    """Weft's codes for a list of codes, separated by commas; `*` is all."""
    found: set[str] = set()
    for part in written.split(","):
        code = part.strip().upper()
        if code == ALL or (code.startswith("WEFT") and code[4:].isdigit()):
            found.add(code)
        found.update(EQUIVALENT.get(code, ()))
    return frozenset(found)


def unsuppressed(
    found: Iterable[Diagnostic],
    options: Iterable[Suppression],
    annotations: Mapping[ObjectKey, Mapping[str, str]],
) -> tuple[Diagnostic, ...]:
    """What is left, given the options and the annotations of the objects."""
    wanted = tuple(options)
    return tuple(
        each
        for each in found
        if not any(option.covers(each) for option in wanted)
        and not _annotated(each, annotations.get(diagnostic_key(each), {}))
    )


def _annotated(found: Diagnostic, annotations: Mapping[str, str]) -> bool:
    written = (annotations.get(name, "") for name in (SUPPRESS, SUPPRESS_ISTIO))
    return any(Suppression(codes_of(text)).covers(found) for text in written if text)

"""What is wrong with patches: their values, and what they do not match."""

from collections.abc import Callable, Collection, Iterable

from weft.api.diagnostics import Diagnostic
from weft.mesh import findings as f
from weft.mesh.model import EnvoyPatch


def patch_findings(
    patches: Iterable[EnvoyPatch],
    problem: Callable[[EnvoyPatch], str],
    applied: Collection[EnvoyPatch] | None = None,
) -> tuple[Diagnostic, ...]:
    """Findings about patches. `problem` says what is wrong with a value; `applied` are those that
    changed something, when that is known."""
    found = []
    for patch in patches:
        if bad := problem(patch):
            found.append(_finding(patch, f.PATCH_INVALID, kind=patch.apply_to, problem=bad))
        elif applied is not None and patch not in applied:
            found.append(_finding(patch, f.PATCH_UNUSED))
    return tuple(found)


def _finding(patch: EnvoyPatch, finding: f.Finding, **values: str) -> Diagnostic:
    kind, _, rest = patch.source.partition(" ")
    namespace, _, name = rest.partition("/")
    return Diagnostic(
        code=finding.code,
        severity=finding.severity,
        message=finding.message.format(**values),
        kind=kind,
        namespace=namespace,
        name=name,
        path=patch.path,
        hint=finding.hint,
    )

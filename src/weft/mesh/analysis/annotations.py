"""Annotations of Istio and of weft: misspelt, misplaced, outdated, or of no use."""

from collections.abc import Iterator, Mapping

from msgspec import Struct

from weft.api import registry
from weft.api.snapshot import controller_of, meta
from weft.mesh import findings as f
from weft.mesh.analysis import catalogue as c
from weft.mesh.analysis.annotation_catalogue import ANY, KNOWN
from weft.mesh.analysis.world import TEMPLATED, World, pod_template
from weft.mesh.findings import Findings
from weft.mesh.names import nearest

_OWN = ("istio.io", "weft.dev")
"""Domains whose annotations are all known."""
_SKIPPED = frozenset({"Event", "EndpointSlice", "Lease"})
"""Kinds that nobody writes by hand and of which there are many."""


def annotations(world: World, report: Findings) -> None:
    """Every annotation of these domains, on every object and pod template."""
    for kind in registry.KINDS:
        if kind.struct is None or kind.kind in _SKIPPED:
            continue
        for obj in world.list(kind.struct):
            if controller_of(obj) is not None:
                continue  # it repeats what its owner's template says
            for found, as_kind, path in _places(obj):
                for name, value in found.items():
                    if "istio.io/" in name or "weft.dev/" in name:
                        _check(obj, as_kind, f"{path}[{name}]", (name, value), report)


def _places(obj: Struct) -> Iterator[tuple[Mapping[str, str], str, str]]:
    """Annotations, what kind of object they are about, and where they stand."""
    if found := meta(obj).annotations:
        yield found, type(obj).__name__, "metadata.annotations"
    if isinstance(obj, TEMPLATED) and (found := pod_template(obj).metadata.annotations):
        yield found, "Pod", "spec.template.metadata.annotations"


def _check(obj: Struct, kind: str, path: str, given: tuple[str, str], report: Findings) -> None:
    name, value = given
    if not any(name.partition("/")[0].endswith(domain) for domain in _OWN):
        return
    known = KNOWN.get(name)
    if known is None:
        near = nearest(name, KNOWN)
        hint = f"did you mean `{near}`?" if near else "remove it: nobody reads it"
        report.add(c.ANNOTATION_UNKNOWN, obj, path, hint, name=name)
        return
    if known.kinds != ANY and kind not in known.kinds:
        on_template = "Pod" in known.kinds and isinstance(obj, TEMPLATED)
        hint = "move it to `spec.template.metadata.annotations`" if on_template else ""
        kinds = f.quoted(known.kinds)
        report.add(c.ANNOTATION_MISPLACED, obj, path, hint, name=name, kinds=kinds)
        return
    if problem := known.problem(value):
        report.add(c.ANNOTATION_INVALID, obj, path, name=name, problem=problem)
    if known.status == "deprecated":
        report.add(c.ANNOTATION_DEPRECATED, obj, path, f"remove it: {known.reason}", name=name)
    elif known.status == "idle":
        report.add(c.ANNOTATION_IDLE, obj, path, name=name, reason=known.reason)


CHECKS = (annotations,)

"""Manifests, and what is stored, as one set of objects to analyse. Files are read elsewhere."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from weft.api import registry
from weft.api.defaults import default
from weft.api.diagnostics import Diagnostic
from weft.api.field_errors import path_steps
from weft.api.gateway import v1 as gateway_api
from weft.api.istio.networking_v1 import EnvoyFilter
from weft.api.k8s.core_v1 import Namespace
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.kinds import Kind
from weft.api.manifests import Document
from weft.api.objects import decode, without_nulls
from weft.api.snapshot import ObjectSnapshot, Snapshot, meta
from weft.mesh.analysis import analyze
from weft.mesh.analysis import catalogue as c
from weft.mesh.analysis.objects import ObjectKey, diagnostic_key, object_key
from weft.mesh.build import DEFAULTS, BuildSettings
from weft.mesh.envoy_filters import read_envoy_filters
from weft.mesh.findings import Findings
from weft.mesh.patch_findings import patch_findings
from weft.views.findings import at_least, finding_lines

ALWAYS_THERE = ("default", "kube-system", "kube-public", "kube-node-lease", "istio-system")
"""Namespaces of every instance."""
ABOUT_VALUES = "WEFT23"
"""Codes about single values begin so."""
YET_TO_COME = "9999-12-31T23:59:59Z"
"""When objects were created that are not stored yet: after all others."""


class Manifests(Struct, frozen=True):
    """Objects of files, and where they stand."""

    objects: Mapping[ObjectKey, Struct] = {}
    documents: Mapping[ObjectKey, Document] = {}
    twice: tuple[Diagnostic, ...] = ()
    """Objects that stand in two places."""


def read(documents: Iterable[Document], namespace: str) -> Manifests:
    """Documents as typed objects; those without a namespace are in `namespace`. What does not fit
    its type is left out: the manifest reader reported it."""
    objects: dict[ObjectKey, Struct] = {}
    places: dict[ObjectKey, Document] = {}
    report = Findings()
    twice: list[Diagnostic] = []
    for document in documents:
        obj = _typed(document, namespace)
        if obj is None:
            continue
        key = object_key(obj)
        if key in places:
            earlier = places[key]
            report.add(c.STANDS_TWICE, obj, other=f"{earlier.file}:{earlier.line}")
            found = report.all()[-1]
            twice.append(replace(found, file=document.file, line=document.line))
        objects[key], places[key] = obj, document
    return Manifests(objects, places, tuple(twice))


def _typed(document: Document, namespace: str) -> Struct | None:
    kind = document.kind
    if kind is None or kind.struct is None or not isinstance(document.value.get("metadata"), dict):
        return None
    value = without_nulls(document.value)
    if kind.namespaced:
        value["metadata"] = {**value["metadata"], "namespace": document.namespace or namespace}
    try:
        return decode(kind.struct, default(kind, value) if document.valid else value)
    except (msgspec.ValidationError, TypeError, ValueError):
        return None


def offline() -> list[Struct]:
    """What every instance has from its first start."""
    spaces = [Namespace(metadata=ObjectMeta(name=name)) for name in ALWAYS_THERE]
    spec = gateway_api.GatewayClassSpec(controller_name=gateway_api.CONTROLLER_NAME)
    named = ObjectMeta(name=gateway_api.CLASS_NAME)
    return [*spaces, gateway_api.GatewayClass(metadata=named, spec=spec)]


def overlaid(stored: Iterable[Struct], manifests: Manifests) -> list[Struct]:
    """All objects as they will be once the files are applied."""
    known = {object_key(obj): obj for obj in stored}
    for key, obj in manifests.objects.items():
        before = known.get(key)
        own = meta(before) if before is not None else ObjectMeta(creation_timestamp=YET_TO_COME)
        metadata = replace(
            meta(obj), creation_timestamp=own.creation_timestamp, generation=own.generation
        )
        known[key] = replace(obj, metadata=metadata)
    return list(known.values())


def findings(
    objects: Sequence[Struct], manifests: Manifests, settings: BuildSettings = DEFAULTS
) -> tuple[Diagnostic, ...]:
    """What the analysis says; with file and line where an object stands in a file."""
    found = (*analyze(ObjectSnapshot(objects), settings), *_patch_values(objects))
    located = (_located(each, manifests) for each in found)
    return (*manifests.twice, *(each for each in located if each is not None))


def _patch_values(objects: Iterable[Struct]) -> tuple[Diagnostic, ...]:
    """What is wrong with the values of EnvoyFilters."""
    filters = [obj for obj in objects if isinstance(obj, EnvoyFilter)]
    if not filters:
        return ()
    from weft.xds.patch_values import problem  # noqa: PLC0415 - loads Envoy's messages

    return patch_findings(read_envoy_filters(filters, (), Findings()), problem)


def _located(found: Diagnostic, manifests: Manifests) -> Diagnostic | None:
    """With file and line; None where the manifest reader has the better words for it."""
    document = manifests.documents.get(diagnostic_key(found))
    if document is None:
        return found
    if not document.valid and found.code.startswith(ABOUT_VALUES):
        return None
    line = document.line_of(path_steps(found.path))
    return replace(found, file=document.file, line=line)


def annotations(objects: Iterable[Struct]) -> Mapping[ObjectKey, Mapping[str, str]]:
    """Annotations of those objects that have any."""
    return {object_key(obj): own for obj in objects if (own := meta(obj).annotations)}


def lines(documents: Iterable[Document], namespace: str, stored: Snapshot) -> list[str]:
    """Errors and warnings about documents on top of what is stored, for people."""
    manifests = read(documents, namespace)
    held = [obj for kind in kinds() if kind.struct for obj in stored.list(kind.struct)]
    found = [d for d in findings(overlaid(held, manifests), manifests) if d.file]
    return finding_lines(at_least(found, "warning"))


def kinds() -> tuple[Kind, ...]:
    """Kinds that the analysis reads, or that annotations may stand on."""
    skipped = ("Event", "EndpointSlice", "Lease")
    return tuple(k for k in registry.KINDS if k.struct is not None and k.kind not in skipped)

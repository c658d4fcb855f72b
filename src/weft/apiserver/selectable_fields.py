"""The fields that a field selector can name, kind by kind, as Kubernetes has them. Pure.

Source: the `AddFieldLabelConversionsFor...` functions of pkg/apis/*/v1/conversion.go and the
selectable fields of each kind's strategy in pkg/registry, Kubernetes 1.33.
"""

from collections.abc import Mapping
from typing import Any

from weft.api.kinds import Kind

Path = tuple[str, ...]

EVERYWHERE = frozenset({("metadata", "name"), ("metadata", "namespace")})
_POD = (
    "spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName spec.hostNetwork "
    "status.phase status.podIP status.podIPs status.nominatedNodeName"
)
_ABOUT = "kind namespace name uid apiVersion resourceVersion fieldPath"
_EVENT = "reason reportingComponent source type"

_OWN: Mapping[tuple[str, str], str] = {
    ("", "Pod"): _POD,
    ("", "Node"): "spec.unschedulable",
    ("", "Namespace"): "status.phase",
    ("", "Secret"): "type",
    ("", "Service"): "spec.clusterIP spec.type",
    ("", "ReplicationController"): "status.replicas",
    ("", "Event"): f"{_EVENT} " + " ".join(f"involvedObject.{f}" for f in _ABOUT.split()),
    ("events.k8s.io", "Event"): "reason reportingController type "
    + " ".join(f"regarding.{f}" for f in _ABOUT.split()),
    ("apps", "StatefulSet"): "status.successful",
    ("batch", "Job"): "status.successful",
    ("certificates.k8s.io", "CertificateSigningRequest"): "spec.signerName",
}
_SELECTABLE = {
    kind: EVERYWHERE | {tuple(path.split(".")) for path in paths.split()}
    for kind, paths in _OWN.items()
}
_ZERO: Mapping[tuple[str, Path], str] = {
    ("Pod", ("spec", "hostNetwork")): "false",
    ("Node", ("spec", "unschedulable")): "false",
    ("ReplicationController", ("status", "replicas")): "0",
    ("StatefulSet", ("status", "successful")): "0",
    ("Job", ("status", "successful")): "0",
}
_INSTEAD: Mapping[tuple[str, Path], tuple[Path, ...]] = {
    ("Event", ("source",)): (("source", "component"), ("reportingComponent",)),
    ("Job", ("status", "successful")): (("status", "succeeded"),),
}


def selectable(kind: Kind) -> frozenset[Path]:
    """Of a built-in kind, by the names that its own version has for its fields."""
    return _SELECTABLE.get((kind.group, kind.kind), EVERYWHERE)


def refusal(kind: Kind, path: Path) -> str:
    """Kubernetes' words for a field that cannot be selected by."""
    name = ".".join(path)
    if (kind.group, kind.kind) in _SELECTABLE:
        known = sorted(".".join(p) for p in selectable(kind))
        return f"field label not supported: {name} (supported: {', '.join(known)})"
    return f'"{name}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def text_of(kind: Kind, path: Path, obj: Mapping[str, Any]) -> str:
    """What a stored object has there, as selectors compare it: absent fields are their type's
    zero value."""
    for place in _INSTEAD.get((kind.kind, path), (path,)):
        value: Any = obj
        for step in place:
            value = value.get(step) if isinstance(value, Mapping) else None
        if value not in (None, ""):
            return str(value).lower() if isinstance(value, bool) else str(value)
    return _ZERO.get((kind.kind, path), "")

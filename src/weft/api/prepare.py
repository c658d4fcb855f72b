"""What the server itself sets in an object when it is created or updated.

Order of a write: decode, `default`, `prepare_*`, validate, store. Every function changes the JSON
it is given, which the caller must own, and returns it. Source: the documented behaviour of the
Kubernetes API server and of its default admission plugins.
"""

import base64
from collections.abc import Mapping
from typing import Any

from weft.api.defaults import default_status
from weft.api.kinds import Kind
from weft.api.qos import qos_class
from weft.api.wellknown import SYSTEM_PRIORITIES

Json = dict[str, Any]

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"
_OLD_JOB_LABELS = {CONTROLLER_UID: "controller-uid", JOB_NAME: "job-name"}
# Metadata that only the server sets.
_SERVER_METADATA = (
    "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation",
    "selfLink",
)  # fmt: skip
_WITHOUT_GENERATION = {"ConfigMap", "Secret", "Event", "Namespace", "Node", "ServiceAccount",
                       "Service", "Lease", "PriorityClass", "CertificateSigningRequest",
                       "Endpoints", "PersistentVolume",
                       "PersistentVolumeClaim", "StorageClass", "ControllerRevision",
                       "RuntimeClass", "HorizontalPodAutoscaler"}  # fmt: skip
# Their creators report a status at once: nodes register with one, namespaces are born Active.
_STATUS_KEPT_ON_CREATE = {"Node", "Namespace"}
# A status update of these may also change labels and annotations, as the node agent does.
_METADATA_WITH_STATUS = {"Node", "Pod", "Namespace", "Service", "Deployment"}
EVICTION_TOLERATION_SECONDS = 300


def _has_status(kind: Kind) -> bool:
    return "status" in kind.subresources


def prepare_create(kind: Kind, obj: Json, uid: str) -> Json:
    """Make a new, defaulted object ready to validate and store. `uid` is the object's own."""
    if _has_status(kind) and kind.kind not in _STATUS_KEPT_ON_CREATE:
        obj.pop("status", None)
    if kind.kind not in _WITHOUT_GENERATION:
        obj.setdefault("metadata", {})["generation"] = 1
    match kind.group, kind.kind:
        case "", "Pod":
            _new_pod(obj)
        case "batch", "Job":
            _new_job(obj, uid)
        case "", "PersistentVolume" | "PersistentVolumeClaim":
            obj["status"] = {"phase": "Pending"}
        case "", "Namespace":
            obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
        case "", "Secret":
            _fold_string_data(obj)
    return _with_both_halves(kind, obj)


def prepare_update(kind: Kind, new: Json, old: Mapping[str, Any]) -> Json:
    """Make a replacement ready: status and the server's metadata stay, generation follows spec."""
    _keep_server_metadata(new, old)
    if _has_status(kind):
        _keep(new, old, "status")
    match kind.group, kind.kind:
        case "", "Service":
            _keep_addresses(new, old)
            _drop_what_its_type_lacks(new, old)
        case "", "Secret":
            _fold_string_data(new)
        case "", "Pod":
            _keep_pod_fields(new["spec"], old.get("spec") or {})
        case "", "Namespace":
            _keep(new, old, "spec")
        case "", "Node":
            _keep_networks(new, old)
    if kind.kind not in _WITHOUT_GENERATION and _wanted_state(kind, new) != _wanted_state(
        kind, old
    ):
        new["metadata"]["generation"] = int(old["metadata"].get("generation") or 0) + 1
    return _with_both_halves(kind, new)


def prepare_status_update(kind: Kind, new: Json, old: Mapping[str, Any]) -> Json:
    """Make an update of the status alone: everything else stays as it was."""
    metadata = new.get("metadata") or {}
    for key in [key for key in new if key not in ("apiVersion", "kind", "metadata", "status")]:
        del new[key]
    new |= {key: value for key, value in old.items() if key not in ("metadata", "status")}
    if kind.kind in _METADATA_WITH_STATUS:
        _keep_server_metadata(new, old)
        if kind.kind == "Deployment":  # its controller notes the revision
            _keep(new["metadata"], old["metadata"], "labels")
    else:
        new["metadata"] = {**old["metadata"]}
        if metadata.get("resourceVersion"):
            new["metadata"]["resourceVersion"] = metadata["resourceVersion"]
    default_status(new)
    return _with_both_halves(kind, new)


def _with_both_halves(kind: Kind, obj: Json) -> Json:
    """Clients expect built-in kinds to have `spec` and `status`, even when empty."""
    if _has_status(kind):
        obj.setdefault("spec", {})
        if kind.group not in ("networking.istio.io", "policy.weft.dev"):
            obj.setdefault("status", {})
    return obj


def _keep(new: Json, old: Mapping[str, Any], key: str) -> None:
    if old.get(key) is None:
        new.pop(key, None)
    else:
        new[key] = old[key]


def _keep_networks(new: Json, old: Mapping[str, Any]) -> None:
    """A replacement that names no network for a node's pods keeps those that were given to it."""
    spec, before = new.setdefault("spec", {}), old.get("spec") or {}
    names = ("podCIDR", "podCIDRs")
    if not any(spec.get(name) for name in names):
        for name in names:
            _keep(spec, before, name)


def _keep_server_metadata(new: Json, old: Mapping[str, Any]) -> None:
    metadata = new.setdefault("metadata", {})
    for key in _SERVER_METADATA:
        _keep(metadata, old["metadata"], key)


def _wanted_state(kind: Kind, obj: Mapping[str, Any]) -> Any:
    """What a generation counts changes of; a Deployment's annotations belong to it."""
    state = {k: v for k, v in obj.items() if k not in ("apiVersion", "kind", "metadata", "status")}
    if kind.kind == "Deployment":
        state["annotations"] = obj["metadata"].get("annotations") or {}
    return state


# ------------------------------------------------------------------ kinds


def _new_pod(obj: Json) -> None:
    spec = obj["spec"]
    account = spec.get("serviceAccountName") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = account
    if spec.get("priority") is None:
        spec["priority"] = SYSTEM_PRIORITIES.get(spec.get("priorityClassName") or "", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    _tolerate_node_loss(spec)
    obj["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}


def _tolerate_node_loss(spec: Json) -> None:
    tolerations = list(spec.get("tolerations") or ())
    for taint in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        covered = any(
            t.get("key") in (taint, None, "") and t.get("effect") in ("NoExecute", None, "")
            for t in tolerations
        )
        if not covered:
            tolerations.append(
                {
                    "key": taint,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": EVICTION_TOLERATION_SECONDS,
                }
            )
    spec["tolerations"] = tolerations


def _keep_pod_fields(new: Json, old: Mapping[str, Any]) -> None:
    """What a pod got when it was made, for clients that send the manifest again."""
    for key in ("nodeName", "serviceAccountName", "serviceAccount", "priority",
                "preemptionPolicy", "tolerations", "enableServiceLinks"):  # fmt: skip
        if not new.get(key) and old.get(key) is not None:
            new[key] = old[key]


def _new_job(obj: Json, uid: str) -> None:
    spec = obj["spec"]
    if spec.get("manualSelector"):
        return
    name = obj["metadata"].get("name") or ""
    template_meta = spec.setdefault("template", {}).setdefault("metadata", {})
    labels = template_meta.setdefault("labels", {})
    for label, value in ((CONTROLLER_UID, uid), (JOB_NAME, name)):
        labels.setdefault(_OLD_JOB_LABELS[label], value)
        labels.setdefault(label, value)
    if not spec.get("selector"):
        spec["selector"] = {"matchLabels": {CONTROLLER_UID: uid}}


def _fold_string_data(obj: Json) -> None:
    """`stringData` is for writing only: its values become base64 in `data`."""
    plain = obj.pop("stringData", None) or {}
    if plain:
        encoded = {k: base64.b64encode(str(v).encode()).decode() for k, v in plain.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}


_EXTERNAL_ONLY = (
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "allocateLoadBalancerNodePorts",
    "loadBalancerClass",
)
_EXTERNAL_TYPES = ("NodePort", "LoadBalancer")


def _drop_what_its_type_lacks(new: Json, old: Mapping[str, Any]) -> None:
    """A Service that is no longer external loses what the server had filled in for that; what
    the user sets anew is left for validation to refuse (registry/core/service, 1.33)."""
    spec, before = new["spec"], old.get("spec") or {}
    if spec.get("type") in _EXTERNAL_TYPES or before.get("type") not in _EXTERNAL_TYPES:
        return
    for name in _EXTERNAL_ONLY:
        if spec.get(name) == before.get(name):
            spec.pop(name, None)


def _keep_addresses(new: Json, old: Mapping[str, Any]) -> None:
    """Allocated addresses and node ports stay when the update does not name them."""
    spec, before = new["spec"], old.get("spec") or {}
    if spec.get("type") == "ExternalName" or before.get("type") == "ExternalName":
        return
    if not spec.get("clusterIP") and not spec.get("clusterIPs"):
        for key in ("clusterIP", "clusterIPs"):
            if before.get(key):
                spec[key] = before[key]
    elif spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    if spec.get("type") not in ("NodePort", "LoadBalancer"):
        return
    if before.get("healthCheckNodePort") and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = before["healthCheckNodePort"]
    known = {
        (p.get("protocol"), p.get("port")): p.get("nodePort") for p in before.get("ports") or ()
    }
    for port in spec.get("ports") or ():
        allocated = known.get((port.get("protocol"), port.get("port")))
        if not port.get("nodePort") and allocated:
            port["nodePort"] = allocated

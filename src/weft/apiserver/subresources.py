"""Subresources that are objects of their own: scale, binding. Pure."""

from collections.abc import Mapping
from typing import Any

from weft.api.kinds import Kind
from weft.api.selectors import format_selector
from weft.api.validate import resizes
from weft.apiserver import custom, failures, rules
from weft.lib.timefmt import rfc3339

SCALE_VERSION = "autoscaling/v1"


def scale_of(kind: Kind, version: str, obj: Mapping[str, Any]) -> dict[str, Any]:
    """The autoscaling/v1 Scale of a workload, or of a custom object by its definition's paths."""
    metadata = obj["metadata"]
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    paths = custom.scale_paths(kind, version)
    if paths is not None:
        wanted = custom.value_at(obj, paths.replicas) or 0
        status = {"replicas": custom.value_at(obj, paths.status_replicas) or 0}
        if paths.selector:
            status["selector"] = custom.value_at(obj, paths.selector) or ""
    else:
        spec, found = obj.get("spec") or {}, obj.get("status") or {}
        wanted = spec.get("replicas", 1)
        selector = spec.get("selector")
        if kind.kind == "ReplicationController":  # a map of labels, in this kind alone
            selector = {"matchLabels": selector or {}}
        text = _selector_text(selector)
        status = {"replicas": found.get("replicas", 0), "selector": text}
        if kind.kind == "Rollout":  # its template may be another object's, and so its selector
            counted = found.get("HPAReplicas", 0)
            status = {"replicas": counted, "selector": found.get("selector") or text}
    return {
        "kind": "Scale",
        "apiVersion": SCALE_VERSION,
        "metadata": {n: metadata[n] for n in names if n in metadata},
        "spec": {"replicas": wanted},
        "status": status,
    }


def _selector_text(selector: Mapping[str, Any] | None) -> str:
    text = format_selector(selector)
    return "" if text == "<none>" else text


def with_scale(kind: Kind, version: str, obj: dict[str, Any], scale: Any) -> dict[str, Any]:
    """The workload after its Scale was replaced. Raises ApiError 400, 422."""
    if not isinstance(scale, Mapping) or (scale.get("kind") or "Scale") != "Scale":
        raise failures.bad_request("expected a Scale of autoscaling/v1")
    metadata = obj["metadata"]
    asked = scale.get("metadata") or {}
    spec = scale.get("spec") or {}
    replicas = spec.get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        cause = {
            "reason": "FieldValueInvalid",
            "message": f"Invalid value: {replicas}: must be greater than or equal to 0",
            "field": "spec.replicas",
        }
        raise failures.invalid(
            Kind("autoscaling", "v1", "Scale", "scales"), metadata["name"], [cause]
        )
    kept = {k: asked[k] for k in ("uid", "resourceVersion") if asked.get(k)}
    paths = custom.scale_paths(kind, version)
    path = paths.replicas if paths is not None else ("spec", "replicas")
    return custom.with_value(obj, path, replicas) | {"metadata": metadata | kept}


def bound(pod: dict[str, Any], binding: Any, now: float) -> dict[str, Any]:
    """The pod after its Binding. Raises ApiError 400, 409."""
    if not isinstance(binding, Mapping):
        raise failures.bad_request("expected a Binding of v1")
    target, asked = binding.get("target") or {}, binding.get("metadata") or {}
    if not (isinstance(target, Mapping) and isinstance(asked, Mapping)):
        raise failures.bad_request("Binding: metadata and target must be objects")
    node = target.get("name") or ""
    name = pod["metadata"]["name"]
    if not node or (target.get("kind") or "Node") != "Node":
        raise failures.bad_request("target: the Binding must name a Node")
    if (asked.get("uid") or pod["metadata"]["uid"]) != pod["metadata"]["uid"]:
        raise failures.conflict(
            _BINDING, name, f"Precondition failed: UID in precondition: {asked['uid']}, "
            f"UID in object meta: {pod['metadata']['uid']}",
        )  # fmt: skip
    spec = dict(pod.get("spec") or {})
    if pod["metadata"].get("deletionTimestamp"):
        why = f"pod {name} is being deleted, cannot be assigned to a host"
        raise failures.conflict(_BINDING, name, why)
    if spec.get("nodeName"):
        why = f'pod {name} is already assigned to node "{spec["nodeName"]}"'
        raise failures.conflict(_BINDING, name, why)
    status = dict(pod.get("status") or {})
    others = [c for c in status.get("conditions") or [] if c.get("type") != "PodScheduled"]
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": rfc3339(now)}
    metadata = dict(pod["metadata"])
    for field in ("labels", "annotations"):
        if extra := asked.get(field):
            metadata[field] = dict(metadata.get(field) or {}) | extra
    return pod | {
        "metadata": metadata,
        "spec": spec | {"nodeName": node},
        "status": status | {"conditions": [*others, scheduled]},
    }


def with_ephemeral(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The pod with the ephemeral containers of `new`, and nothing else of it. Those that exist
    stay as they are. Raises ApiError 422."""
    before = (old.get("spec") or {}).get("ephemeralContainers") or []
    after = (new.get("spec") or {}).get("ephemeralContainers") or []
    by_name = {c.get("name"): c for c in after if isinstance(c, Mapping)}
    problems = [
        {
            "reason": "FieldValueForbidden",
            "message": f"Forbidden: existing ephemeral containers {container['name']} "
            f"may not be {'changed' if container['name'] in by_name else 'removed'}",
            "field": "spec.ephemeralContainers",
        }
        for container in before
        if by_name.get(container["name"]) != container
    ]
    if problems:
        raise failures.invalid(Kind("", "v1", "Pod", "pods"), old["metadata"]["name"], problems)
    spec = dict(old.get("spec") or {})
    return dict(old) | {"spec": spec | {"ephemeralContainers": after} if after else spec}


POD_PARTS = ("ephemeralcontainers", "resize")
"""Subresources of pods that change one part of the spec."""


def with_part(name: str, old: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The pod with the subresource's part of `wanted`, and nothing else of it. Raises ApiError
    422."""
    if name == "ephemeralcontainers":
        return with_ephemeral(old, wanted)
    pod = Kind("", "v1", "Pod", "pods")
    rules.refuse_invalid(pod, old["metadata"]["name"], resizes.validate(wanted, old))
    return resizes.resized(old, wanted)


def without_part(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The pod before as if it had had that part: of the rest nothing may change."""
    if name == "resize":
        return resizes.resized(old, new)
    return with_ephemeral(dict(old) | {"spec": dict(old["spec"], ephemeralContainers=[])}, new)


_BINDING = Kind("", "v1", "Binding", "pods/binding")


def success(kind: Kind, obj: Mapping[str, Any]) -> dict[str, Any]:
    """The Status of a deletion that is complete."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": failures.details(kind, obj["metadata"]["name"], uid=obj["metadata"]["uid"]),
    }


CREATED = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

"""The kinds that show another kind's objects in other words, and how they translate.

An Event of `events.k8s.io/v1` is an Event of `v1` with other field names; a
HorizontalPodAutoscaler of `autoscaling/v1` keeps in annotations what its version has no fields
for. Source: pkg/apis/events/v1 and pkg/apis/autoscaling/v1, conversion.go, of Kubernetes 1.33.
How the versions of Kueue's kinds differ stands in `weft.api.kueue.v1beta1`.
Every function makes a new object and leaves the given one as it is.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from weft.api.kinds import Kind
from weft.api.kueue import v1beta1 as kueue
from weft.api.kueue.common import GROUP as KUEUE

Json = dict[str, Any]


class Conversion(NamedTuple):
    """Between a view of objects and how they are stored. apiVersion and kind are the caller's."""

    to_stored: Callable[[Mapping[str, Any]], Json]
    to_view: Callable[[Mapping[str, Any]], Json]
    fields: Mapping[str, str] = {}
    """First steps of field selectors of the view: what they are called in the store."""


def conversion(kind: Kind) -> Conversion | None:
    """How a view translates; None for all other kinds."""
    return _BY_KIND.get((kind.group, kind.version, kind.kind)) if kind.view_of else None


def stored_path(kind: Kind, path: tuple[str, ...]) -> tuple[str, ...]:
    """Where the store has a field that a selector names."""
    found = conversion(kind)
    return (found.fields.get(path[0], path[0]), *path[1:]) if found and path else path


# ------------------------------------------------------------------ Events

_EVENT_FIELDS = {
    "regarding": "involvedObject",
    "note": "message",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
    "reportingController": "reportingComponent",
}
_EVENT_VIEW = {stored: shown for shown, stored in _EVENT_FIELDS.items()}


def _event_to_stored(obj: Mapping[str, Any]) -> Json:
    return {_EVENT_FIELDS.get(key, key): value for key, value in obj.items()}


def _event_to_view(obj: Mapping[str, Any]) -> Json:
    return {_EVENT_VIEW.get(key, key): value for key, value in obj.items()}


# ------------------------------------------------------------------ HorizontalPodAutoscalers

_ALPHA = "autoscaling.alpha.kubernetes.io/"
METRICS, BEHAVIOR = f"{_ALPHA}metrics", f"{_ALPHA}behavior"
CURRENT_METRICS, CONDITIONS = f"{_ALPHA}current-metrics", f"{_ALPHA}conditions"
_CPU_PERCENT, _CURRENT_CPU_PERCENT = (
    "targetCPUUtilizationPercentage",
    ("currentCPUUtilizationPercentage"),
)


def _hpa_to_stored(obj: Mapping[str, Any]) -> Json:
    made = dict(obj)
    metadata = dict(obj.get("metadata") or {})
    annotations = dict(metadata.get("annotations") or {})
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    metrics = _kept(annotations, METRICS, list)
    percent = spec.pop(_CPU_PERCENT, None)
    if percent is not None:
        metrics = [_cpu_metric(percent), *(metrics or ())]
    if metrics:
        spec["metrics"] = metrics
    behavior = _kept(annotations, BEHAVIOR, dict)
    if behavior:
        spec["behavior"] = behavior
    current = _kept(annotations, CURRENT_METRICS, list)
    used = status.pop(_CURRENT_CPU_PERCENT, None)
    if used is not None and not any(_is_cpu(m) for m in current or ()):
        resource = {"name": "cpu", "current": {"averageUtilization": used}}
        current = [{"type": "Resource", "resource": resource}, *(current or ())]
    if current:
        status["currentMetrics"] = current
    conditions = _kept(annotations, CONDITIONS, list)
    if conditions:
        status["conditions"] = conditions
    _set(metadata, "annotations", annotations)
    return _filled(made, metadata=metadata, spec=spec, status=status)


def _hpa_to_view(obj: Mapping[str, Any]) -> Json:
    made = dict(obj)
    metadata = dict(obj.get("metadata") or {})
    annotations = dict(metadata.get("annotations") or {})
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    others = []
    for metric in spec.pop("metrics", None) or ():
        target = ((metric.get("resource") or {}).get("target") or {}).get("averageUtilization")
        if _is_cpu(metric) and target is not None and _CPU_PERCENT not in spec:
            spec[_CPU_PERCENT] = target
        else:
            others.append(metric)
    current = status.pop("currentMetrics", None)
    for metric in current or ():
        used = ((metric.get("resource") or {}).get("current") or {}).get("averageUtilization")
        if _is_cpu(metric) and used is not None:
            status.setdefault(_CURRENT_CPU_PERCENT, used)
    for key, value in (
        (METRICS, others),
        (BEHAVIOR, spec.pop("behavior", None)),
        (CURRENT_METRICS, current),
        (CONDITIONS, status.pop("conditions", None)),
    ):
        if value:
            annotations[key] = msgspec.json.encode(value).decode()
    _set(metadata, "annotations", annotations)
    return _filled(made, metadata=metadata, spec=spec, status=status)


def _cpu_metric(percent: int) -> Json:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def _is_cpu(metric: Any) -> bool:
    if not isinstance(metric, Mapping) or metric.get("type") != "Resource":
        return False
    return (metric.get("resource") or {}).get("name") == "cpu"


def _kept(annotations: Json, key: str, shape: type) -> Any:
    """What an annotation holds of the other version, taken out; None when it is not that."""
    text = annotations.get(key)
    if not isinstance(text, str):
        return None
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(found, shape):
        return None
    del annotations[key]
    return found


def _set(target: Json, key: str, value: Any) -> None:
    if value:
        target[key] = value
    else:
        target.pop(key, None)


def _filled(made: Json, **parts: Json) -> Json:
    """With the parts that hold something, or were there before."""
    for key, value in parts.items():
        if value or key in made:
            made[key] = value
    return made


_BY_KIND: dict[tuple[str, str, str], Conversion] = {
    ("events.k8s.io", "v1", "Event"): Conversion(
        _event_to_stored, _event_to_view, {"regarding": "involvedObject",
                                           "reportingController": "reportingComponent"},
    ),
    ("autoscaling", "v1", "HorizontalPodAutoscaler"): Conversion(_hpa_to_stored, _hpa_to_view),
    (KUEUE, "v1beta1", "ClusterQueue"): Conversion(
        kueue.cluster_queue_to_stored, kueue.cluster_queue_to_view,
    ),
    (KUEUE, "v1beta1", "LocalQueue"): Conversion(
        kueue.local_queue_to_stored, kueue.local_queue_to_view,
    ),
    (KUEUE, "v1beta1", "Workload"): Conversion(kueue.workload_to_stored, kueue.workload_to_view),
}  # fmt: skip

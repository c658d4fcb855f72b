"""Table columns of StatefulSets, DaemonSets, CronJobs, autoscalers and their kin.

Source: pkg/printers/internalversion/printers.go of Kubernetes 1.33.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from weft.api.column_parts import (
    NONE,
    UNKNOWN,
    UNSET,
    age_of,
    containers_in,
    containers_of,
    labels_text,
    name_of,
    since,
    spec_of,
    status_of,
)
from weft.api.selectors import format_selector

Json = Mapping[str, Any]
Cells = list[Any]

METRICS_SHOWN_MAX = 2


def _stateful_set(obj: Json, now: float) -> Cells:
    ready, wanted = status_of(obj).get("readyReplicas") or 0, spec_of(obj).get("replicas") or 0
    return [name_of(obj), f"{ready}/{wanted}", age_of(obj, now), *containers_of(obj)]


def _daemon_set(obj: Json, now: float) -> Cells:
    spec, status = spec_of(obj), status_of(obj)
    pod = (spec.get("template") or {}).get("spec") or {}
    return [
        name_of(obj),
        status.get("desiredNumberScheduled") or 0,
        status.get("currentNumberScheduled") or 0,
        status.get("numberReady") or 0,
        status.get("updatedNumberScheduled") or 0,
        status.get("numberAvailable") or 0,
        labels_text(pod.get("nodeSelector")),
        age_of(obj, now),
        *containers_of(obj),
        format_selector(spec.get("selector")),
    ]


def _controller_revision(obj: Json, now: float) -> Cells:
    owners = (obj.get("metadata") or {}).get("ownerReferences") or ()
    owner = next((o for o in owners if o.get("controller")), None)
    controller = NONE
    if owner:
        group = str(owner.get("apiVersion") or "").rpartition("/")[0]
        kind = str(owner.get("kind") or "").lower() + (f".{group}" if group else "")
        controller = f"{kind}/{owner.get('name')}"
    return [name_of(obj), controller, obj.get("revision") or 0, age_of(obj, now)]


def _cron_job(obj: Json, now: float) -> Cells:
    spec, status = spec_of(obj), status_of(obj)
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    pod = (job.get("template") or {}).get("spec") or {}
    suspended = spec.get("suspend")
    last = status.get("lastScheduleTime")
    return [
        name_of(obj),
        spec.get("schedule") or "",
        spec.get("timeZone") or NONE,
        UNSET if suspended is None else str(bool(suspended)),
        len(status.get("active") or ()),
        since(last, now) if last else NONE,
        age_of(obj, now),
        *containers_in(pod),
        format_selector(job.get("selector")),
    ]


def _replication_controller(obj: Json, now: float) -> Cells:
    spec, status = spec_of(obj), status_of(obj)
    return [
        name_of(obj),
        spec.get("replicas") or 0,
        status.get("replicas") or 0,
        status.get("readyReplicas") or 0,
        age_of(obj, now),
        *containers_of(obj),
        labels_text(spec.get("selector")),
    ]


def _pod_template(obj: Json, now: float) -> Cells:
    template = obj.get("template") or {}
    labels = labels_text((template.get("metadata") or {}).get("labels"))
    return [name_of(obj), *containers_in(template.get("spec") or {}), labels]


def _autoscaler(obj: Json, now: float) -> Cells:
    spec, status = spec_of(obj), status_of(obj)
    target = spec.get("scaleTargetRef") or {}
    low = spec.get("minReplicas")
    return [
        name_of(obj),
        f"{target.get('kind')}/{target.get('name')}",
        metrics_text(spec.get("metrics") or (), status.get("currentMetrics") or ()),
        UNSET if low is None else str(low),
        spec.get("maxReplicas") or 0,
        status.get("currentReplicas") or 0,
        age_of(obj, now),
    ]


def metrics_text(wanted: Any, current: Any) -> str:
    """`cpu: 30%/80%, 200m/500m (avg)`: what is, by what is wanted."""
    shown = [
        _metric(metric, current[index] if index < len(current) else {})
        for index, metric in enumerate(wanted)
    ]
    more = len(shown) - METRICS_SHOWN_MAX
    text = ", ".join(shown[:METRICS_SHOWN_MAX])
    return f"{text} + {more} more..." if more > 0 else text or NONE


_KEYS = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}


def _metric(metric: Json, status: Json) -> str:
    kind = str(metric.get("type") or "")
    key = _KEYS.get(kind)
    if key is None:
        return "<unknown type>"
    source, now = metric.get(key) or {}, (status.get(key) or {}).get("current") or {}
    target = source.get("target") or {}
    label = f"{source.get('name')}: " if kind in ("Resource", "ContainerResource") else ""
    if target.get("averageUtilization") is not None:
        used = now.get("averageUtilization")
        have = UNKNOWN if used is None else f"{used}%"
        return f"{label}{have}/{target['averageUtilization']}%"
    if target.get("averageValue") is not None:
        averaged = " (avg)" if kind in ("Object", "External") else ""
        return f"{label}{now.get('averageValue') or UNKNOWN}/{target['averageValue']}{averaged}"
    return f"{label}{now.get('value') or UNKNOWN}/{target.get('value')}"


def _disruption_budget(obj: Json, now: float) -> Cells:
    spec, status = spec_of(obj), status_of(obj)
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    return [
        name_of(obj),
        "N/A" if least is None else str(least),
        "N/A" if most is None else str(most),
        status.get("disruptionsAllowed") or 0,
        age_of(obj, now),
    ]


def _api_service(obj: Json, now: float) -> Cells:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    available = next((c["status"] for c in conditions if c["type"] == "Available"), "Unknown")
    return [name_of(obj), "Local", available, age_of(obj, now)]


def _pod_metrics(obj: Json, now: float) -> Cells:
    rows = [each.get("usage") or {} for each in obj.get("containers") or ()]
    return [name_of(obj), *_used(rows), obj.get("window") or ""]


def _node_metrics(obj: Json, now: float) -> Cells:
    return [name_of(obj), *_used([obj.get("usage") or {}]), obj.get("window") or ""]


def _used(rows: Sequence[Json]) -> tuple[str, str]:
    """Nanocores and kibibytes, added up."""
    cpu = sum(int(str(row.get("cpu") or "0").removesuffix("n")) for row in rows)
    memory = sum(int(str(row.get("memory") or "0").removesuffix("Ki")) for row in rows)
    return f"{cpu}n", f"{memory}Ki"


TABLES: dict[tuple[str, str], tuple[str, Callable[[Json, float], Cells]]] = {
    ("apps", "StatefulSet"): ("Name Ready Age +Containers +Images", _stateful_set),
    ("apps", "DaemonSet"): (
        "Name Desired# Current# Ready# Up-to-date# Available# Node_Selector Age +Containers "
        "+Images +Selector",
        _daemon_set,
    ),
    ("apps", "ControllerRevision"): ("Name Controller Revision# Age", _controller_revision),
    ("batch", "CronJob"): (
        "Name Schedule Timezone Suspend Active# Last_Schedule Age +Containers +Images +Selector",
        _cron_job,
    ),
    ("", "ReplicationController"): (
        "Name Desired# Current# Ready# Age +Containers +Images +Selector",
        _replication_controller,
    ),
    ("", "PodTemplate"): ("Name Containers Images Pod_Labels", _pod_template),
    ("autoscaling", "HorizontalPodAutoscaler"): (
        "Name Reference Targets MinPods MaxPods# Replicas# Age",
        _autoscaler,
    ),
    ("apiregistration.k8s.io", "APIService"): ("Name Service Available Age", _api_service),
    ("metrics.k8s.io", "PodMetrics"): ("Name Cpu Memory Window", _pod_metrics),
    ("metrics.k8s.io", "NodeMetrics"): ("Name Cpu Memory Window", _node_metrics),
    ("policy", "PodDisruptionBudget"): (
        "Name Min_Available Max_Unavailable Allowed_Disruptions# Age",
        _disruption_budget,
    ),
}
"""By group and kind: the columns, as weft.api.columns reads them, and the cells."""

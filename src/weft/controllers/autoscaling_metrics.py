"""Each metric of an autoscaler: what it reads, what it asks for, how its status shows it.

Source of the rules: Kubernetes' HPA controller and replica calculator (groupPods).
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from weft.api.k8s.autoscaling_v2 import (
    ContainerResourceMetricStatus,
    ExternalMetricStatus,
    MetricIdentifier,
    MetricSpec,
    MetricStatus,
    MetricTarget,
    MetricValueStatus,
    ObjectMetricStatus,
    PodsMetricStatus,
    ResourceMetricStatus,
)
from weft.api.k8s.pod_v1 import Pod
from weft.controllers import autoscaling_replicas as calculator
from weft.controllers.autoscaling_replicas import Answer, Pods, Tolerance
from weft.controllers.support import podstate
from weft.controllers.support.podstate import seconds
from weft.lib.quantity import parse_quantity
from weft.telemetry.readings import CPU, Load, Readings

CPU_INITIALIZATION_SECONDS = 300.0
"""How long after its start a pod's CPU counts only once it was measured while ready."""
READINESS_DELAY_SECONDS = 30.0
"""A pod whose last change to not ready came this soon after its start has never been ready."""


class Target(Struct, frozen=True):
    """What is scaled, as metrics see it."""

    namespace: str
    workload: str
    current: int
    """spec.replicas of its scale."""
    pods: Sequence[Pod]


class Result(Struct, frozen=True):
    """What one metric says. `replicas` None: it could not be read, and `error` says why."""

    name: str
    replicas: int | None = None
    status: MetricStatus | None = None
    reason: str = ""
    error: str = ""


def evaluate(
    spec: MetricSpec, target: Target, readings: Readings, tolerance: Tolerance, now: float
) -> Result:
    """One metric."""
    kinds: dict[str, Callable[[MetricSpec, Target, Readings, Tolerance, float], Result]] = {
        "Resource": _resource,
        "ContainerResource": _resource,
        "Pods": _pods,
        "Object": _object,
        "External": _external,
    }
    kind = kinds.get(spec.type)
    if kind is None:
        return Result(
            spec.type, reason="InvalidMetricSourceType", error=f"unknown type {spec.type}"
        )
    return kind(spec, target, readings, tolerance, now)


# --- resources


def _resource(
    spec: MetricSpec, target: Target, readings: Readings, tolerance: Tolerance, now: float
) -> Result:
    container, name, goal = "", "", None
    if spec.container_resource is not None:
        container, name = spec.container_resource.container, spec.container_resource.name
        goal = spec.container_resource.target
    elif spec.resource is not None:
        name, goal = spec.resource.name, spec.resource.target
    goal = goal or MetricTarget()
    what = f"{name} resource utilization (percentage of request)"
    reason = "FailedGetContainerResourceMetric" if container else "FailedGetResourceMetric"
    pods = _grouped(target, readings, name, container, now)
    if not pods.usage:
        error = f"failed to get {name} utilization: unable to get metrics for resource {name}: "
        error += "no metrics returned from resource metrics API"
        return Result(what, reason=reason, error=error)
    if goal.average_utilization:
        requests = _requests(target, name, container)
        missing = sorted(n for n in (*pods.usage, *pods.missing) if not requests.get(n))
        if missing:
            error = f"failed to get {name} utilization: missing request for {name} in container "
            error += f"{container or 'of'} Pod {missing[0]}"
            return Result(what, reason=reason, error=error)
        answer = calculator.by_utilization(
            target.current, goal.average_utilization, pods, requests, tolerance
        )
    else:
        what = f"{name} resource"
        answer = calculator.by_average(target.current, number(goal.average_value), pods, tolerance)
    if answer is None:
        return Result(what, reason=reason, error=f"the target of {name} cannot be read")
    value = MetricValueStatus(
        average_value=quantity(answer.average, name), average_utilization=answer.utilization
    )
    if container:
        shown = ContainerResourceMetricStatus(container=container, name=name, current=value)
        status = MetricStatus(type="ContainerResource", container_resource=shown)
    else:
        plain = ResourceMetricStatus(name=name, current=value)
        status = MetricStatus(type="Resource", resource=plain)
    return Result(what, answer.replicas, status)


def _grouped(target: Target, readings: Readings, resource: str, container: str, now: float) -> Pods:
    usage: dict[str, float] = {}
    unready: set[str] = set()
    missing: set[str] = set()
    for pod in target.pods:
        if podstate.is_terminating(pod) or podstate.is_finished(pod):
            continue
        name = pod.metadata.name
        read = readings.pods.get(pod.metadata.uid)
        value = read.total(resource, container) if read is not None else None
        if pod.status.phase == "Pending":
            unready.add(name)
        elif read is None or value is None:
            missing.add(name)
        elif resource == CPU and _starts_up(pod, read.at, readings.interval_seconds, now):
            unready.add(name)
        else:
            usage[name] = value
    return Pods(usage, frozenset(unready), frozenset(missing))


def _starts_up(pod: Pod, measured: float, interval: float, now: float) -> bool:
    """Whether the CPU of a pod says nothing about its work yet: it starts, or was not ready for
    the whole of the interval."""
    start, since = seconds(pod.status.start_time), podstate.ready_since(pod)
    if not start or not since:
        return True
    ready = podstate.is_ready(pod)
    if start + CPU_INITIALIZATION_SECONDS > now:
        return not ready or measured < since + interval
    return not ready and start + READINESS_DELAY_SECONDS > since


def _requests(target: Target, resource: str, container: str) -> Mapping[str, float]:
    """By pod name; 0 where a container has none."""
    found: dict[str, float] = {}
    for pod in target.pods:
        parts = [
            number((c.resources.requests if c.resources else {}).get(resource))
            or number((c.resources.limits if c.resources else {}).get(resource))
            for c in pod.spec.containers
            if container in ("", c.name)
        ]
        found[pod.metadata.name] = sum(parts) if all(parts) else 0.0
    return found


# --- the mesh


def _load(readings: Readings, namespace: str, workload: str) -> Load:
    """A workload that nobody called has a load, of nothing."""
    return readings.loads.get((namespace, workload)) or Load()


def _pods(
    spec: MetricSpec, target: Target, readings: Readings, tolerance: Tolerance, now: float
) -> Result:
    metric = (spec.pods.metric if spec.pods else None) or MetricIdentifier()
    goal = (spec.pods.target if spec.pods else None) or MetricTarget()
    what = f"pods metric {metric.name}"
    load = _load(readings, target.namespace, target.workload)
    value = load.value(metric.name)
    if value is None:
        return _unknown(what, metric.name, "FailedGetPodsMetric")
    answer = calculator.by_total(target.current, number(goal.average_value), value, tolerance)
    if answer is None:
        return Result(what, reason="FailedGetPodsMetric", error="the target cannot be read")
    current = MetricValueStatus(average_value=quantity(answer.average))
    shown = PodsMetricStatus(metric=metric, current=current)
    return Result(what, answer.replicas, MetricStatus(type="Pods", pods=shown))


def _object(
    spec: MetricSpec, target: Target, readings: Readings, tolerance: Tolerance, now: float
) -> Result:
    source = spec.object
    metric = (source.metric if source else None) or MetricIdentifier()
    goal = (source.target if source else None) or MetricTarget()
    described = source.described_object if source else None
    what = f"{described.kind if described else ''} metric {metric.name}"
    workload = described.name if described else target.workload
    load = _load(readings, target.namespace, workload)
    value = load.value(metric.name)
    if value is None:
        return _unknown(what, metric.name, "FailedGetObjectMetric")
    answer = _of_value(target, goal, value, tolerance)
    if answer is None:
        return Result(what, reason="FailedGetObjectMetric", error="the target cannot be read")
    shown = ObjectMetricStatus(
        metric=metric, described_object=described, current=_current(goal, value, answer)
    )
    return Result(what, answer.replicas, MetricStatus(type="Object", object=shown))


def _external(
    spec: MetricSpec, target: Target, readings: Readings, tolerance: Tolerance, now: float
) -> Result:
    """The mesh's numbers of another workload, chosen by the label `workload`."""
    source = spec.external
    metric = (source.metric if source else None) or MetricIdentifier()
    goal = (source.target if source else None) or MetricTarget()
    what = f"external metric {metric.name}"
    labels = metric.selector.match_labels if metric.selector else {}
    workload = labels.get("workload", target.workload)
    load = _load(readings, labels.get("namespace", target.namespace), workload)
    value = load.value(metric.name)
    if value is None:
        return _unknown(what, metric.name, "FailedGetExternalMetric")
    answer = _of_value(target, goal, value, tolerance)
    if answer is None:
        return Result(what, reason="FailedGetExternalMetric", error="the target cannot be read")
    shown = ExternalMetricStatus(metric=metric, current=_current(goal, value, answer))
    return Result(what, answer.replicas, MetricStatus(type="External", external=shown))


def _of_value(
    target: Target, goal: MetricTarget, value: float, tolerance: Tolerance
) -> Answer | None:
    if goal.average_value is not None:
        return calculator.by_total(target.current, number(goal.average_value), value, tolerance)
    ready = sum(podstate.is_ready(p) for p in target.pods)
    return calculator.by_value(target.current, ready, number(goal.value), value, tolerance)


def _current(goal: MetricTarget, value: float, answer: Answer) -> MetricValueStatus:
    if goal.average_value is not None:
        return MetricValueStatus(average_value=quantity(answer.average))
    return MetricValueStatus(value=quantity(value))


def _unknown(what: str, metric: str, reason: str) -> Result:
    error = f"unable to get {what}: no metrics returned: weft measures cpu and memory of pods and "
    error += "of calls requests_per_second, requests_in_flight, "
    error += "request_duration_milliseconds_p50, _p90, _p95, _p99"
    return Result(what, reason=reason, error=error)


# --- quantities


def number(text: str | int | float | None) -> float:
    """A quantity as a number; 0.0 when it cannot be read."""
    try:
        return float(parse_quantity(text)) if text is not None else 0.0
    except ValueError:
        return 0.0


def quantity(value: float, resource: str = "") -> str:
    """As Kubernetes writes it: thousandths where they matter."""
    if resource == "memory" or value == int(value):
        return str(int(value))
    return f"{round(value * 1000)}m"

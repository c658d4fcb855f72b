"""What the kinds of metrics read, and how their status shows it."""

from typing import Any

import msgspec
import pytest

from tests.controllers.simulate import START, World, make, ready
from weft.api.k8s.autoscaling_v2 import MetricSpec
from weft.api.k8s.pod_v1 import Pod
from weft.controllers.autoscaling_metrics import Result, Target, evaluate, quantity
from weft.controllers.autoscaling_replicas import Tolerance
from weft.lib.timefmt import rfc3339
from weft.telemetry.readings import Load, PodUsage, Readings, Usage


def target(count: int = 2, cpu: str = "500m") -> Target:
    w = World([])
    requests = {"resources": {"requests": {"cpu": cpu, "memory": "100Mi"} if cpu else {}}}
    body = {"spec": {"containers": [{"name": "main", **requests}]}}
    for i in range(count):
        pod = w.put(make(Pod, body, name=f"p{i}", uid=f"u-{i}"))
        ready(w, pod)
        found = w.need(Pod, f"p{i}")
        w.set_status(found, msgspec.structs.replace(found.status, start_time=rfc3339(START)))
    return Target("default", "web", count, w.all(Pod))


def usage(*cores: float, at: float = START + 400) -> dict[str, PodUsage]:
    return {f"u-{i}": PodUsage(at, {"main": Usage(c, 50 << 20)}) for i, c in enumerate(cores)}


def ask(spec: Any, readings: Readings, seen: Target | None = None) -> Result:
    metric = msgspec.convert(spec, MetricSpec)
    return evaluate(metric, seen or target(), readings, Tolerance(), START + 400)


def resource(name: str = "cpu", **goal: Any) -> Any:
    return {"type": "Resource", "resource": {"name": name, "target": goal}}


def test_processor() -> None:
    found = ask(resource(averageUtilization=50), Readings(5.0, usage(0.5, 0.5)))
    assert found.replicas == 4
    assert found.name == "cpu resource utilization (percentage of request)"
    assert found.status is not None
    assert found.status.resource is not None
    current = found.status.resource.current
    assert current is not None
    assert (current.average_utilization, current.average_value) == (100, "500m")


def test_memory_by_value() -> None:
    found = ask(resource("memory", averageValue="25Mi"), Readings(5.0, usage(0.1, 0.1)))
    assert found.replicas == 4
    assert found.status is not None
    assert found.status.resource is not None
    assert found.status.resource.current is not None
    assert found.status.resource.current.average_value == str(50 << 20)


def test_one_container() -> None:
    goal = {"averageUtilization": 50}
    spec = {"name": "cpu", "container": "main", "target": goal}
    metric = {"type": "ContainerResource", "containerResource": spec}
    assert ask(metric, Readings(5.0, usage(0.5, 0.5))).replicas == 4
    spec["container"] = "other"
    assert ask(metric, Readings(5.0, usage(0.5, 0.5))).reason == "FailedGetContainerResourceMetric"


def test_a_request_is_needed() -> None:
    seen = target(cpu="")
    found = ask(resource(averageUtilization=50), Readings(5.0, usage(0.5, 0.5)), seen)
    assert found.replicas is None
    assert "missing request for cpu" in found.error


def test_nothing_measured_yet() -> None:
    found = ask(resource(averageUtilization=50), Readings(5.0))
    assert (found.replicas, found.reason) == (None, "FailedGetResourceMetric")


def test_processor_time_of_a_start_does_not_count() -> None:
    seen = target()
    early = Readings(5.0, usage(3.0, 3.0, at=START + 4))
    metric = msgspec.convert(resource(averageUtilization=50), MetricSpec)
    assert evaluate(metric, seen, early, Tolerance(), START + 4).replicas is None
    late = Readings(5.0, usage(3.0, 3.0, at=START + 6))
    assert evaluate(metric, seen, late, Tolerance(), START + 6).replicas == 24


LOADS = {("default", "web"): Load(90.0, 7.0, {0.95: 300.0}), ("default", "db"): Load(10.0)}


@pytest.mark.parametrize(
    ("metric", "goal", "replicas"),
    [
        ("requests_per_second", "30", 3),
        ("requests_in_flight", "1", 7),
        ("requests_per_second", "45", 2),
    ],
)
def test_calls_per_pod(metric: str, goal: str, replicas: int) -> None:
    source = {"metric": {"name": metric}, "target": {"averageValue": goal}}
    found = ask({"type": "Pods", "pods": source}, Readings(5.0, {}, LOADS))
    assert found.replicas == replicas


def test_latency_and_other_workloads() -> None:
    described = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    source: Any = {
        "metric": {"name": "request_duration_milliseconds_p95"},
        "describedObject": described, "target": {"type": "Value", "value": "200"},
    }  # fmt: skip
    found = ask({"type": "Object", "object": source}, Readings(5.0, {}, LOADS))
    assert found.replicas == 3
    source = {
        "metric": {
            "name": "requests_per_second", "selector": {"matchLabels": {"workload": "db"}},
        },
        "target": {"averageValue": "2"},
    }  # fmt: skip
    assert ask({"type": "External", "external": source}, Readings(5.0, {}, LOADS)).replicas == 5


def test_nobody_calls() -> None:
    source = {"metric": {"name": "requests_per_second"}, "target": {"averageValue": "30"}}
    assert ask({"type": "Pods", "pods": source}, Readings(5.0)).replicas == 0


def test_unknown_metrics_say_which_there_are() -> None:
    source = {"metric": {"name": "queue_length"}, "target": {"averageValue": "30"}}
    found = ask({"type": "Pods", "pods": source}, Readings(5.0, {}, LOADS))
    assert (found.replicas, found.reason) == (None, "FailedGetPodsMetric")
    assert "requests_per_second" in found.error
    assert ask({"type": "Odd"}, Readings(5.0)).reason == "InvalidMetricSourceType"


def test_quantities() -> None:
    assert [quantity(v) for v in (0.5, 3.0, 1.2345)] == ["500m", "3", "1234m"]

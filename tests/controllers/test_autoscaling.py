"""HorizontalPodAutoscalers: what is scaled, and what status and Events say."""

from typing import Any

from msgspec import structs

from tests.controllers.simulate import START, World, make, ready
from weft.api.k8s.apps_v1 import Deployment
from weft.api.k8s.autoscaling_v2 import HorizontalPodAutoscaler
from weft.api.k8s.pod_v1 import Pod
from weft.controllers.autoscaling import decide
from weft.controllers.autoscaling_behavior import Memory
from weft.telemetry.readings import Load, Readings

CALLS = {
    "type": "Pods",
    "pods": {"metric": {"name": "requests_per_second"}, "target": {"averageValue": "10"}},
}
QUICK = {"scaleDown": {"stabilizationWindowSeconds": 0}}


class Scene:
    """A Deployment with ready pods, and its autoscaler."""

    def __init__(self, replicas: int = 2, **spec: Any) -> None:
        self.w = World([])
        self.memory = Memory()
        selector = {"matchLabels": {"app": "web"}}
        self.w.put(
            make(Deployment, {"spec": {"replicas": replicas, "selector": selector}}, name="web")
        )
        for i in range(replicas):
            ready(self.w, self.w.put(make(Pod, {}, name=f"p{i}", labels={"app": "web"})))
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        base = {"scaleTargetRef": reference, "maxReplicas": 10, "metrics": [CALLS]}
        self.w.put(make(HorizontalPodAutoscaler, {"spec": base | spec}, name="h"))

    def turn(self, calls: float | None, after: float = 15.0) -> int:
        """The Deployment's size after one decision."""
        self.w.now += after
        loads = {} if calls is None else {("default", "web"): Load(calls)}
        scaler = self.w.need(HorizontalPodAutoscaler, "h")
        readings = Readings(5.0, {}, loads)
        found = decide(self.w.snapshot(), scaler, readings, self.memory, self.w.now)
        self.memory = found.memory
        self.w.apply(found.plan)
        return self.w.need(Deployment, "web").spec.replicas or 0

    def conditions(self) -> dict[str, tuple[str, str]]:
        found = self.w.need(HorizontalPodAutoscaler, "h").status.conditions
        return {c.type: (c.status, c.reason) for c in found}


def test_up_and_down() -> None:
    s = Scene(behavior=QUICK)
    assert s.turn(45.0) == 5
    assert (
        s.w.events[-1].message
        == "New size: 5; reason: pods metric requests_per_second above target"
    )
    assert s.conditions() == {
        "AbleToScale": ("True", "SucceededRescale"),
        "ScalingActive": ("True", "ValidMetricFound"),
        "ScalingLimited": ("False", "DesiredWithinRange"),
    }
    assert s.turn(50.0) == 5
    assert s.turn(12.0) == 2
    assert s.w.events[-1].message == "New size: 2; reason: All metrics below target"
    assert s.turn(0.0) == 1
    assert s.conditions()["ScalingLimited"] == ("True", "TooFewReplicas")
    status = s.w.need(HorizontalPodAutoscaler, "h").status
    assert status.desired_replicas == 1
    assert status.last_scale_time


def test_down_waits() -> None:
    s = Scene()
    assert s.turn(45.0) == 5
    assert s.turn(5.0) == 5
    assert s.conditions()["AbleToScale"] == ("True", "ScaleDownStabilized")
    assert s.turn(5.0, after=301) == 1


def test_a_restart_does_not_scale_down_at_once() -> None:
    """Nothing is remembered, and no call was counted yet."""
    s = Scene(replicas=5)
    assert s.turn(0.0) == 5
    assert s.conditions()["AbleToScale"] == ("True", "ScaleDownStabilized")
    assert s.turn(45.0) == 5
    assert s.turn(5.0, after=301) == 1


def test_bounds_win_at_once() -> None:
    s = Scene(replicas=12)
    assert s.turn(45.0) == 10
    assert "above Spec.MaxReplicas" in s.w.events[-1].message
    s = Scene(replicas=1, minReplicas=3)
    assert s.turn(0.0) == 3
    assert "below Spec.MinReplicas" in s.w.events[-1].message


def test_growth_has_a_rate() -> None:
    s = Scene()
    assert s.turn(1000.0) == 6
    assert s.conditions()["ScalingLimited"] == ("True", "ScaleUpLimit")
    assert s.turn(1000.0) == 10


def test_a_target_of_zero_is_left_alone() -> None:
    s = Scene(replicas=0)
    assert s.turn(45.0) == 0
    assert s.conditions()["ScalingActive"] == ("False", "ScalingDisabled")


def test_a_target_that_is_missing() -> None:
    s = Scene()
    s.w.delete(Deployment, "web")
    scaler = s.w.need(HorizontalPodAutoscaler, "h")
    found = decide(s.w.snapshot(), scaler, Readings(5.0), Memory(), START)
    s.w.apply(found.plan)
    assert s.conditions() == {"AbleToScale": ("False", "FailedGetScale")}


def test_two_autoscalers_of_one_target_leave_it_alone() -> None:
    s = Scene()
    first = s.w.need(HorizontalPodAutoscaler, "h")
    s.w.put(structs.replace(first, metadata=structs.replace(first.metadata, name="twin")))
    assert s.turn(45.0) == 2
    assert s.conditions()["ScalingActive"] == ("False", "AmbiguousSelector")
    assert "multiple HPAs: [default/h default/twin]" in s.w.events[-1].message
    s.w.delete(HorizontalPodAutoscaler, "twin")
    assert s.turn(45.0) == 5


def test_a_metric_that_cannot_be_read_keeps_others_from_scaling_down() -> None:
    unknown = {
        "type": "Pods",
        "pods": {"metric": {"name": "queue"}, "target": {"averageValue": "10"}},
    }
    s = Scene(metrics=[unknown, CALLS], behavior=QUICK)
    assert s.turn(1.0) == 2
    assert s.conditions()["ScalingActive"] == ("False", "FailedGetPodsMetric")
    assert s.turn(45.0) == 5


def test_the_default_metric_is_the_processor() -> None:
    s = Scene(metrics=[])
    assert s.turn(45.0) == 2
    assert s.conditions()["ScalingActive"] == ("False", "FailedGetResourceMetric")

"""Autoscalers that look ahead: scaling before the load is there, warnings, and doing without."""

from typing import Any

from msgspec.structs import replace

from tests.controllers.simulate import make
from tests.controllers.test_autoscaling import Scene
from weft.api.k8s.apps_v1 import Deployment
from weft.api.k8s.autoscaling_v2 import HorizontalPodAutoscaler
from weft.api.k8s.core_v1 import Node, ResourceQuota
from weft.api.wellknown import ANNOTATION_PREDICT_SECONDS
from weft.controllers.autoscaling_forecast import Interval, Outlook

WANTS = {"requests": {"cpu": "1", "memory": "100Mi"}}


class Ahead(Scene):
    """Asks for a forecast of the next minute, which is `expected`."""

    def __init__(self, **spec: Any) -> None:
        super().__init__(maxReplicas=30, **spec)
        note = {"metadata": {"annotations": {ANNOTATION_PREDICT_SECONDS: "60"}}}
        self.w.patch(HorizontalPodAutoscaler, "h", note)
        containers = [{"name": "main", "resources": WANTS}]
        self.w.patch(
            Deployment, "web", {"spec": {"template": {"spec": {"containers": containers}}}}
        )

    def turn_with(self, expected: float | None, calls: float = 20.0, unable: str = "") -> int:
        points = () if expected is None else (Interval(expected, expected - 1, expected + 1),)
        outlooks = (Outlook(self.w.now + 15, 5.0, points),) if points else ()
        self.memory = replace(self.memory, outlooks=outlooks, unable=unable)
        return self.turn(calls)

    def warnings(self) -> dict[str, str]:
        found = [e for e in self.w.events if e.type == "Warning"]
        assert len(found) == len({e.reason for e in found}), "each is told once"
        return {e.reason: e.message for e in found}


def test_it_scales_ahead_of_the_load_and_never_below_it() -> None:
    scene = Ahead()
    assert scene.turn_with(5) == 5
    assert scene.w.events[-1].message == "New size: 5; reason: forecast of the demand in 60 s"
    assert scene.conditions()["AbleToForecast"] == ("True", "ForecastReady")
    assert scene.turn_with(1, calls=60.0) == 6
    assert "above target" in scene.w.events[-1].message


def test_without_a_forecast_it_goes_on_by_what_is_measured() -> None:
    scene = Ahead()
    assert scene.turn_with(None, calls=40.0) == 4
    assert scene.conditions()["AbleToForecast"] == ("False", "HistoryTooShort")
    for calls in (50.0, 60.0):
        scene.turn_with(None, calls, unable="pip install 'weft[forecast]'")
    assert scene.turn_with(None, 60.0, unable="pip install 'weft[forecast]'") == 6
    assert scene.conditions()["AbleToForecast"] == ("False", "ForecastUnavailable")
    assert scene.warnings() == {"ForecastUnavailable": "pip install 'weft[forecast]'"}
    scene.w.patch(HorizontalPodAutoscaler, "h", {"metadata": {"annotations": None}})
    scene.turn(60.0)
    assert "AbleToForecast" not in scene.conditions()


def test_limits_that_will_be_hit_are_told_once() -> None:
    scene = Ahead()
    quota = {
        "spec": {"hard": {"requests.cpu": "4"}},
        "status": {"hard": {"requests.cpu": "4"}, "used": {"requests.cpu": "2"}},
    }
    scene.w.put(make(ResourceQuota, quota, name="small"))
    offered = {"allocatable": {"cpu": "16", "memory": "350Mi", "pods": "10"}}
    scene.w.put(make(Node, {"status": offered}, name="n", namespace=""))
    scene.turn_with(4)
    assert scene.warnings() == {}
    scene.turn_with(40)
    scene.turn_with(40)
    told = scene.warnings()
    assert set(told) == {"DemandAboveMaximum", "DemandAboveQuota", "DemandAboveCapacity"}
    assert told["DemandAboveMaximum"] == (
        "40 replicas (39 to 41) will be needed in 60 s, more than the maximum of 30"
    )
    assert "quota small has room for 2 more (requests.cpu)" in told["DemandAboveQuota"]
    assert "the nodes have room for 3 more" in told["DemandAboveCapacity"]

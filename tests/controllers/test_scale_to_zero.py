"""Scale to zero: who sleeps, after how long, and what is written."""

from typing import Any

import pytest

from tests.controllers.simulate import World, make
from weft.api.k8s.apps_v1 import Deployment
from weft.api.k8s.autoscaling_v2 import HorizontalPodAutoscaler
from weft.api.k8s.core_v1 import Service
from weft.api.k8s.pod_v1 import Pod
from weft.controllers.scale_to_zero import (
    Sleeper,
    marked,
    put_to_sleep,
    sleepers,
    sleepless,
    unmarked,
    why_not_ready,
    woken,
)
from weft.runtime.plan import Action, Plan

AFTER = "weft.dev/scale-to-zero-after"


def world(annotations: dict[str, str], replicas: int = 3) -> World:
    w = World([])
    template = {"metadata": {"labels": {"app": "web", "tier": "front"}}}
    selector = {"matchLabels": {"app": "web"}}
    spec = {"replicas": replicas, "selector": selector, "template": template}
    w.put(make(Deployment, {"spec": spec}, name="web", annotations=annotations))
    w.put(make(Service, {"spec": {"selector": {"app": "web"}}}, name="web"))
    w.put(make(Service, {"spec": {"selector": {"app": "other"}}}, name="other"))
    return w


def scaler(w: World, **spec: Any) -> None:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    base = {"scaleTargetRef": reference, "maxReplicas": 10, "minReplicas": 0}
    w.put(make(HorizontalPodAutoscaler, {"spec": base | spec}, name="h"))


def only(w: World) -> Sleeper:
    (found,) = sleepers(w.snapshot())
    return found


def apply(w: World, actions: tuple[Action, ...]) -> None:
    w.apply(Plan(actions))


def test_a_workload_sleeps_when_it_says_so_and_a_service_can_wake_it():
    assert sleepers(world({}).snapshot()) == ()
    assert sleepers(world({AFTER: "soon"}).snapshot()) == ()
    found = only(world({AFTER: "5m"}))
    assert (found.key, found.idle_seconds) == (("default", "deployment/web"), 300.0)
    assert [s.metadata.name for s in found.services] == ["web"]


@pytest.mark.parametrize(
    ("after", "selector", "why"),
    [("5m", "web", ""), ("5m", "other", "no Service"), ("soon", "web", "`soon` is no duration")],
)
def test_what_never_sleeps_says_why(after: str, selector: str, why: str) -> None:
    w = world({AFTER: after})
    w.patch(Service, "web", {"spec": {"selector": {"app": selector}}})
    said = [e.message for e in sleepless(w.snapshot(), sleepers(w.snapshot())).values()]
    assert (why in said[0] and len(said) == 1) if why else not said


def test_times_below_what_proxies_report_are_raised():
    assert only(world({AFTER: "1s"})).idle_seconds == 6.0


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [({}, 300.0), ({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}}, 60.0)],
)
def test_an_autoscaler_with_no_least_says_so_too(spec: dict[str, Any], seconds: float):
    w = world({})
    scaler(w, **spec)
    assert only(w).idle_seconds == seconds
    apply(w, woken(only(w)))
    assert w.need(Deployment, "web").spec.replicas == 1, "the autoscaler finds out how many"


def test_an_autoscaler_with_a_least_keeps_it_awake():
    w = world({})
    scaler(w, minReplicas=1)
    assert sleepers(w.snapshot()) == ()


def test_it_wakes_with_as_many_replicas_as_before():
    w = world({AFTER: "1m"})
    apply(w, put_to_sleep(only(w)))
    assert w.need(Deployment, "web").spec.replicas == 0
    apply(w, woken(only(w)))
    assert w.need(Deployment, "web").spec.replicas == 3


def test_marks_are_written_once_and_taken_off_when_nobody_sleeps_any_more():
    w = world({AFTER: "1m"})
    apply(w, marked(only(w), "falling"))
    notes = w.need(Service, "web").metadata.annotations
    assert notes == {"weft.dev/wakes": "deployment/web", "weft.dev/sleep": "falling"}
    assert marked(only(w), "falling") == ()
    assert unmarked(w.snapshot(), [only(w)]) == ()
    apply(w, unmarked(w.snapshot(), []))
    assert w.need(Service, "web").metadata.annotations == {}


def test_what_keeps_it_from_serving_is_said():
    w = world({AFTER: "1m"})
    assert why_not_ready(w.snapshot(), only(w)) == "it has no pods"
    waiting = {"name": "main", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    status = {"status": {"containerStatuses": [waiting]}}
    w.put(make(Pod, status, name="p", labels={"app": "web"}))
    said = why_not_ready(w.snapshot(), only(w))
    assert said == "CrashLoopBackOff: container main of pod p"

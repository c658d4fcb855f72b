"""Pods that wait for what they need."""

import pytest

from tests.controllers.simulate import World, make, ready
from weft.api.k8s.apps_v1 import Deployment
from weft.api.k8s.batch_v1 import Job
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.k8s.pod_v1 import Pod
from weft.api.wellknown import ANNOTATION_START_AFTER, ANNOTATION_WAITS_FOR, GATE_START_AFTER
from weft.controllers import start_order


def world(after: str) -> World:
    w = World([start_order.CONTROLLER])
    notes = {ANNOTATION_START_AFTER: after}
    gates = [{"name": GATE_START_AFTER}, {"name": "other"}]
    w.put(make(Pod, {"spec": {"schedulingGates": gates}}, name="p", annotations=notes))
    look(w)
    return w


def look(w: World) -> list[str]:
    """The gates after another look."""
    w.pass_time(1)
    w.settle()
    return [g.name for g in w.need(Pod, "p").spec.scheduling_gates]


def test_it_waits_and_says_for_what() -> None:
    w = world("deployment/db, svc/cache job/migrate")
    assert [e.message for e in w.events] == ["waits for deployment/db, service/cache, job/migrate"]
    available = {"conditions": [{"type": "Available", "status": "True"}]}
    w.put(make(Deployment, {"status": available}, name="db"))
    look(w)
    done = {"conditions": [{"type": "Complete", "status": "True"}]}
    w.put(make(Job, {"status": done}, name="migrate"))
    assert look(w) == [GATE_START_AFTER, "other"]
    assert w.events[-1].message == "waits for service/cache"
    labels = {"kubernetes.io/service-name": "cache"}
    body = {
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
    }
    w.put(make(EndpointSlice, body, name="cache-1", labels=labels))
    assert look(w) == ["other"]
    assert ANNOTATION_WAITS_FOR not in w.need(Pod, "p").metadata.annotations


def test_events_are_not_repeated() -> None:
    w = world("db")
    for _ in range(5):
        look(w)
    assert len(w.events) == 1


def test_pods_can_be_waited_for() -> None:
    w = world("pod/first")
    first = w.put(make(Pod, {}, name="first"))
    assert GATE_START_AFTER in look(w)
    ready(w, first)
    assert look(w) == ["other"]


@pytest.mark.parametrize(
    ("text", "names"),
    [("db", ["deployment/db"]), ("sts/a,job/b", ["statefulset/a", "job/b"]), (" , ", [])],
)
def test_names(text: str, names: list[str]) -> None:
    assert start_order.parse(text) == names

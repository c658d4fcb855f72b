"""Deployments that go back by themselves, together with the Deployment controller."""

from typing import Any

from tests.controllers.simulate import World, make, ready, terminate
from weft.api.k8s.apps_v1 import Deployment
from weft.api.k8s.pod_v1 import Pod
from weft.api.wellknown import ANNOTATION_AUTO_ROLLBACK
from weft.controllers import deployments, gc, replicasets, rollbacks

LABELS = {"app": "web"}
CONTROLLERS = (deployments.CONTROLLER, replicasets.CONTROLLER, rollbacks.CONTROLLER, gc.CONTROLLER)


def template(image: str) -> Any:
    containers = [{"name": "main", "image": image}]
    return {"metadata": {"labels": LABELS}, "spec": {"containers": containers}}


def world(opted_in: bool = True) -> World:
    w = World(CONTROLLERS)
    spec = {"replicas": 2, "selector": {"matchLabels": LABELS}, "template": template("v1"),
            "progressDeadlineSeconds": 60}  # fmt: skip
    notes = {ANNOTATION_AUTO_ROLLBACK: "true"} if opted_in else {}
    w.put(make(Deployment, {"spec": spec}, name="web", annotations=notes))
    w.settle(agent)
    return w


def agent(w: World) -> bool:
    for pod in w.all(Pod):
        if pod.metadata.deletion_timestamp:
            terminate(w, pod)
            return True
        if not pod.spec.node_name:
            w.patch(Pod, pod.metadata.name, {"spec": {"nodeName": "n"}})
            return True
        if pod.status.phase == "Pending" and not image(pod).startswith("bad"):
            ready(w, pod)
            return True
    return bool(w.queue)


def image(pod: Pod) -> str:
    return pod.spec.containers[0].image


def roll(w: World, to: str) -> None:
    w.patch(Deployment, "web", {"spec": {"template": template(to)}})
    w.settle(agent)


def wait(w: World, seconds: float = 61) -> None:
    w.pass_time(seconds)
    w.settle(agent)


def images(w: World) -> set[str]:
    return {image(p) for p in w.all(Pod) if not p.metadata.deletion_timestamp}


def told(w: World) -> list[str]:
    return [e.message for e in w.events if e.reason == "AutomaticRollback"]


def test_a_revision_without_progress_gives_way() -> None:
    w = world()
    roll(w, "bad")
    assert "bad" in images(w)
    wait(w)
    assert images(w) == {"v1"}
    assert told(w) == ["Rolled back from revision 2, which made no progress in 60 s, to revision 1"]
    assert w.need(Deployment, "web").spec.template.spec.containers[0].image == "v1"


def test_only_where_it_is_asked_for() -> None:
    w = world(opted_in=False)
    roll(w, "bad")
    wait(w)
    assert "bad" in images(w)
    assert told(w) == []


def test_good_revisions_stay() -> None:
    w = world()
    roll(w, "v2")
    wait(w)
    assert images(w) == {"v2"}
    assert told(w) == []


def test_two_bad_revisions_do_not_alternate() -> None:
    w = world()
    roll(w, "bad1")
    roll(w, "bad2")
    for _ in range(4):
        wait(w)
    assert images(w) <= {"v1"}
    assert len(told(w)) == 2


def test_the_first_revision_has_nothing_before_it() -> None:
    w = World(CONTROLLERS)
    spec = {"replicas": 1, "selector": {"matchLabels": LABELS}, "template": template("bad"),
            "progressDeadlineSeconds": 60}  # fmt: skip
    notes = {ANNOTATION_AUTO_ROLLBACK: "true"}
    w.put(make(Deployment, {"spec": spec}, name="web", annotations=notes))
    w.settle(agent)
    wait(w)
    assert images(w) == {"bad"}

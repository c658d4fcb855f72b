"""PodDisruptionBudgets: how many pods may go."""

from typing import Any

import pytest

from tests.controllers.simulate import START, World, make, ready
from weft.api.k8s.apps_v1 import Deployment, ReplicaSet
from weft.api.k8s.pod_v1 import Pod
from weft.api.k8s.policy_v1 import PodDisruptionBudget, PodDisruptionBudgetStatus
from weft.controllers import disruption
from weft.lib.timefmt import rfc3339
from weft.runtime.plan import Patch

LABELS = {"app": "web"}


def owner(kind: str, name: str, uid: str) -> Any:
    return [{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": True}]


def world(pods: int = 4, ready_pods: int = 4, managed: bool = True, **spec: Any) -> World:
    w = World([disruption.CONTROLLER])
    deployment = w.put(make(Deployment, {"spec": {"replicas": 4}}, name="web"))
    of_deployment = owner("Deployment", "web", deployment.metadata.uid)
    sets = make(ReplicaSet, {"spec": {"replicas": 4}}, name="web-1", ownerReferences=of_deployment)
    replica_set = w.put(sets)
    owners = owner("ReplicaSet", "web-1", replica_set.metadata.uid) if managed else []
    for i in range(pods):
        pod = w.put(make(Pod, {}, name=f"p{i}", labels=LABELS, ownerReferences=owners))
        ready(w, pod, i < ready_pods)
    w.put(make(Pod, {}, name="other"))
    base = {"selector": {"matchLabels": LABELS}}
    w.put(make(PodDisruptionBudget, {"spec": base | spec}, name="b"))
    w.settle()
    return w


def status(w: World) -> PodDisruptionBudgetStatus:
    return w.need(PodDisruptionBudget, "b").status


def numbers(w: World) -> tuple[int | None, ...]:
    s = status(w)
    return s.expected_pods, s.desired_healthy, s.current_healthy, s.disruptions_allowed


@pytest.mark.parametrize(
    ("spec", "ready_pods", "expected"),
    [
        ({"minAvailable": 3}, 4, (4, 3, 4, 1)),
        ({"minAvailable": 3}, 3, (4, 3, 3, 0)),
        ({"minAvailable": "50%"}, 4, (4, 2, 4, 2)),
        ({"minAvailable": "60%"}, 4, (4, 3, 4, 1)),
        ({"maxUnavailable": 1}, 4, (4, 3, 4, 1)),
        ({"maxUnavailable": "30%"}, 4, (4, 2, 4, 2)),
        ({"maxUnavailable": 0}, 4, (4, 4, 4, 0)),
        ({"maxUnavailable": 1}, 1, (4, 3, 1, 0)),
    ],
)
def test_numbers(spec: Any, ready_pods: int, expected: tuple[int, ...]) -> None:
    w = world(ready_pods=ready_pods, **spec)
    assert numbers(w) == expected
    (condition,) = status(w).conditions
    allowed = expected[3] > 0
    assert (condition.type, condition.status) == ("DisruptionAllowed", str(allowed))
    assert condition.reason == ("SufficientPods" if allowed else "InsufficientPods")
    assert status(w).observed_generation == 1


def test_pods_that_are_missing_count_by_the_scale_of_their_deployment() -> None:
    assert numbers(world(pods=2, ready_pods=2, maxUnavailable=1)) == (4, 3, 2, 0)


def test_changes_are_followed() -> None:
    w = world(maxUnavailable=1)
    ready(w, w.need(Pod, "p0"), False)
    w.settle()
    assert numbers(w) == (4, 3, 3, 0)
    w.patch(Deployment, "web", {"spec": {"replicas": 3}})
    w.settle()
    assert numbers(w) == (3, 2, 3, 1)


def test_a_granted_eviction_counts_at_once_and_not_for_ever() -> None:
    w = world(minAvailable=2)
    granted = {"status": {"disruptionsAllowed": 1, "disruptedPods": {"p0": rfc3339(START)}}}
    w._patch(Patch(PodDisruptionBudget, "default", "b", granted, "status"))
    w.settle()
    assert numbers(w) == (4, 2, 3, 1)
    w.pass_time(121)
    w.settle()
    assert numbers(w) == (4, 2, 4, 2)
    assert status(w).disrupted_pods == {}


def test_pods_without_a_controller_are_told() -> None:
    w = world(managed=False, maxUnavailable=1)
    assert [e.reason for e in w.events] == ["UnmanagedPods"]
    assert numbers(w) == (0, 0, 4, 0)
    w = world(managed=False, minAvailable=2)
    assert w.events == []
    assert numbers(w) == (4, 2, 4, 2)


def test_selectors() -> None:
    assert numbers(world(selector=None, minAvailable=1)) == (0, 1, 0, 0)
    assert numbers(world(selector={}, minAvailable=1)) == (5, 1, 4, 3)

"""Queues and the objects: what is let go, what is stopped, and what is said."""

from typing import Any

from tests.controllers.simulate import World, make
from weft.api.k8s.batch_v1 import Job
from weft.api.k8s.core_v1 import Node
from weft.api.k8s.pod_v1 import Pod
from weft.api.weft.queue_v1alpha1 import Queue
from weft.scheduler.queues.controller import ALL, plan

WAITS, ADMITTED = "weft.dev/waits-for", "weft.dev/admitted-at"
GATED = [{"name": "weft.dev/queue"}]


def world(nodes: int = 2, cpu: str = "4", **spec: Any) -> World:
    w = World([])
    w.put(make(Queue, {"spec": spec}, name="batch", namespace=""))
    for n in range(nodes):
        status = {
            "conditions": [{"type": "Ready", "status": "True"}],
            "allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "10"},
        }
        w.put(make(Node, {"status": status}, name=f"n{n}", namespace=""))
    return w


def containers(cpu: str) -> list[dict[str, Any]]:
    return [{"name": "c", "image": "i:1", "resources": {"requests": {"cpu": cpu}}}]


def job(w: World, name: str, cpu: str = "1", **spec: Any) -> Job:
    template = {"spec": {"containers": containers(cpu), "restartPolicy": "Never"}}
    body = {"suspend": True, "template": template, **spec}
    made: Job = w.put(
        make(Job, {"spec": body}, name=name, labels={"kueue.x-k8s.io/queue-name": "batch"})
    )
    return made


def member(w: World, name: str, group: str, total: int, cpu: str = "1") -> None:
    labels = {"weft.dev/queue": "batch", "kueue.x-k8s.io/pod-group-name": group}
    notes = {"kueue.x-k8s.io/pod-group-total-count": str(total)}
    spec = {"containers": containers(cpu), "schedulingGates": GATED}
    w.put(make(Pod, {"spec": spec}, name=name, labels=labels, annotations=notes))


def turn(w: World) -> None:
    w.apply(plan(w.snapshot(), ALL, w.now))


def running(w: World) -> set[str]:
    return {j.metadata.name for j in w.snapshot().list(Job) if not j.spec.suspend}


def free(w: World) -> set[str]:
    return {p.metadata.name for p in w.snapshot().list(Pod) if not p.spec.scheduling_gates}


def test_jobs_are_let_go_as_the_quota_allows_and_the_others_say_why():
    w = world(quota={"cpu": "2"})
    for name in ("a", "b"):
        job(w, name, "1500m")
    turn(w)
    assert running(w) == {"a"}
    assert ADMITTED in w.need(Job, "a").metadata.annotations
    said = w.need(Job, "b").metadata.annotations[WAITS]
    assert said == "is next in queue batch and lacks 1 cpu; runs when default/a ends"
    found = w.need(Queue, "batch", "").status
    assert (found.admitted, found.pending, found.next) == (1, 1, "default/b")
    assert found.used == {"cpu": "1500m", "pods": "1"}


def test_nothing_is_written_twice():
    w = world(quota={"cpu": "1"})
    job(w, "a")
    job(w, "b")
    turn(w)
    assert plan(w.snapshot(), ALL, w.now).actions == ()


def test_a_job_counts_with_all_its_pods():
    w = world(quota={"cpu": "3"})
    job(w, "a", parallelism=4, completions=8)
    turn(w)
    assert running(w) == set()
    assert "never runs: it needs 4 cpu" in w.need(Job, "a").metadata.annotations[WAITS]


def test_a_gang_waits_until_the_nodes_have_room_for_all_of_it():
    """The quota would do, and so would the sum of what is free; not any three nodes."""
    w = world(nodes=2, cpu="4")
    job(w, "gang", "3", parallelism=3, completions=3)
    turn(w)
    assert "never runs" in w.need(Job, "gang").metadata.annotations[WAITS]
    w = world(nodes=3, cpu="4")
    spec = {"containers": containers("2"), "nodeName": "n0"}
    w.put(make(Pod, {"spec": spec, "status": {"phase": "Running"}}, name="other"))
    job(w, "gang", "3", parallelism=3, completions=3)
    turn(w)
    assert running(w) == set()
    said = w.need(Job, "gang").metadata.annotations[WAITS]
    assert "no nodes have: 0/3 nodes are available: 3 Insufficient cpu" in said
    w.delete(Pod, "other", grace=0)
    turn(w)
    assert running(w) == {"gang"}


def test_a_group_of_pods_is_admitted_once_it_is_complete():
    w = world()
    member(w, "g-0", "g", 2)
    turn(w)
    assert free(w) == set()
    assert w.need(Pod, "g-0").metadata.annotations[WAITS] == "1 of 2 pods of the group are there"
    member(w, "g-1", "g", 2)
    turn(w)
    assert free(w) == {"g-0", "g-1"}
    assert WAITS not in w.need(Pod, "g-0").metadata.annotations


def test_what_makes_room_is_suspended_and_waits_again():
    w = world(quota={"cpu": "1"}, policy="Priority", preemption=True)
    job(w, "small")
    turn(w)
    assert running(w) == {"small"}
    template = {"spec": {"containers": containers("1"), "priority": 100}}
    job(w, "urgent", template=template)
    turn(w)
    assert running(w) == set()
    assert w.need(Job, "small").metadata.annotations[WAITS] == (
        "makes room for default/urgent in queue batch"
    )
    turn(w)
    assert running(w) == {"urgent"}


def test_a_job_of_a_queue_that_nobody_made_says_so():
    w = World([])
    job(w, "a")
    turn(w)
    assert w.need(Job, "a").metadata.annotations[WAITS].startswith("there is no queue batch")


def test_whoever_was_seen_first_comes_first_within_one_second() -> None:
    """Creation times are whole seconds; names do not decide."""
    w = world(quota={"cpu": "1"})
    for name in ("held", "z-first", "a-later"):
        job(w, name)
        turn(w)
        w.pass_time(0.1)
    assert running(w) == {"held"}
    assert "is next in queue" in w.need(Job, "z-first").metadata.annotations[WAITS]
    w.delete(Job, "held")
    turn(w)
    assert running(w) == {"z-first"}

"""Scheduling cycles: where pods go, in which order, and what is said of those that wait."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.examples import examples
from tests.scheduler.objects import node, pod
from weft.api.k8s.core_v1 import Node
from weft.api.k8s.pod_v1 import Pod, PodCondition, PodStatus
from weft.api.snapshot import ObjectSnapshot
from weft.runtime.plan import NOTHING, Bind, Patch, Plan, RecordEvent
from weft.scheduler.controller import CONTROLLER, CYCLE
from weft.scheduler.cycle import schedule
from weft.scheduler.resources import amounts, requested

NOW = 1_800_000_000.0


def run(*objects: Node | Pod) -> Plan:
    return schedule(ObjectSnapshot(objects), NOW)


def bound(plan: Plan) -> dict[str, str]:
    return {a.name: a.node for a in plan.actions if isinstance(a, Bind)}


def complaint(plan: Plan) -> str:
    (message,) = {a.message for a in plan.actions if isinstance(a, RecordEvent)}
    reasons, dot, _ = message.partition(". ")
    return reasons + dot.strip()


def test_a_pod_is_bound_and_an_event_says_so() -> None:
    plan = run(node(), pod())
    assert bound(plan) == {"p": "n1"}
    assert complaint(plan) == "Successfully assigned default/p to n1"
    assert plan.independent


@pytest.mark.parametrize(
    "changed",
    [
        {"nodeName": "n1"},
        {"phase": "Failed"},
    ],
)
def test_pods_that_are_not_ours_are_left_alone(changed: dict[str, Any]) -> None:
    assert run(node(), pod(**changed)) == NOTHING


def test_a_scheduler_that_nobody_knows_is_named_once() -> None:
    """Another one may look after the pod: it is left alone from then on."""
    stranger = pod(schedulerName="mine")
    (patch, event) = run(node(), stranger).actions
    assert isinstance(patch, Patch)
    assert isinstance(event, RecordEvent)
    assert event.message.startswith("no scheduler of weft is named mine (there are: default-sched")
    told = msgspec.convert(patch.body["status"], PodStatus)
    assert run(node(), replace(stranger, status=told)) == NOTHING


def test_pods_being_deleted_are_left_alone() -> None:
    dying = pod()
    dying = replace(
        dying, metadata=replace(dying.metadata, deletion_timestamp="2026-01-01T00:00:00Z")
    )
    assert run(node(), dying) == NOTHING


# --- resources


def test_requests_of_running_pods_are_taken() -> None:
    running = pod("old", cpu="3", nodeName="n1", phase="Running")
    assert bound(run(node(), running, pod(cpu="1"))) == {"p": "n1"}
    plan = run(node(), running, pod(cpu="1500m"))
    assert complaint(plan) == "0/1 nodes are available: 1 Insufficient cpu."


def test_finished_pods_take_nothing() -> None:
    done = pod("old", cpu="4", nodeName="n1", phase="Succeeded")
    assert bound(run(node(), done, pod(cpu="4"))) == {"p": "n1"}


@pytest.mark.parametrize(
    ("needs", "lacks"),
    [
        ({"cpu": "5"}, "1 Insufficient cpu"),
        ({"memory": "9Gi"}, "1 Insufficient memory"),
        ({"cpu": "5", "memory": "9Gi"}, "1 Insufficient cpu, 1 Insufficient memory"),
        ({"example.com/gpu": "1"}, "1 Insufficient example.com/gpu"),
    ],
)
def test_what_is_lacking_is_named(needs: dict[str, str], lacks: str) -> None:
    plan = run(node(), pod(requests=needs))
    assert complaint(plan) == f"0/1 nodes are available: {lacks}."


def test_extended_resources_are_counted() -> None:
    gpus = {"example.com/gpu": "2"}
    plan = run(node(**gpus), *(pod(f"p{i}", requests={"example.com/gpu": "1"}) for i in range(3)))
    assert len(bound(plan)) == 2


def test_pods_per_node_are_limited() -> None:
    plan = run(node(pods="2"), *(pod(f"p{i}") for i in range(3)))
    assert len(bound(plan)) == 2
    assert any("1 Too many pods" in a.message for a in plan.actions if isinstance(a, RecordEvent))


def test_a_node_that_names_no_limit_takes_the_usual_number() -> None:
    bare = node()
    allocatable = {"cpu": "400", "memory": "800Gi"}
    bare = replace(bare, status=replace(bare.status, allocatable=allocatable))
    assert len(bound(run(bare, *(pod(f"p{i:03}") for i in range(120))))) == 110


def test_host_ports_are_taken_once() -> None:
    plan = run(node(), pod("a", ports=(8080,)), pod("b", ports=(8080,)), pod("c", ports=(9090,)))
    assert set(bound(plan)) == {"a", "c"}


# --- order


def test_priority_then_age_decide() -> None:
    pods = [
        pod("young", cpu="4", created="2026-01-02T00:00:00Z"),
        pod("old", cpu="4", created="2026-01-01T00:00:00Z"),
        pod("urgent", cpu="4", created="2026-01-03T00:00:00Z", priority=1000),
    ]
    assert bound(run(node(), *pods)) == {"urgent": "n1"}
    assert bound(run(node(), *pods[:2])) == {"old": "n1"}


def test_one_that_does_not_fit_does_not_block_the_next() -> None:
    plan = run(node(), pod("huge", cpu="99", priority=9), pod("small", cpu="1"))
    assert bound(plan) == {"small": "n1"}


# --- where to


def test_pods_spread_over_empty_nodes() -> None:
    nodes = [node(f"n{i}") for i in range(3)]
    plan = run(*nodes, *(pod(f"p{i}", cpu="500m") for i in range(9)))
    assert set(Counter(bound(plan).values()).values()) == {3}


def test_pods_without_requests_spread_too() -> None:
    nodes = [node(f"n{i}") for i in range(3)]
    plan = run(*nodes, *(pod(f"p{i}") for i in range(9)))
    assert set(Counter(bound(plan).values()).values()) == {3}


def test_the_emptier_node_is_preferred() -> None:
    busy = pod("old", cpu="3", nodeName="n1", phase="Running")
    assert bound(run(node("n1"), node("n2"), busy, pod(cpu="1"))) == {"p": "n2"}


def test_preferred_affinity_outweighs_room() -> None:
    busy = pod("old", cpu="2", nodeName="n1", phase="Running")
    liked = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}
    preferred = [{"weight": 50, "preference": liked}]
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
    plan = run(node("n1", labels={"disk": "ssd"}), node("n2"), busy, pod(affinity=affinity))
    assert bound(plan) == {"p": "n1"}


def test_prefer_no_schedule_taints_are_avoided_if_possible() -> None:
    taint = {"key": "slow", "effect": "PreferNoSchedule"}
    assert bound(run(node("n1", taints=[taint]), node("n2"), pod())) == {"p": "n2"}
    assert bound(run(node("n1", taints=[taint]), pod())) == {"p": "n1"}


# --- what is said


def test_reasons_are_counted_over_nodes() -> None:
    taint = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
    plan = run(
        node("a", cpu="1"), node("b", cpu="1"), node("c", taints=[taint]),
        node("d", unschedulable=True), node("e", ready=False), pod(cpu="2"),
    )  # fmt: skip
    assert complaint(plan) == (
        "0/5 nodes are available: 1 node(s) had untolerated taint {gpu: yes}, "
        "1 node(s) were not ready, 1 node(s) were unschedulable, 2 Insufficient cpu."
    )


def test_without_nodes_that_is_what_is_said() -> None:
    assert complaint(run(pod())) == "no nodes available to schedule pods."


def waits(plan: Plan) -> dict[str, Any]:
    (patch,) = (a for a in plan.actions if isinstance(a, Patch))
    assert patch.subresource == "status"
    assert patch.body["metadata"] == {"resourceVersion": "7"}
    (condition,) = patch.body["status"]["conditions"]
    return dict(condition)


def test_the_condition_of_a_waiting_pod() -> None:
    condition = waits(run(node(), pod(cpu="9")))
    assert condition == {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient cpu. "
        "It would fit node n1 with 5000m less cpu.",
        "lastTransitionTime": "2027-01-15T08:00:00Z",
    }


def told(waiting: Pod, condition: dict[str, Any]) -> Pod:
    made = msgspec.convert(condition, PodCondition)
    return replace(waiting, status=replace(waiting.status, conditions=(made,)))


def test_the_same_reason_is_not_written_again() -> None:
    waiting = pod(cpu="9")
    again = told(waiting, waits(run(node(), waiting)))
    assert run(node(), again).actions == ()
    changed = waits(run(node(), node("n2"), again))
    assert changed["message"].startswith("0/2 nodes")
    assert changed["lastTransitionTime"] == "2027-01-15T08:00:00Z"


def test_gated_pods_wait_quietly() -> None:
    plan = run(node(), pod(schedulingGates=[{"name": "quota"}]))
    assert waits(plan)["reason"] == "SchedulingGated"
    assert not [a for a in plan.actions if isinstance(a, RecordEvent)]


# --- as a controller


def test_what_wakes_the_cycle() -> None:
    wakes = CONTROLLER.primary_keys
    assert wakes is not None
    waiting, running = pod(), pod("r", nodeName="n1", phase="Running")
    snapshot = ObjectSnapshot([waiting, running])
    assert wakes(waiting, snapshot) == (CYCLE,)
    assert wakes(running, snapshot) == ()
    assert wakes(running, ObjectSnapshot()) == (CYCLE,)  # deleted: frees its room
    assert wakes(pod("r", nodeName="n1", phase="Failed"), snapshot) == (CYCLE,)
    woken = {w.cls.__name__ for w in CONTROLLER.watches if tuple(w.to_keys(node(), snapshot))}
    assert woken == {"Node", "PersistentVolumeClaim"}


# --- at random

amount = st.integers(1, 40).map(lambda n: f"{n * 100}m")


@given(
    st.lists(st.sampled_from(["1", "2", "4", "8"]), min_size=1, max_size=6),
    st.lists(amount, min_size=1, max_size=40),
)
@examples(60)
def test_no_node_is_overfull_and_nothing_that_fits_waits(cores: list[str], cpus: list[str]) -> None:
    nodes = [node(f"n{i}", cpu=c) for i, c in enumerate(cores)]
    pods = [pod(f"p{i:02}", cpu=c) for i, c in enumerate(cpus)]
    placed = bound(run(*nodes, *pods))
    free = {n.metadata.name: amounts(n.status.allocatable)["cpu"] for n in nodes}
    for found in pods:
        if found.metadata.name in placed:
            free[placed[found.metadata.name]] -= requested(found.spec)["cpu"]
    assert min(free.values()) >= 0
    for found in pods:
        if found.metadata.name not in placed:
            assert max(free.values()) < requested(found.spec)["cpu"]


def test_a_thousand_pods_on_a_hundred_nodes() -> None:
    nodes = [node(f"n{i:03}", cpu="8", memory="16Gi") for i in range(100)]
    pods = [pod(f"p{i:04}", cpu=f"{100 + i % 10}m") for i in range(1000)]
    placed = bound(run(*nodes, *pods))
    assert len(placed) == 1000
    spread = Counter(placed.values())
    assert max(spread.values()) - min(spread.values()) <= 2

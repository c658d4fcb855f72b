"""Pods of higher priority take the place of others."""

from typing import Any

import msgspec

from tests.scheduler.objects import node, pod
from tests.scheduler.test_cycle import bound, run
from weft.api.k8s.pod_v1 import Pod
from weft.api.k8s.policy_v1 import PodDisruptionBudget
from weft.runtime.plan import Delete, Patch, Plan, RecordEvent


def low(name: str, where: str, cpu: str = "2", priority: int = 0, **more: Any) -> Pod:
    return pod(name, cpu=cpu, nodeName=where, phase="Running", priority=priority, **more)


def victims(plan: Plan) -> list[str]:
    return sorted(a.name for a in plan.actions if isinstance(a, Delete))


def high(cpu: str = "2", **more: Any) -> Pod:
    return pod("vip", cpu=cpu, priority=1000, **more)


def test_as_few_as_needed_go() -> None:
    plan = run(node(), low("a", "n1"), low("b", "n1", priority=5), high())
    assert victims(plan) == ["a"]
    (event,) = [a for a in plan.actions if isinstance(a, RecordEvent) and a.reason == "Preempted"]
    assert event.message == "Preempted by pod vip on node n1"
    statuses = [a.body["status"] for a in plan.actions if isinstance(a, Patch)]
    assert any(s.get("nominatedNodeName") == "n1" for s in statuses)
    assert statuses[0]["conditions"][0]["reason"] == "PreemptionByScheduler"
    assert bound(plan) == {}


def test_the_node_with_the_least_harm_is_taken() -> None:
    on_one = [low("a", "n1", priority=50), low("b", "n1", priority=50)]
    on_two = [low("c", "n2", priority=10), low("d", "n2", priority=60)]
    assert victims(run(node("n1"), node("n2"), *on_one, *on_two, high())) == ["c"]


def test_equals_and_betters_stay() -> None:
    assert (
        victims(run(node(), low("a", "n1", priority=1000), low("b", "n1", priority=2000), high()))
        == []
    )


def test_nobody_goes_in_vain() -> None:
    assert victims(run(node(), low("a", "n1"), low("b", "n1", priority=2000), high(cpu="3"))) == []


def test_a_pod_may_decline() -> None:
    assert (
        victims(run(node(), low("a", "n1"), low("b", "n1"), high(preemptionPolicy="Never"))) == []
    )


def test_budgets_are_spared_where_possible() -> None:
    body = {
        "metadata": {"name": "b", "namespace": "default", "uid": "b"},
        "spec": {"selector": {}}, "status": {"disruptionsAllowed": 0},
    }  # fmt: skip
    budget = msgspec.convert(body, PodDisruptionBudget)
    everyone = run(node(), low("a", "n1"), low("b", "n1"), high(), budget)  # type: ignore[arg-type]
    assert len(victims(everyone)) == 1  # a budget is no absolute bar


def test_a_pod_that_waits_for_its_victims_takes_no_more() -> None:
    from msgspec.structs import replace

    going = low("a", "n1")
    going = replace(
        going, metadata=replace(going.metadata, deletion_timestamp="2026-01-01T00:00:00Z")
    )
    vip = high()
    vip = replace(vip, status=replace(vip.status, nominated_node_name="n1"))
    plan = run(node(), going, low("b", "n1"), vip, pod("small", cpu="100m"))
    assert victims(plan) == []


def test_room_is_kept_for_it() -> None:
    plan = run(
        node(), low("a", "n1"), low("b", "n1", cpu="1"), high(cpu="3"), pod("small", cpu="1")
    )
    assert victims(plan) == ["a"]
    assert "small" not in bound(plan)

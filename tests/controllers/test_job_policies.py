"""Pod failure policies and success policies of Jobs, and Jobs that others manage."""

from typing import Any

import pytest
from msgspec.structs import replace

from tests.controllers.simulate import START, World, finish, make
from tests.controllers.test_job_indexes import fail
from tests.controllers.test_jobs import ONE, active, agent, end, job, kinds, status, wait, world
from weft.api.k8s.batch_v1 import Job
from weft.api.k8s.pod_v1 import Pod, PodCondition
from weft.controllers import gc, job_policies, jobs
from weft.runtime.plan import Key

INDEXED: dict[str, Any] = {"completionMode": "Indexed", "completions": 4, "parallelism": 4}


def policy(*rules: Any) -> Any:
    return {"podFailurePolicy": {"rules": list(rules)}, "podReplacementPolicy": "Failed"}


def codes(action: str, *values: int, operator: str = "In", **more: Any) -> Any:
    return {"action": action, "onExitCodes": {"operator": operator, "values": values, **more}}


def test_one_exit_code_fails_the_job_at_once() -> None:
    w = world(**{"completions": 3, "parallelism": 3} | policy(codes("FailJob", 42)))
    end(w, 1)
    assert kinds(w) == []
    (pod, *_) = active(w)
    finish(w, pod, 42)
    w.settle(agent)
    assert kinds(w)[-1] == ("Failed", "PodFailurePolicy")
    assert status(w).conditions[-1].message == (
        f"Container main for pod default/{pod.metadata.name} failed with exit code 42 "
        "matching FailJob rule at index 0"
    )
    assert active(w) == []
    assert [e.reason for e in w.events] == ["SuccessfulCreate"] * 3 + ["PodFailurePolicy"]


def test_ignored_failures_are_replaced_and_not_counted() -> None:
    disrupted = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    w = world(**ONE | policy(disrupted), backoffLimit=0)
    for _ in range(3):
        (pod,) = active(w)
        ended = (*pod.status.conditions, PodCondition(type="DisruptionTarget", status="True"))
        finish(w, pod, 137)
        failed = w.need(Pod, pod.metadata.name)
        w.set_status(failed, job_status_with(failed, ended))
        w.settle(agent)
        wait(w, 700)
    assert kinds(w) == []
    assert status(w).failed is None
    assert len(active(w)) == 1
    end(w, 1)  # no disruption: one failure is one too many
    assert kinds(w)[-1] == ("Failed", "BackoffLimitExceeded")
    assert status(w).failed == 1


def job_status_with(pod: Pod, conditions: tuple[PodCondition, ...]) -> Any:
    return replace(pod.status, conditions=conditions)


def test_a_rule_may_fail_one_index_at_once() -> None:
    limits = {"backoffLimitPerIndex": 5, "backoffLimit": 2**31 - 1}
    w = world(**INDEXED | limits | policy(codes("FailIndex", 3)))
    fail(w, 1, code=3)
    assert status(w).failed_indexes == "1"
    fail(w, 2, code=4)
    assert status(w).failed_indexes == "1"


@pytest.mark.parametrize(
    ("rule", "code", "action"),
    [
        (codes("FailJob", 1, 2), 2, "FailJob"),
        (codes("FailJob", 1, 2), 3, "Count"),
        (codes("FailJob", 1, 2, operator="NotIn"), 3, "FailJob"),
        (codes("FailJob", 1, operator="NotIn"), 1, "Count"),
        (codes("FailJob", 7, containerName="other"), 7, "Count"),
        (codes("FailJob", 7, containerName="main"), 7, "FailJob"),
    ],
)
def test_exit_codes(rule: Any, code: int, action: str) -> None:
    w = World([])
    pod = w.put(make(Pod, {}, name="p"))
    finish(w, pod, code)
    found = job_policies.ruling(job(**policy(rule, codes("Count", 99))), w.need(Pod, "p"))
    assert found.action == action


def test_the_first_rule_that_fits_decides() -> None:
    w = World([])
    finish(w, w.put(make(Pod, {}, name="p")), 5)
    rules = policy(codes("Ignore", 5), codes("FailJob", 5))
    assert job_policies.ruling(job(**rules), w.need(Pod, "p")).action == "Ignore"


# --- success policies


@pytest.mark.parametrize(
    ("rule", "done", "met"),
    [
        ({"succeededCount": 2}, {1, 3}, True),
        ({"succeededCount": 2}, {1}, False),
        ({"succeededIndexes": "0,2-3"}, {0, 2, 3}, True),
        ({"succeededIndexes": "0,2-3"}, {0, 1, 2}, False),
        ({"succeededIndexes": "0-2", "succeededCount": 1}, {2}, True),
        ({"succeededIndexes": "0-2", "succeededCount": 1}, {3}, False),
    ],
)
def test_success_rules(rule: Any, done: set[int], met: bool) -> None:
    found = job(**INDEXED, successPolicy={"rules": [{"succeededIndexes": "9"}, rule]})
    assert job_policies.succeeds(found, frozenset(done)) == (
        "Matched rules at index 1" if met else ""
    )


def test_a_leader_that_succeeds_ends_the_job() -> None:
    w = world(**INDEXED, successPolicy={"rules": [{"succeededIndexes": "0"}]})
    fail(w, 2, code=0)
    assert kinds(w) == []
    fail(w, 0, code=0)
    assert kinds(w) == [("SuccessCriteriaMet", "SuccessPolicy"), ("Complete", "SuccessPolicy")]
    assert active(w) == []
    assert status(w).completed_indexes == "0,2"


# --- others' Jobs


def test_jobs_of_another_manager_are_left_alone() -> None:
    w = World([jobs.CONTROLLER, gc.CONTROLLER])
    w.put(job(**ONE, managedBy="kueue.x-k8s.io/multikueue"))
    w.settle(agent)
    assert w.all(Pod) == []
    assert w.need(Job, "j").status == Job().status
    assert jobs.plan(w.snapshot(), Key("default", "j"), START).actions == ()
    assert len(active(world(**ONE, managedBy="kubernetes.io/job-controller"))) == 1

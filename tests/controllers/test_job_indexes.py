"""The text of completion indexes, and back-off per index."""

from typing import Any

import pytest

from tests.controllers.simulate import World, finish
from tests.controllers.test_jobs import active, agent, end, indexes, kinds, status, wait, world
from weft.api.k8s.batch_v1 import Job
from weft.api.k8s.pod_v1 import Pod
from weft.controllers import gc, job_indexes, jobs

FAILURES = "batch.kubernetes.io/job-index-failure-count"
LIMITED: dict[str, Any] = {
    "completionMode": "Indexed", "completions": 3, "parallelism": 3,
    "backoffLimit": 2**31 - 1, "backoffLimitPerIndex": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "numbers"), [("", []), ("3", [3]), ("0,2", [0, 2]), ("0-2,5,7,8", [0, 1, 2, 5, 7, 8])]
)
def test_index_text(text: str, numbers: list[int]) -> None:
    assert sorted(job_indexes.parse(text)) == numbers
    assert job_indexes.text(numbers) == text


def test_unreadable_index_text_is_no_index() -> None:
    assert job_indexes.parse("x,1-y,-,4") == frozenset({4})


def of(w: World, index: int) -> Pod:
    return next(p for p in active(w) if job_indexes.index(p) == index)


def fail(w: World, index: int, code: int = 1) -> None:
    finish(w, of(w, index), code)
    w.settle(agent)


def test_an_index_that_failed_too_often_fails_alone() -> None:
    w = world(**LIMITED)
    fail(w, 1)
    assert status(w).failed is None  # held until its replacement carries the count on
    wait(w, 11)
    assert indexes(w) == [0, 1, 2]
    assert of(w, 1).metadata.annotations[FAILURES] == "1"
    assert status(w).failed == 1
    fail(w, 1)
    assert (status(w).failed_indexes, status(w).failed) == ("1", 2)
    wait(w, 1000)
    assert indexes(w) == [0, 2]
    assert kinds(w) == []
    end(w, count=2)
    assert kinds(w) == [("FailureTarget", "FailedIndexes"), ("Failed", "FailedIndexes")]
    assert status(w).conditions[-1].message == "Job has failed indexes"
    assert (status(w).completed_indexes, status(w).succeeded) == ("0,2", 2)
    assert all(p.metadata.finalizers == () for p in w.all(Pod))


def test_each_index_waits_for_itself() -> None:
    w = world(**LIMITED | {"backoffLimitPerIndex": 5})
    fail(w, 0)
    wait(w, 11)
    fail(w, 0)  # 20 s from now
    fail(w, 2)  # 10 s
    wait(w, 11)
    assert indexes(w) == [1, 2]
    wait(w, 10)
    assert indexes(w) == [0, 1, 2]
    assert of(w, 0).metadata.annotations[FAILURES] == "2"


def test_other_indexes_take_the_place_of_one_that_waits() -> None:
    w = world(**LIMITED | {"parallelism": 1})
    fail(w, 0)
    assert indexes(w) == [1]


def test_more_failed_indexes_than_allowed_fail_the_job() -> None:
    w = world(**LIMITED | {"backoffLimitPerIndex": 0, "maxFailedIndexes": 1})
    fail(w, 0)
    assert kinds(w) == []
    fail(w, 2)
    assert kinds(w)[-1] == ("Failed", "MaxFailedIndexesExceeded")
    assert status(w).failed_indexes == "0,2"
    assert active(w) == []
    assert status(w).failed == 3


def test_a_job_that_fails_counts_the_pods_that_wait() -> None:
    w = world(**LIMITED | {"completions": 2, "activeDeadlineSeconds": 5})
    fail(w, 0)
    fail(w, 1)
    wait(w, 6)
    assert kinds(w)[-1] == ("Failed", "DeadlineExceeded")
    assert status(w).failed == 2


@pytest.mark.parametrize("seed", range(15))
def test_every_failure_is_counted_exactly_once(seed: int) -> None:
    w = World([jobs.CONTROLLER, gc.CONTROLLER], seed)
    pick = w.random
    limit, completions = pick.randint(0, 2), pick.randint(1, 4)
    spec = LIMITED | {"backoffLimitPerIndex": limit, "completions": completions}
    w = world(seed, **spec)
    failed = dict.fromkeys(range(completions), 0)
    done: set[int] = set()
    for _ in range(60):
        running = active(w)
        if not running and any(c.type in ("Failed", "Complete") for c in status(w).conditions):
            break
        if running:
            pod = pick.choice(running)
            code = pick.randint(0, 1)
            if code:
                failed[job_indexes.index(pod)] += 1
            else:
                done.add(job_indexes.index(pod))
            finish(w, pod, code)
        if pick.random() < 0.7:
            w.settle(agent)
        wait(w, 700)
    over = {i for i, n in failed.items() if n > limit}
    assert job_indexes.parse(status(w).failed_indexes) == over
    assert job_indexes.parse(status(w).completed_indexes) == done
    assert (status(w).failed or 0) == sum(failed.values())
    assert w.need(Job, "j").status.conditions[-1].type == ("Failed" if over else "Complete")

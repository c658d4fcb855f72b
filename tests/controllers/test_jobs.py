"""Jobs: completions, failures, deadlines, suspension, and counts that survive vanishing pods."""

from typing import Any

import pytest

from tests.controllers.simulate import START, World, finish, make, ready, terminate
from weft.api.k8s.batch_v1 import Job, JobStatus
from weft.api.k8s.pod_v1 import Pod
from weft.api.objects import to_json
from weft.api.snapshot import meta
from weft.controllers import gc, job_indexes, job_pods, job_status, jobs
from weft.lib.timefmt import rfc3339
from weft.runtime.plan import Create, Key, Patch

ONE = {"completions": 1, "parallelism": 1}


def job(**spec: Any) -> Job:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main"}]}}
    return make(Job, {"spec": {"backoffLimit": 6, "template": template, **spec}}, name="j")


def world(seed: int = 0, **spec: Any) -> World:
    w = World([jobs.CONTROLLER, gc.CONTROLLER], seed)
    w.put(job(**spec))
    w.settle(agent)
    return w


def agent(w: World) -> bool:
    """Starts pods and lets go of those that are asked to end; they end only in tests' hands."""
    for pod in w.all(Pod):
        if meta(pod).deletion_grace_period_seconds:
            terminate(w, pod)
            return True
        if pod.status.phase == "Pending" and not pod.spec.node_name:
            w.patch(Pod, pod.metadata.name, {"spec": {"nodeName": "n"}})
            ready(w, w.need(Pod, pod.metadata.name))
            return True
    return False


def end(w: World, code: int = 0, count: int = 1) -> None:
    """The first running pods end."""
    for pod in active(w)[:count]:
        finish(w, pod, code)
    w.settle(agent)


def active(w: World) -> list[Pod]:
    return [
        p
        for p in w.all(Pod)
        if p.status.phase in ("Pending", "Running") and not p.metadata.deletion_timestamp
    ]


def status(w: World) -> JobStatus:
    return w.need(Job, "j").status


def kinds(w: World) -> list[tuple[str, str]]:
    return [(c.type, c.reason) for c in status(w).conditions if c.status == "True"]


def wait(w: World, seconds: float) -> None:
    w.pass_time(seconds)
    w.settle(agent)


def test_one_success_completes() -> None:
    w = world(**ONE)
    assert (status(w).active, status(w).ready, status(w).start_time) == (1, 1, rfc3339(START))
    (pod,) = active(w)
    assert pod.metadata.name.startswith("j-")
    assert pod.metadata.labels["batch.kubernetes.io/job-name"] == "j"
    assert pod.metadata.labels["job-name"] == "j"
    wait(w, 5)
    end(w)
    found = status(w)
    assert (found.active, found.succeeded, found.failed) == (None, 1, None)
    assert found.completion_time == rfc3339(START + 5)
    assert kinds(w) == [
        ("SuccessCriteriaMet", "CompletionsReached"),
        ("Complete", "CompletionsReached"),
    ]
    assert found.uncounted_terminated_pods is not None
    assert found.uncounted_terminated_pods.succeeded == ()
    assert [e.reason for e in w.events] == ["SuccessfulCreate", "Completed"]
    assert w.all(Pod)[0].metadata.finalizers == ()


def test_interim_condition_comes_before_the_final_one() -> None:
    w = world(**ONE)
    finish(w, active(w)[0])
    w.step()
    assert kinds(w) == [("SuccessCriteriaMet", "CompletionsReached")]
    assert status(w).succeeded is None
    assert status(w).uncounted_terminated_pods is not None


def test_parallelism_bounds_the_active_pods() -> None:
    w = world(completions=5, parallelism=2)
    for left in (2, 2, 2, 2, 1):
        assert len(active(w)) == left
        end(w)
    assert status(w).succeeded == 5
    assert len(w.all(Pod)) == 5


def test_less_parallelism_stops_surplus_pods() -> None:
    w = world(completions=5, parallelism=3)
    w.patch(Job, "j", {"spec": {"parallelism": 1}})
    w.settle()
    assert len(active(w)) == 1


def test_a_work_queue_ends_when_one_succeeded_and_none_runs() -> None:
    w = world(parallelism=3)
    end(w)
    assert len(active(w)) == 2  # nobody new is started after the first success
    assert kinds(w) == []
    end(w, count=2)
    assert ("Complete", "CompletionsReached") in kinds(w)
    assert status(w).succeeded == 3


def test_failures_are_retried_with_growing_pauses() -> None:
    w = world(**ONE)
    for pause in (10, 20, 40):
        end(w, 1)
        assert active(w) == []
        wait(w, pause - 1)
        assert active(w) == []
        wait(w, 2)
        assert len(active(w)) == 1
    end(w)
    assert (status(w).failed, status(w).succeeded) == (3, 1)
    assert kinds(w)[-1] == ("Complete", "CompletionsReached")


def test_pauses_end_at_ten_minutes_and_successes_reset_them() -> None:
    made = [make(Pod, {}, name=f"p{i}") for i in range(12)]
    w = World([])
    for pod in made:
        finish(w, w.put(pod), 1)
    failed = tuple(w.all(Pod))
    pods = job_pods.Pods((), (), (), failed)
    assert job_pods.backoff(pods, START) == 600
    w.now += 1
    finish(w, w.put(make(Pod, {}, name="ok")))
    w.now += 1
    finish(w, w.put(make(Pod, {}, name="late")), 1)
    later = job_pods.Pods((), (), (w.need(Pod, "ok"),), (*failed, w.need(Pod, "late")))
    assert job_pods.backoff(later, START + 2) == 10


def test_too_many_failures_fail_the_job() -> None:
    w = world(**ONE, backoffLimit=1)
    end(w, 1)
    wait(w, 11)
    end(w, 1)
    assert kinds(w) == [
        ("FailureTarget", "BackoffLimitExceeded"),
        ("Failed", "BackoffLimitExceeded"),
    ]
    assert status(w).conditions[-1].message == "Job has reached the specified backoff limit"
    assert status(w).failed == 2
    assert status(w).completion_time == ""
    wait(w, 1000)
    assert len(w.all(Pod)) == 2


def test_other_pods_are_stopped_when_the_job_fails() -> None:
    w = world(completions=3, parallelism=3, backoffLimit=0)
    end(w, 1)
    assert active(w) == []
    assert status(w).failed == 3
    assert kinds(w)[-1] == ("Failed", "BackoffLimitExceeded")


def test_restarts_inside_of_pods_count_with_on_failure() -> None:
    template = {"spec": {"restartPolicy": "OnFailure", "containers": [{"name": "main"}]}}
    w = world(**ONE, backoffLimit=2, template=template)
    (pod,) = active(w)
    body = {"status": {"containerStatuses": [{"name": "main", "restartCount": 2}]}}
    w._patch(Patch(Pod, "default", pod.metadata.name, body, "status"))
    w.settle(agent)
    assert kinds(w)[-1] == ("Failed", "BackoffLimitExceeded")


def test_the_deadline_fails_the_job() -> None:
    w = world(**ONE, activeDeadlineSeconds=30)
    wait(w, 29)
    assert len(active(w)) == 1
    wait(w, 2)
    assert active(w) == []
    assert kinds(w)[-1] == ("Failed", "DeadlineExceeded")
    last = status(w).conditions[-1]
    assert last.message == "Job was active longer than specified deadline"


def test_ttl_deletes_a_finished_job_with_its_pods() -> None:
    w = world(**ONE, ttlSecondsAfterFinished=60)
    end(w)
    wait(w, 59)
    assert w.get(Job, "j") is not None
    wait(w, 2)
    assert w.get(Job, "j") is None
    assert w.all(Pod) == []
    assert [e.message for e in w.events if e.reason == "TTLExpired"] == [
        "it ended 60 s ago (ttlSecondsAfterFinished): it is deleted with its pods"
    ]


def test_suspension_stops_pods_without_counting_them() -> None:
    w = world(completions=2, parallelism=2)
    w.patch(Job, "j", {"spec": {"suspend": True}})
    w.settle(agent)
    assert w.all(Pod) == []
    assert (status(w).active, status(w).failed, status(w).start_time) == (None, None, "")
    assert kinds(w) == [("Suspended", "JobSuspended")]
    w.pass_time(100)
    w.patch(Job, "j", {"spec": {"suspend": False}})
    w.settle(agent)
    assert len(active(w)) == 2
    assert status(w).start_time == rfc3339(START + 100)
    assert [e.reason for e in w.events] == [
        *["SuccessfulCreate"] * 2, "Suspended", "Resumed", *["SuccessfulCreate"] * 2,
    ]  # fmt: skip


def test_a_job_made_suspended_starts_nothing() -> None:
    w = world(**ONE, suspend=True)
    assert w.all(Pod) == []
    assert status(w).start_time == ""


def test_a_pod_deleted_by_hand_counts_as_failed_and_is_replaced() -> None:
    w = world(**ONE)
    w.delete(Pod, active(w)[0].metadata.name)
    w.settle(agent)
    wait(w, 11)
    assert status(w).failed == 1
    assert len(active(w)) == 1


def test_a_replacement_may_wait_for_the_end_of_the_old_pod() -> None:
    w = world(**ONE, podReplacementPolicy="Failed")
    w.delete(Pod, active(w)[0].metadata.name)
    w.settle()
    assert status(w).terminating == 1
    wait_without_agent(w, 100)
    assert active(w) == []
    w.settle(agent)
    wait(w, 11)
    assert len(active(w)) == 1


def wait_without_agent(w: World, seconds: float) -> None:
    w.pass_time(seconds)
    w.settle()


def test_counts_survive_the_pods() -> None:
    w = world(completions=3, parallelism=1)
    end(w)
    for pod in w.all(Pod):
        if pod.status.phase == "Succeeded":
            w._remove(pod)
    w.settle(agent)
    assert status(w).succeeded == 1
    end(w)
    end(w)
    assert status(w).succeeded == 3
    assert kinds(w)[-1][0] == "Complete"


def test_pods_of_a_deleted_job_are_let_go() -> None:
    w = world(completions=2, parallelism=2)
    w.pass_time(5)
    w.delete(Job, "j")
    w.settle(agent)
    assert w.objects == {}


def test_a_selector_written_by_the_api_server_is_used() -> None:
    w = world(**ONE, selector={"matchLabels": {"batch.kubernetes.io/job-name": "j"}})
    end(w)
    assert kinds(w)[-1][0] == "Complete"


def test_a_finished_job_needs_nothing() -> None:
    w = world(**ONE)
    end(w)
    plan = jobs.plan(w.snapshot(), Key("default", "j"), w.now)
    assert (plan.actions, plan.requeue_after) == ((), None)
    assert jobs.plan(w.snapshot(), Key("default", "other"), w.now).actions == ()


# --- indexes


def indexes(w: World) -> list[int]:
    return sorted(job_indexes.index(p) for p in active(w))


def test_each_index_is_done_once() -> None:
    w = world(completions=4, parallelism=2, completionMode="Indexed")
    assert indexes(w) == [0, 1]
    pod = next(p for p in active(w) if job_indexes.index(p) == 1)
    assert pod.spec.hostname == "j-1"
    assert pod.metadata.labels["batch.kubernetes.io/job-completion-index"] == "1"
    (variable,) = pod.spec.containers[0].env
    assert variable.name == "JOB_COMPLETION_INDEX"
    finish(w, pod)
    w.settle(agent)
    assert indexes(w) == [0, 2]
    assert status(w).completed_indexes == "1"
    for _ in range(3):
        end(w)
    assert status(w).completed_indexes == "0-3"
    assert status(w).succeeded == 4
    assert kinds(w)[-1][0] == "Complete"


def test_a_failed_index_is_tried_again() -> None:
    w = world(completions=2, parallelism=2, completionMode="Indexed")
    finish(w, next(p for p in active(w) if job_indexes.index(p) == 0), 1)
    w.settle(agent)
    wait(w, 11)
    assert indexes(w) == [0, 1]
    assert status(w).failed == 1


# --- at random


@pytest.mark.parametrize("seed", range(30))
def test_every_pod_is_counted_exactly_once(seed: int) -> None:
    """Pods end well or badly, are deleted, vanish after they were counted; plans come late."""
    w = World([jobs.CONTROLLER, gc.CONTROLLER], seed)
    pick = w.random
    completions, parallelism = pick.randint(1, 6), pick.randint(1, 4)
    w.put(job(completions=completions, parallelism=parallelism, backoffLimit=100))
    w.settle(agent)
    good = bad = 0

    def check(world: World) -> None:
        found = world.get(Job, "j")
        if found is not None:
            assert (found.status.succeeded or 0) <= good
            assert (found.status.failed or 0) <= bad
            assert len(active(world)) <= parallelism

    w.check = check
    for _ in range(300):
        if job_status.is_finished(w.need(Job, "j")):
            break
        chance = pick.random()
        running = active(w)
        counted = [p for p in w.all(Pod) if not p.metadata.finalizers and p not in running]
        if running and chance < 0.3:
            good += 1
            finish(w, pick.choice(running))
        elif running and chance < 0.5:
            bad += 1
            finish(w, pick.choice(running), 1)
        elif running and chance < 0.6:
            bad += 1
            w.delete(Pod, pick.choice(running).metadata.name)
        elif counted and chance < 0.7:
            w._remove(pick.choice(counted))
        if chance < 0.8:
            w.settle(agent)
        wait(w, 700)
    w.settle(agent)
    assert (status(w).succeeded or 0, status(w).failed or 0) == (good, bad)
    assert good >= completions
    assert kinds(w)[-1][0] == "Complete"


def test_created_pods_carry_what_the_api_needs() -> None:
    w = World([jobs.CONTROLLER])
    w.put(job(**ONE))
    plan = jobs.plan(w.snapshot(), Key("default", "j"), START)
    (made,) = [a.object for a in plan.actions if isinstance(a, Create)]
    body = to_json(made)
    assert body["kind"] == "Pod"
    assert body["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]
    assert body["metadata"]["generateName"] == "j-"
    (owner,) = body["metadata"]["ownerReferences"]
    assert (owner["apiVersion"], owner["kind"], owner["controller"]) == ("batch/v1", "Job", True)

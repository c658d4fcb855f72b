"""CronJobs: when Jobs start, what happens while one runs, which are kept."""

from typing import Any

from tests.controllers.simulate import START, World, make
from weft.api.k8s.batch_v1 import CronJob, CronJobStatus, Job
from weft.controllers import cronjobs, gc
from weft.lib.timefmt import rfc3339
from weft.runtime.plan import Patch

TEMPLATE = {
    "metadata": {"labels": {"app": "tick"}, "annotations": {"note": "x"}},
    "spec": {"template": {"spec": {"containers": [{"name": "main"}], "restartPolicy": "Never"}}},
}
EVERY = 300
"""START is a multiple of five minutes."""


def world(**spec: Any) -> World:
    w = World([cronjobs.CONTROLLER, gc.CONTROLLER])
    base = {"schedule": "*/5 * * * *", "jobTemplate": TEMPLATE}
    w.put(make(CronJob, {"spec": base | spec}, name="tick"))
    w.settle()
    return w


def jobs(w: World) -> list[str]:
    return [j.metadata.name for j in w.all(Job) if not j.metadata.deletion_timestamp]


def status(w: World) -> CronJobStatus:
    return w.need(CronJob, "tick").status


def wait(w: World, seconds: float = EVERY) -> None:
    w.pass_time(seconds)
    w.settle()


def end(w: World, name: str, kind: str = "Complete") -> None:
    condition = {"type": kind, "status": "True"}
    done = {"conditions": [condition], "startTime": rfc3339(w.now - 1)}
    if kind == "Complete":
        done["completionTime"] = rfc3339(w.now)
    w._patch(Patch(Job, "default", name, {"status": done}, "status"))
    w.settle()


def reasons(w: World) -> list[str]:
    return [e.reason for e in w.events]


def name(number: int) -> str:
    return f"tick-{int(START + number * EVERY) // 60}"


def test_a_job_is_made_when_it_is_time() -> None:
    w = world()
    assert jobs(w) == []
    wait(w, EVERY - 1)
    assert jobs(w) == []
    wait(w, 1)
    assert jobs(w) == [name(1)]
    job = w.need(Job, name(1))
    assert job.metadata.labels == {"app": "tick"}
    assert job.metadata.annotations == {
        "note": "x",
        "batch.kubernetes.io/cronjob-scheduled-timestamp": rfc3339(START + EVERY),
    }
    assert job.metadata.owner_references[0].kind == "CronJob"
    assert status(w).last_schedule_time == rfc3339(START + EVERY)
    assert [a.name for a in status(w).active] == [name(1)]
    assert w.events[-1].message == f"Created job {name(1)}"


def test_what_ended_is_noted() -> None:
    w = world()
    wait(w)
    end(w, name(1))
    assert status(w).active == ()
    assert status(w).last_successful_time == rfc3339(w.now)
    assert w.events[-1].message == f"Saw completed job: {name(1)}, condition: Complete"


def test_runs_may_overlap() -> None:
    w = world(concurrencyPolicy="Allow")
    wait(w)
    wait(w)
    assert jobs(w) == [name(1), name(2)]
    assert len(status(w).active) == 2


def test_forbid_waits_for_the_one_that_runs() -> None:
    w = world(concurrencyPolicy="Forbid")
    wait(w)
    wait(w)
    assert jobs(w) == [name(1)]
    assert "JobAlreadyActive" in reasons(w)
    end(w, name(1))
    assert jobs(w) == [name(1), name(2)]


def test_replace_stops_the_one_that_runs() -> None:
    w = world(concurrencyPolicy="Replace")
    wait(w)
    wait(w)
    assert jobs(w) == [name(2)]
    assert [a.name for a in status(w).active] == [name(2)]


def test_suspended_makes_nothing_and_then_only_the_last() -> None:
    w = world(suspend=True)
    wait(w, 3 * EVERY)
    assert jobs(w) == []
    w.patch(CronJob, "tick", {"spec": {"suspend": False}})
    w.settle()
    assert jobs(w) == [name(3)]


def test_too_late_is_missed() -> None:
    w = world(suspend=True, startingDeadlineSeconds=20)
    wait(w, EVERY + 21)
    w.patch(CronJob, "tick", {"spec": {"suspend": False}})
    w.settle()
    assert jobs(w) == []
    wait(w, EVERY - 11)  # ten seconds late
    assert jobs(w) == [name(2)]


def test_much_missed_is_worth_a_warning() -> None:
    w = world(suspend=True)
    wait(w, 200 * EVERY)
    w.patch(CronJob, "tick", {"spec": {"suspend": False}})
    w.settle()
    assert jobs(w) == [name(200)]
    assert "TooManyMissedTimes" in reasons(w)


def test_old_jobs_are_dropped() -> None:
    w = world(successfulJobsHistoryLimit=2, failedJobsHistoryLimit=0)
    for number in (1, 2, 3, 4):
        wait(w)
        end(w, name(number), "Failed" if number == 2 else "Complete")
    assert jobs(w) == [name(3), name(4)]
    assert reasons(w).count("SuccessfulDelete") == 2


def test_jobs_made_by_hand_are_no_runs() -> None:
    w = world(concurrencyPolicy="Forbid")
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "tick", "controller": True,
             "uid": w.need(CronJob, "tick").metadata.uid}  # fmt: skip
    note = {"cronjob.kubernetes.io/instantiate": "manual"}
    w.put(make(Job, {}, name="now", ownerReferences=[owner], annotations=note))
    w.settle()
    assert status(w).active == ()
    wait(w)
    assert jobs(w) == ["now", name(1)]


def test_a_job_that_vanished_is_noted() -> None:
    w = world()
    wait(w)
    w.delete(Job, name(1))
    w.settle()
    assert "MissingJob" in reasons(w)
    assert status(w).active == ()


def test_unknown_zones_are_told() -> None:
    w = world(timeZone="Mars/Base")
    assert reasons(w) == ["UnknownTimeZone"]
    wait(w)
    assert jobs(w) == []


def test_zones() -> None:
    w = world(schedule="0 0 * * *", timeZone="Asia/Tokyo")
    job_at = {e.message for e in w.events}
    assert job_at == set()
    wait(w, 24 * 3600)
    (made,) = w.all(Job)
    stamp = made.metadata.annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"]
    assert stamp.endswith("T15:00:00Z")


def test_a_job_made_before_a_crash_is_not_made_twice() -> None:
    w = world()
    w.pass_time(EVERY)
    before = w.need(CronJob, "tick").status
    w.settle()
    w.set_status(w.need(CronJob, "tick"), before)
    w.settle()
    assert jobs(w) == [name(1)]
    assert status(w).last_schedule_time == rfc3339(START + EVERY)


def test_jobs_of_nobody_are_not_its_own() -> None:
    """What `kubectl create job` makes has no owner; a CronJob has no selector to adopt it by."""
    w = world()
    alone = make(Job, TEMPLATE, name="alone")
    w.put(alone)
    (watch,) = cronjobs.CONTROLLER.watches
    assert list(watch.to_keys(alone, w.snapshot())) == []
    w.settle()
    assert not w.need(Job, "alone").metadata.owner_references


def test_a_schedule_that_is_never_due_is_told() -> None:
    assert reasons(world(schedule="59 23 31 2 *")) == ["InvalidSchedule"]

"""How long Jobs are expected to run."""

from tests.controllers.simulate import make
from weft.api.k8s.batch_v1 import Job
from weft.scheduler.queues.history import expected, learned


def run(name: str, seconds: int, **meta: object) -> Job:
    minutes, rest = divmod(seconds, 60)
    status = {
        "startTime": "2026-01-01T00:00:00Z",
        "completionTime": f"2026-01-01T00:{minutes:02}:{rest:02}Z",
    }
    return make(Job, {"status": status}, name=name, **meta)


def test_declared_then_learned_then_at_most():
    known = learned([run("train-1", 60), run("train-2", 100), run("other-1", 5)])
    assert expected(make(Job, {}, name="train-7"), known) == 80.0
    declared = make(Job, {}, name="train-8", annotations={"weft.dev/duration": "10m"})
    assert expected(declared, known) == 600.0
    bounded = make(Job, {"spec": {"activeDeadlineSeconds": 30}}, name="new")
    assert expected(bounded, known) == 30.0
    assert expected(make(Job, {}, name="new"), known) is None


def test_what_cannot_be_read_counts_as_not_said():
    odd = make(Job, {}, name="odd", annotations={"weft.dev/duration": "soon"})
    assert expected(odd, {}) is None

"""When metrics are measured, how they are judged, when a run is over."""

from typing import Any

import pytest
from msgspec.structs import replace

from tests.controllers.simulate import START, make
from weft.api.argo.analysis import AnalysisRun, Metric
from weft.api.argo.expressions import ExpressionError
from weft.api.k8s.batch_v1 import Job
from weft.api.snapshot import ObjectSnapshot
from weft.controllers.analysis_runs import Answer, due, measured, shown, verdict
from weft.lib.timefmt import rfc3339
from weft.runtime.plan import Create, Delete

WEB = {"web": {"url": "http://x/{{args.who}}"}}


def run(*metrics: Any, **spec: Any) -> AnalysisRun:
    found = [{"provider": WEB, **m} for m in metrics]
    return make(AnalysisRun, {"spec": {"metrics": found, **spec}}, name="r", uid="u")


class Bench:
    """A run and a clock; every question is answered from a list."""

    def __init__(self, found: AnalysisRun, *objects: Any) -> None:
        self.run, self.now = found, START
        self.objects = list(objects)
        self.asked: list[str] = []

    def go(self, values: list[Any], steps: int = 20) -> "Bench":
        for _ in range(steps):
            snapshot = ObjectSnapshot([self.run, *self.objects])
            found = due(snapshot, self.run, {"who": "me"}, (), self.now)
            self.write(found.status)
            self.objects += [a.object for a in found.actions if isinstance(a, Create)]
            for question in found.questions:
                assert question.provider.web is not None
                self.asked.append(question.provider.web.url)
                value = values.pop(0)
                answer = value if isinstance(value, Answer) else Answer(value)
                times = {"began": self.now, "now": self.now}
                self.write(measured(self.run, self.run.status, question.name, answer, **times))
            if self.phase not in ("", "Running") or not values:
                break
            self.now += found.wait or 1.0
        return self

    def write(self, status: Any) -> None:
        self.run = replace(self.run, status=status)

    @property
    def phase(self) -> str:
        return self.run.status.phase


ERROR = Answer(error="connection refused")


@pytest.mark.parametrize(
    ("metric", "values", "phase"),
    [
        ({"successCondition": "result > 1"}, [2], "Successful"),
        ({"successCondition": "result > 1"}, [1], "Failed"),
        ({"failureCondition": "result > 1"}, [1], "Successful"),
        ({"successCondition": "result > 5", "failureCondition": "result < 1"}, [3], "Inconclusive"),
        ({}, [1], "Successful"),
        ({"count": 3, "interval": "5s", "successCondition": "result > 1"}, [2, 2, 2], "Successful"),
        ({"count": 3, "interval": "5s", "failureLimit": 1, "successCondition": "result > 1"},
         [0, 2, 2], "Successful"),
        ({"count": 3, "interval": "5s", "failureLimit": 1, "successCondition": "result > 1"},
         [0, 2, 0], "Failed"),
        ({"interval": "5s", "successCondition": "result > 1"}, [2, 2, 2, 2], "Running"),
        ({"interval": "5s"}, [ERROR] * 5, "Error"),
        ({"interval": "5s", "consecutiveErrorLimit": 1, "count": 4}, [ERROR, 1, ERROR, 1, 1, 1],
         "Successful"),
        ({"inconclusiveLimit": 2, "count": 2, "interval": "1s", "successCondition": "result > 5",
          "failureCondition": "result < 1"}, [3, 9], "Successful"),
        ({"successCondition": "result.x > 1"}, [[1]] * 5, "Error"),
    ],
)  # fmt: skip
def test_metrics(metric: Any, values: list[Any], phase: str) -> None:
    bench = Bench(run({"name": "m", **metric})).go(values)
    assert bench.phase == phase, bench.run.status
    assert bench.asked[0] == "http://x/me"


def test_the_first_measurement_may_wait_and_few_are_kept() -> None:
    metric = {"name": "m", "initialDelay": "30s", "interval": "10s", "count": 25}
    bench = Bench(run(metric, measurementRetention=[{"metricName": "*", "limit": 3}]))
    assert due(ObjectSnapshot(), bench.run, {}, (), START).wait == 30.0
    bench.go([1] * 25, steps=60)
    (result,) = bench.run.status.metric_results
    assert (bench.phase, result.count, len(result.measurements)) == ("Successful", 25, 3)
    assert bench.now - START >= 30 + 24 * 10


def test_one_failure_ends_the_others_and_says_why() -> None:
    bad = {"name": "bad", "successCondition": "result > 1"}
    bench = Bench(run({"name": "long", "interval": "1h"}, bad)).go([1, 0, 0])
    assert bench.phase == "Failed"
    assert bench.run.status.message == (
        'Metric "bad" assessed Failed due to failed (1) > failureLimit (0)'
    )


def test_arguments_say_how_often_and_how_it_is_judged() -> None:
    metric = {"name": "m", "interval": "{{args.every}}", "count": "{{ args.count }}",
              "successCondition": "result > {{args.least}}"}  # fmt: skip
    args = [{"name": "every", "value": "10s"}, {"name": "count", "value": "2"},
            {"name": "least", "value": "1"}]  # fmt: skip
    bench = Bench(run(metric, args=args)).go([2, 2, 0])
    assert bench.phase == "Successful"
    assert bench.run.status.metric_results[0].count == 2
    bench = Bench(run(metric, args=args)).go([0])
    assert bench.phase == "Failed"


def test_a_dry_run_decides_nothing() -> None:
    bad = {"name": "bad", "successCondition": "result > 1"}
    bench = Bench(run({"name": "good"}, bad, dryRun=[{"metricName": "ba[d]?.*"}])).go([1, 0])
    assert bench.phase == "Successful"
    assert bench.run.status.dry_run_summary is not None
    assert bench.run.status.dry_run_summary.failed == 1


def test_termination_and_missing_arguments() -> None:
    bench = Bench(run({"name": "m", "interval": "1h"}, terminate=True)).go([], steps=1)
    assert (bench.phase, bench.run.status.message) == ("Successful", "Run Terminated")
    lost = run({"name": "m", "interval": "1s"})
    found = due(ObjectSnapshot(), lost, {}, (), START)
    assert "{{args.who}}" in found.status.metric_results[0].measurements[0].message


def test_jobs_are_metrics() -> None:
    job = {
        "job": {
            "spec": {
                "template": {"spec": {"containers": [{"name": "a", "args": ["{{args.who}}"]}]}}
            }
        }
    }
    bench = Bench(run({"name": "Smoke Test", "provider": job})).go([], steps=1)
    (made,) = bench.objects
    assert made.metadata.name == "r-smoke-test-1"
    assert made.spec.template.spec.containers[0].args == ("me",)
    assert bench.phase == "Running"
    for word, phase in (("Complete", "Successful"), ("Failed", "Failed")):
        condition = {"type": word, "status": "True", "message": "it broke"}
        done = make(Job, {"status": {"conditions": [condition]}}, name="r-smoke-test-1")
        found = due(ObjectSnapshot([done]), bench.run, {}, (), START + 1)
        assert found.status.phase == phase
    ended = replace(bench.run, spec=replace(bench.run.spec, terminate=True))
    found = due(ObjectSnapshot([made]), ended, {}, (), START + 1)
    assert [type(a) for a in found.actions] == [Delete]
    assert found.status.phase == "Successful"


def test_values_are_shown() -> None:
    assert shown([1.5, float("nan")]) == "[1.5,NaN]"
    assert shown({"a": 1}) == '{"a":1}'
    assert rfc3339(START)
    with pytest.raises(ExpressionError):
        verdict(Metric(success_condition="result > 'x'"), 1)

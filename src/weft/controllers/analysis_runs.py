"""AnalysisRuns: when each metric is measured, how measurements are judged, when it is over.

Pure: `due` says what to measure now, `measured` takes the answers in. Jobs are made and read here;
what needs the network is asked by whoever runs this (weft.daemon.analyst).
Source of the rules: Argo Rollouts ("Analysis").
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import re2
from msgspec import Struct
from msgspec.structs import replace

from weft.api import conditions
from weft.api.argo.analysis import (
    FINISHED,
    AnalysisRun,
    AnalysisRunStatus,
    Measurement,
    Metric,
    MetricResult,
    RunSummary,
)
from weft.api.argo.expressions import ExpressionError, holds
from weft.api.k8s.batch_v1 import Job
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.snapshot import Snapshot
from weft.controllers.analysis_templates import Problem, filled, with_controls
from weft.controllers.support.ownership import owner_reference
from weft.controllers.support.podstate import seconds
from weft.lib.durations import parse_duration
from weft.lib.timefmt import rfc3339
from weft.runtime.plan import Action, Create, Delete

ERROR_LIMIT_DEFAULT = 4
MEASUREMENTS_KEPT_DEFAULT = 10
ERROR_RETRY_SECONDS = 10.0
VALUE_CHARACTERS_MAX = 1024
JOB_NAME_CHARACTERS_MAX = 63
_JOB = "job-name"
_ORDER = ("Error", "Failed", "Inconclusive")
"""The worst first."""


class Answer(Struct, frozen=True):
    """What a provider said."""

    value: Any = None
    error: str = ""
    """Why there is no value."""


class Due(Struct, frozen=True):
    """What is to be done about a run now."""

    status: AnalysisRunStatus
    questions: tuple[Metric, ...] = ()
    """To ask over the network, arguments filled in."""
    actions: tuple[Action, ...] = ()
    wait: float | None = None
    """Seconds until something is due."""


def due(
    snapshot: Snapshot, run: AnalysisRun, args: Mapping[str, str], asked: Iterable[str], now: float
) -> Due:
    """`args` are the values of all arguments, `asked` the metrics that are being measured."""
    status = run.status
    if not status.phase:
        status = AnalysisRunStatus(phase="Running", started_at=rfc3339(now))
    busy = frozenset(asked)
    ends = run.spec.terminate or _has_failed(run, status)
    questions: list[Metric] = []
    actions: list[Action] = []
    waits: list[float] = []
    results: list[MetricResult] = []
    for metric in (with_controls(m, run.spec.args) for m in run.spec.metrics):
        result = _result(run, status, metric)
        if result.phase in FINISHED:
            results.append(result)
            continue
        open_job = _open(result)
        if open_job is not None:
            result, more = _job_result(snapshot, run, metric, result, ends=ends, now=now)
            actions += more
        elif ends and metric.name not in busy:
            result = replace(result, phase="Successful", message="metric terminated")
        elif metric.name not in busy:
            left = _next(metric, result, status, now)
            if left > 0:
                waits.append(left)
            else:
                result = _begin(run, metric, args, result, out=(questions, actions), now=now)
        results.append(result)
    after = _concluded(run, replace(status, metric_results=tuple(results)), now)
    return Due(after, tuple(questions), tuple(actions), min(waits, default=None))


def measured(
    run: AnalysisRun,
    status: AnalysisRunStatus,
    name: str,
    answer: Answer,
    *,
    began: float,
    now: float,
) -> AnalysisRunStatus:
    """The status with one more measurement of a metric."""
    metric = next((m for m in run.spec.metrics if m.name == name), None)
    if metric is None:
        return status
    metric = with_controls(metric, run.spec.args)
    result = next((r for r in status.metric_results if r.name == name), MetricResult(name=name))
    made = _judged(metric, answer, began, now)
    result = _added(run, metric, result, made)
    rest = [result if r.name == name else r for r in status.metric_results]
    return _concluded(run, replace(status, metric_results=tuple(rest)), now)


# ------------------------------------------------------------------ single metrics


def _result(run: AnalysisRun, status: AnalysisRunStatus, metric: Metric) -> MetricResult:
    found = next((r for r in status.metric_results if r.name == metric.name), None)
    if found is not None:
        return found
    return MetricResult(name=metric.name, phase="Pending", dry_run=_is_dry(run, metric.name))


def _is_dry(run: AnalysisRun, name: str) -> bool:
    return any(_named(d.metric_name, name) for d in run.spec.dry_run)


def _named(pattern: str, name: str) -> bool:
    """A name, an expression such as `error-.*`, or `*` for all."""
    try:
        return pattern in ("*", name) or re2.fullmatch(pattern, name) is not None
    except re2.error:
        return False


def _open(result: MetricResult) -> Measurement | None:
    last = result.measurements[-1] if result.measurements else None
    return last if last is not None and last.phase not in FINISHED else None


def _seconds(text: str) -> float:
    try:
        return parse_duration(text) if text else 0.0
    except ValueError:
        return 0.0


def _next(metric: Metric, result: MetricResult, status: AnalysisRunStatus, now: float) -> float:
    """Seconds until it is to be measured."""
    if not result.measurements:
        return seconds(status.started_at) + _seconds(metric.initial_delay) - now
    last = result.measurements[-1]
    between = _seconds(metric.interval) or (ERROR_RETRY_SECONDS if metric.interval else 0.0)
    if last.phase == "Error":
        between = between or ERROR_RETRY_SECONDS
    return seconds(last.finished_at) + between - now


def _begin(
    run: AnalysisRun,
    metric: Metric,
    args: Mapping[str, str],
    result: MetricResult,
    *,
    out: tuple[list[Metric], list[Action]],
    now: float,
) -> MetricResult:
    """Ask, or start the Job: added to `out`."""
    try:
        ready = filled(metric, args)
    except (Problem, msgspec.ValidationError) as problem:
        bad = _judged(metric, Answer(error=str(problem)), now, now)
        return _added(run, metric, result, bad)
    if ready.provider.job is None:
        out[0].append(ready)
        return replace(result, phase="Running")
    job = _job(run, ready, result)
    out[1].append(Create(job))
    began = Measurement(
        phase="Running", started_at=rfc3339(now), metadata={_JOB: job.metadata.name}
    )
    return replace(result, phase="Running", measurements=(*result.measurements, began))


def _judged(metric: Metric, answer: Answer, began: float, now: float) -> Measurement:
    phase, message = "Error", answer.error
    if not answer.error:
        try:
            phase = verdict(metric, answer.value)
        except ExpressionError as error:
            message = str(error)
    return Measurement(
        phase=phase,
        message=message[:VALUE_CHARACTERS_MAX],
        started_at=rfc3339(began),
        finished_at=rfc3339(now),
        value="" if answer.error else shown(answer.value),
    )


def verdict(metric: Metric, value: Any) -> str:
    """Successful, Failed or Inconclusive. Raises ExpressionError."""
    good, bad = metric.success_condition, metric.failure_condition
    if not good and not bad:
        return "Successful"
    success = holds(good, value) if good else False
    failure = holds(bad, value) if bad else not success
    if not good:
        success = not failure
    if failure:
        return "Failed"
    return "Successful" if success else "Inconclusive"


def shown(value: Any) -> str:
    """A value as the status has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, "NaN")
    if isinstance(value, list):
        return "[" + ",".join(shown(v) for v in value)[:VALUE_CHARACTERS_MAX] + "]"
    if isinstance(value, str):
        return value[:VALUE_CHARACTERS_MAX]
    return msgspec.json.encode(value).decode()[:VALUE_CHARACTERS_MAX]


def _added(
    run: AnalysisRun, metric: Metric, result: MetricResult, made: Measurement
) -> MetricResult:
    """With one more measurement that is over."""
    word = made.phase.lower()
    counts = {word: getattr(result, word) + 1}
    if made.phase == "Error":
        counts["consecutive_error"] = result.consecutive_error + 1
    else:
        counts |= {"count": result.count + 1, "consecutive_error": 0}
    successes = result.consecutive_success + 1 if made.phase == "Successful" else 0
    earlier = [m for m in result.measurements if m.phase in FINISHED]
    kept = [*earlier, made][-_kept(run, metric.name) :]
    result = replace(result, measurements=tuple(kept), consecutive_success=successes, **counts)
    phase, message = _assessed(metric, result)
    return replace(result, phase=phase, message=message)


def _kept(run: AnalysisRun, name: str) -> int:
    limits = [r.limit for r in run.spec.measurement_retention if _named(r.metric_name, name)]
    return max(limits, default=MEASUREMENTS_KEPT_DEFAULT)


def _number(value: int | str | None, default: int) -> int:
    try:
        return default if value is None else int(value)
    except ValueError:
        return default


def _assessed(metric: Metric, result: MetricResult) -> tuple[str, str]:
    """(phase, why) of a metric after a measurement."""
    for word, count, limit, name in (
        ("Failed", result.failed, _number(metric.failure_limit, 0), "failureLimit"),
        ("Inconclusive", result.inconclusive, _number(metric.inconclusive_limit, 0),
         "inconclusiveLimit"),
        ("Error", result.consecutive_error,
         _number(metric.consecutive_error_limit, ERROR_LIMIT_DEFAULT), "consecutiveErrorLimit"),
    ):  # fmt: skip
        if 0 <= limit < count:
            kind = "consecutiveErrors" if word == "Error" else word.lower()
            text = f"{kind} ({count}) > {name} ({limit})"
            last = result.measurements[-1].message if word == "Error" else ""
            return word, f"{text}: {last}" if last else text
    wanted = _number(metric.count, 0) or (0 if metric.interval else 1)
    if wanted and result.count >= wanted:
        return "Successful", ""
    return "Running", ""


# ------------------------------------------------------------------ Jobs


def _job(run: AnalysisRun, metric: Metric, result: MetricResult) -> Job:
    found = metric.provider.job
    assert found is not None
    number = result.count + result.error + 1
    plain = re.sub(r"[^a-z0-9-]+", "-", f"{metric.name}".lower()).strip("-")
    end = f"-{plain}-{number}"
    head = run.metadata.name.replace(".", "-")
    return Job(
        api_version="batch/v1",
        kind="Job",
        metadata=ObjectMeta(
            name=head[: JOB_NAME_CHARACTERS_MAX - len(end)].rstrip("-") + end,
            namespace=run.metadata.namespace,
            labels=dict(found.metadata.labels) | {"analysisrun.argoproj.io/uid": run.metadata.uid},
            annotations=dict(found.metadata.annotations)
            | {
                "analysisrun.argoproj.io/name": run.metadata.name,
                "analysisrun.argoproj.io/metric-name": metric.name,
            },
            owner_references=(owner_reference(run),),
        ),
        spec=found.spec,
    )


def _job_result(
    snapshot: Snapshot, run: AnalysisRun, metric: Metric, result: MetricResult, *, ends: bool,
    now: float,
) -> tuple[MetricResult, list[Action]]:  # fmt: skip
    """What has become of the Job."""
    last = result.measurements[-1]
    job = snapshot.get(Job, last.metadata.get(_JOB, ""), run.metadata.namespace)
    if ends:
        gone = [Delete(Job, job.metadata.namespace, job.metadata.name, job.metadata.uid,
                       propagation="Background")] if job is not None else []  # fmt: skip
        kept = result.measurements[:-1]
        ended = replace(last, phase="Successful", message="terminated", finished_at=rfc3339(now))
        return replace(
            result, phase="Successful", message="metric terminated", measurements=(*kept, ended)
        ), [*gone]
    if job is None:
        return result, []  # not seen yet
    good = conditions.is_true(job.status.conditions, "Complete")
    bad = conditions.condition(job.status.conditions, "Failed")
    if not good and (bad is None or bad.status != "True"):
        return result, []
    made = replace(
        last, phase="Successful" if good else "Failed", finished_at=rfc3339(now),
        message="" if good or bad is None else bad.message,
    )  # fmt: skip
    return _added(run, metric, result, made), []


# ------------------------------------------------------------------ runs


def _has_failed(run: AnalysisRun, status: AnalysisRunStatus) -> bool:
    """Whether a metric that decides is over and was no success: the others end, too."""
    return any(r.phase in _ORDER and not r.dry_run for r in status.metric_results)


def _concluded(run: AnalysisRun, status: AnalysisRunStatus, now: float) -> AnalysisRunStatus:
    results = status.metric_results
    status = replace(
        status,
        run_summary=_summary(r for r in results if not r.dry_run),
        dry_run_summary=_summary(r for r in results if r.dry_run) if run.spec.dry_run else None,
    )
    if len(results) < len(run.spec.metrics) or any(r.phase not in FINISHED for r in results):
        return replace(status, phase="Running", message="")
    deciding: Sequence[MetricResult] = [r for r in results if not r.dry_run]
    for word in _ORDER:
        worst = next((r for r in deciding if r.phase == word), None)
        if worst is not None:
            text = f'Metric "{worst.name}" assessed {word} due to {worst.message}'
            return replace(status, phase=word, message=text, completed_at=rfc3339(now))
    text = "Run Terminated" if run.spec.terminate else ""
    return replace(status, phase="Successful", message=text, completed_at=rfc3339(now))


def _summary(results: Iterable[MetricResult]) -> RunSummary:
    phases = [r.phase for r in results]
    return RunSummary(
        count=len(phases),
        successful=phases.count("Successful"),
        failed=phases.count("Failed"),
        inconclusive=phases.count("Inconclusive"),
        error=phases.count("Error"),
    )

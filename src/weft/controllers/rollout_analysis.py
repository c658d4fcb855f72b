"""The AnalysisRuns of a Rollout: which ones there must be, what their ends mean, which ones go."""

from collections.abc import Sequence

from msgspec import Struct

from weft.api.argo.analysis import (
    FINISHED,
    AnalysisRun,
    AnalysisRunSpec,
    Argument,
    Metric,
    MetricProvider,
    WeftMetric,
)
from weft.api.argo.common import API_VERSION, POD_HASH, RunArgument
from weft.api.argo.rollout import PauseCondition, RunStatus
from weft.api.argo.strategy import RolloutAnalysis
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.wellknown import ANNOTATION_JUDGE
from weft.controllers import analysis_templates as templates
from weft.controllers.analysis_templates import Problem
from weft.controllers.rollout_services import roles
from weft.controllers.rollout_view import Draft, View, hash_of, next_revision_of
from weft.controllers.support.ownership import owner_reference
from weft.controllers.support.podstate import seconds
from weft.lib.timefmt import rfc3339
from weft.runtime.plan import Action, Create, Delete, Patch

LABEL_TYPE = "rollout-type"
LABEL_STEP = "step-index"
STEP, BACKGROUND, PRE, POST = "Step", "Background", "PrePromotion", "PostPromotion"
HISTORY_LIMIT_DEFAULT = 5
JUDGE_INTERVAL = "5s"
JUDGE_WINDOW = "15s"
JUDGE_DEFAULT = "result.errorPercent < 5"
"""What `weft.dev/judge: "true"` asks of the new version."""
JUDGE_FAILURES_MAX = 1


class Wanted(Struct, frozen=True):
    """A run that there must be now."""

    type: str
    analysis: RolloutAnalysis | None
    """None: the mesh judges, by annotation."""
    step: int | None = None


def current(
    view: View, type_: str, step: int | None, known: RunStatus | None
) -> AnalysisRun | None:
    """The run: the one that the status names, else one that goes on and is about the same."""
    runs = view.snapshot.owned(AnalysisRun, view.rollout.metadata.uid)
    if known is not None:
        return next((r for r in runs if r.metadata.name == known.name), None)
    for run in runs:
        labels = run.metadata.labels
        same = labels.get(POD_HASH) == view.hash and labels.get(LABEL_TYPE) == type_
        at = "" if step is None else str(step)
        goes_on = run.status.phase not in FINISHED and not run.spec.terminate
        if same and goes_on and labels.get(LABEL_STEP, "") == at:
            return run
    return None


def ensure(draft: Draft, wanted: Wanted, known: RunStatus | None) -> RunStatus | None:
    """The run as the status shows it, made when it is not there."""
    found = current(draft.view, wanted.type, wanted.step, known)
    if found is not None:
        return shown(found)
    if known is not None and known.status in FINISHED:
        return known
    try:
        made = _made(draft.view, wanted)
    except Problem as problem:
        draft.fail(f"{wanted.type} analysis: {problem}")
        return None
    draft.actions.append(Create(made))
    draft.event("AnalysisRunRunning", f"{wanted.type} analysis run {made.metadata.name} begins")
    return RunStatus(name=made.metadata.name, status="Pending")


def require(draft: Draft) -> None:
    """Templates that are missing are told before their time comes, with all other mistakes."""
    view = draft.view
    canary, blue_green = view.canary, view.blue_green
    wanted: list[RolloutAnalysis | None] = []
    if canary is not None:
        wanted = [canary.analysis, *(step.analysis for step in canary.steps)]
    if blue_green is not None:
        wanted = [blue_green.pre_promotion_analysis, blue_green.post_promotion_analysis]
    for analysis in wanted:
        if analysis is None:
            continue
        try:
            namespace = view.rollout.metadata.namespace
            templates.templates(view.snapshot, namespace, analysis.templates)
        except Problem as problem:
            draft.fail(str(problem))


def shown(run: AnalysisRun) -> RunStatus:
    return RunStatus(run.metadata.name, run.status.phase or "Pending", run.status.message)


def _made(view: View, wanted: Wanted) -> AnalysisRun:
    rollout = view.rollout
    analysis = wanted.analysis
    labels = {POD_HASH: view.hash, LABEL_TYPE: wanted.type}
    if wanted.step is not None:
        labels[LABEL_STEP] = str(wanted.step)
    more = analysis.analysis_run_metadata if analysis is not None else None
    annotations = {"rollout.argoproj.io/revision": str(next_revision_of(view))}
    if more is not None:
        labels, annotations = dict(more.labels) | labels, dict(more.annotations) | annotations
    return AnalysisRun(
        api_version=API_VERSION,
        kind="AnalysisRun",
        metadata=ObjectMeta(
            name=_name(view, wanted),
            namespace=rollout.metadata.namespace,
            labels=labels,
            annotations=annotations,
            owner_references=(owner_reference(rollout),),
        ),
        spec=_judge(view) if analysis is None else _spec(view, analysis),
    )


def _spec(view: View, analysis: RolloutAnalysis) -> AnalysisRunSpec:
    namespace = view.rollout.metadata.namespace
    found = templates.templates(view.snapshot, namespace, analysis.templates)
    given = [argument(view, a) for a in analysis.args]
    return templates.run_spec(found, given, analysis.dry_run, analysis.measurement_retention)


def argument(view: View, given: RunArgument) -> Argument:
    """With its value. Raises Problem."""
    source = given.value_from
    if source is None:
        return Argument(given.name, given.value or "")
    if source.pod_template_hash_value:
        latest = source.pod_template_hash_value == "Latest"
        return Argument(given.name, view.hash if latest else hash_of(view.stable))
    if source.field_ref is not None:
        return Argument(given.name, templates.field(view.rollout, source.field_ref.field_path))
    raise Problem(f"the argument {given.name} has no value")


def _judge(view: View) -> AnalysisRunSpec:
    """What the mesh sees of the new version."""
    condition = view.rollout.metadata.annotations.get(ANNOTATION_JUDGE, "")
    canary = view.canary
    routed = canary is not None and canary.traffic_routing is not None
    service = roles(view.rollout).canary if routed else ""
    mesh = WeftMetric(
        service=service,
        workload="" if service else view.rollout.metadata.name,
        version="" if service else version(view),
        window=JUDGE_WINDOW,
    )
    metric = Metric(
        name="mesh-signals",
        interval=JUDGE_INTERVAL,
        success_condition=JUDGE_DEFAULT if condition == "true" else condition,
        failure_limit=JUDGE_FAILURES_MAX,
        provider=MetricProvider(weft=mesh),
    )
    return AnalysisRunSpec(metrics=(metric,))


def version(view: View) -> str:
    """What the mesh calls the present template."""
    labels = view.template.metadata.labels
    names = ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")
    return next((labels[name] for name in names if labels.get(name)), view.hash)


def _name(view: View, wanted: Wanted) -> str:
    base = f"{view.rollout.metadata.name}-{view.hash}-{next_revision_of(view)}"
    end = {PRE: "-pre", POST: "-post", STEP: f"-{wanted.step}"}.get(wanted.type, "")
    namespace = view.rollout.metadata.namespace
    name, number = base + end, 0
    while view.snapshot.get(AnalysisRun, name, namespace) is not None:
        number += 1
        name = f"{base}{end}.{number}"
    return name


def is_judged(view: View) -> bool:
    return view.rollout.metadata.annotations.get(ANNOTATION_JUDGE, "false") not in ("", "false")


# ------------------------------------------------------------------ what an end means


def react(draft: Draft, run: RunStatus | None, type_: str) -> bool:
    """Abort after a failure, pause when it is not clear. Whether it succeeded."""
    if run is None or run.status not in FINISHED:
        return False
    if run.status == "Successful":
        return True
    if run.status == "Inconclusive":
        pause(draft, "InconclusiveAnalysisRun")
        return False
    text = f": {run.message}" if run.message else ""
    abort(draft, f"{type_} analysis phase {run.status.lower()}{text}")
    return False


def abort(draft: Draft, why: str) -> None:
    """Go back to the old version."""
    if draft.status.abort:
        return
    draft.set(abort=True, message=why)
    number = next_revision_of(draft.view)
    text = f"Rollout aborted update to revision {number}: {why}"
    draft.event("RolloutAborted", text, warning=True)


def pause(draft: Draft, reason: str) -> None:
    """Wait until somebody says what to do."""
    status = draft.status
    resumed = status.controller_pause and not status.pause_conditions
    if resumed or any(p.reason == reason for p in status.pause_conditions):
        return
    draft.event("RolloutPaused", f"Rollout is paused ({reason})")
    condition = PauseCondition(reason, rfc3339(draft.view.now))
    draft.set(pause_conditions=(*status.pause_conditions, condition), controller_pause=True)


# ------------------------------------------------------------------ the others


def end_others(draft: Draft, keep: Sequence[RunStatus | None]) -> list[Action]:
    """Runs that nobody waits for any more end; of ended ones some are kept."""
    view = draft.view
    names = {r.name for r in keep if r is not None}
    runs = view.snapshot.owned(AnalysisRun, view.rollout.metadata.uid)
    actions: list[Action] = []
    over: dict[bool, list[AnalysisRun]] = {True: [], False: []}
    for run in runs:
        if run.metadata.name in names or run.metadata.deletion_timestamp:
            continue
        if run.status.phase in FINISHED:
            over[run.status.phase == "Successful"].append(run)
        elif not run.spec.terminate:
            body = {"spec": {"terminate": True}}
            namespace = run.metadata.namespace
            actions.append(Patch(AnalysisRun, namespace, run.metadata.name, body))
    limits = view.rollout.spec.analysis
    good = limits.successful_run_history_limit if limits is not None else None
    bad = limits.unsuccessful_run_history_limit if limits is not None else None
    for successful, limit in ((True, good), (False, bad)):
        kept = HISTORY_LIMIT_DEFAULT if limit is None else limit
        newest = sorted(over[successful], key=lambda r: -seconds(r.metadata.creation_timestamp))
        for run in newest[kept:]:
            found = run.metadata
            actions.append(Delete(AnalysisRun, found.namespace, found.name, found.uid))
    return actions

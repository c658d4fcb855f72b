"""Experiments: ReplicaSets that run side by side for a while, judged by AnalysisRuns.

Source of the order: Argo Rollouts ("Experiments").
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.argo.analysis import FINISHED, AnalysisRun
from weft.api.argo.common import API_VERSION, POD_HASH, TemplateRef
from weft.api.argo.experiment import (
    Experiment,
    ExperimentAnalysisRunStatus,
    ExperimentAnalysisTemplateRef,
    ExperimentStatus,
    TemplateSpec,
    TemplateStatus,
)
from weft.api.k8s.apps_v1 import ReplicaSet, ReplicaSetSpec
from weft.api.k8s.container_v1 import ContainerPort
from weft.api.k8s.core_v1 import Service, ServicePort, ServiceSpec
from weft.api.k8s.meta_v1 import LabelSelector, ObjectMeta
from weft.api.snapshot import Snapshot
from weft.controllers import analysis_templates as templates
from weft.controllers.analysis_templates import Problem
from weft.controllers.deployment_revisions import template_hash
from weft.controllers.rollout_view import defaulted
from weft.controllers.support import ownership
from weft.controllers.support.ownership import owner_reference
from weft.controllers.support.patches import object_patch, status_patch
from weft.controllers.support.podstate import seconds
from weft.lib.durations import parse_duration
from weft.lib.timefmt import rfc3339
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Action, Create, Delete, Key, Patch, Plan, RecordEvent

DEADLINE_SECONDS_DEFAULT = 600
SCALE_DOWN_SECONDS_DEFAULT = 30
ANNOTATION_NAME = "experiment.argoproj.io/name"
ANNOTATION_TEMPLATE = "experiment.argoproj.io/template-name"
_WORST = ("Error", "Failed", "Inconclusive")


class _Part(Struct, frozen=True):
    """A template, its ReplicaSet, what is told of it."""

    template: TemplateSpec
    found: ReplicaSet | None
    status: TemplateStatus


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Bring the pods up, run the analyses, end in time."""
    experiment = snapshot.get(Experiment, key.name, key.namespace)
    if experiment is None or experiment.metadata.deletion_timestamp:
        return NOTHING
    if experiment.status.phase in FINISHED:
        return _after(snapshot, experiment, now)
    parts = [_part(snapshot, experiment, t, now) for t in experiment.spec.templates]
    actions: list[Action] = []
    waits: list[float] = []
    for part in parts:
        actions += _bring_up(snapshot, experiment, part)
        if part.status.status == "Progressing":
            waits.append(_late(experiment, part, now))
    up = bool(parts) and all(p.status.status == "Running" for p in parts)
    available = experiment.status.available_at or (rfc3339(now) if up else "")
    runs, made, problem = _analyses(snapshot, experiment, bool(available))
    actions += made
    status = replace(
        experiment.status,
        phase="Running" if up or available else "Pending",
        template_statuses=tuple(p.status for p in parts),
        available_at=available,
        analysis_runs=tuple(runs),
    )
    end, left = _ended(experiment, status, problem, now)
    if left is not None:
        waits.append(left)
    if end is not None:
        status = _over(status, *end)
        actions += _terminate(snapshot, status)
        text = f"Experiment ended: {status.phase}{': ' + status.message if status.message else ''}"
        kind = "Normal" if status.phase == "Successful" else "Warning"
        actions.append(RecordEvent(experiment, kind, f"Experiment{status.phase}", text))  # type: ignore[arg-type]
    actions += status_patch(experiment, status)
    return Plan(tuple(actions), requeue_after=min((w for w in waits if w > 0), default=None))


# ------------------------------------------------------------------ pods


def _name(experiment: Experiment, template: TemplateSpec) -> str:
    return f"{experiment.metadata.name}-{template.name}"


def _part(snapshot: Snapshot, experiment: Experiment, template: TemplateSpec, now: float) -> _Part:
    name = _name(experiment, template)
    found = snapshot.get(ReplicaSet, name, experiment.metadata.namespace)
    before = next(
        (s for s in experiment.status.template_statuses if s.name == template.name),
        TemplateStatus(name=template.name, last_transition_time=rfc3339(now)),
    )
    wanted = 1 if template.replicas is None else template.replicas
    there = found.status if found is not None else None
    available = (there.available_replicas or 0) if there is not None else 0
    digest = found.metadata.labels.get(POD_HASH, "") if found is not None else ""
    status = replace(
        before,
        replicas=(there.replicas or 0) if there else 0,
        updated_replicas=(there.replicas or 0) if there else 0,
        ready_replicas=(there.ready_replicas or 0) if there else 0,
        available_replicas=available,
        pod_template_hash=digest,
        service_name=_service_name(experiment, template),
    )
    word = "Running" if found is not None and available >= wanted else "Progressing"
    moved = word != before.status or available > before.available_replicas
    if moved:
        status = replace(status, status=word, last_transition_time=rfc3339(now), message="")
    part = _Part(template, found, status)
    if word == "Progressing" and _late(experiment, part, now) <= 0:
        limit = experiment.spec.progress_deadline_seconds or DEADLINE_SECONDS_DEFAULT
        text = f"pods of {template.name} were not available within {limit} s"
        part = replace(part, status=replace(status, status="Failed", message=text))
    return part


def _late(experiment: Experiment, part: _Part, now: float) -> float:
    """Seconds that its pods still may take."""
    limit = experiment.spec.progress_deadline_seconds
    limit = DEADLINE_SECONDS_DEFAULT if limit is None else limit
    return seconds(part.status.last_transition_time) + limit - now


def _service_name(experiment: Experiment, template: TemplateSpec) -> str:
    if template.service is None:
        return ""
    return template.service.name or _name(experiment, template)


def _bring_up(snapshot: Snapshot, experiment: Experiment, part: _Part) -> list[Action]:
    actions: list[Action] = []
    wanted = 1 if part.template.replicas is None else part.template.replicas
    if part.found is None:
        actions.append(Create(_replica_set(experiment, part.template, wanted)))
    elif (part.found.spec.replicas or 0) != wanted:
        spec = replace(part.found.spec, replicas=wanted)
        actions += object_patch(part.found, replace(part.found, spec=spec))
    name = part.status.service_name
    if name and snapshot.get(Service, name, experiment.metadata.namespace) is None:
        actions.append(Create(_service(experiment, part.template, name)))
    return actions


def _digest(experiment: Experiment, template: TemplateSpec) -> str:
    """Differs from the hash of a Rollout's ReplicaSet with the same pods: these are not its own."""
    text = f"{experiment.metadata.uid}{template.name}"
    return template_hash(defaulted(template.template), sum(text.encode()))


def _replica_set(experiment: Experiment, template: TemplateSpec, replicas: int) -> ReplicaSet:
    digest = _digest(experiment, template)
    labels = dict(template.template.metadata.labels) | {POD_HASH: digest}
    selector = template.selector or LabelSelector()
    return ReplicaSet(
        api_version="apps/v1",
        kind="ReplicaSet",
        metadata=ObjectMeta(
            name=_name(experiment, template),
            namespace=experiment.metadata.namespace,
            labels=labels,
            annotations={
                ANNOTATION_NAME: experiment.metadata.name,
                ANNOTATION_TEMPLATE: template.name,
            },
            owner_references=(owner_reference(experiment),),
        ),
        spec=ReplicaSetSpec(
            replicas=replicas,
            min_ready_seconds=template.min_ready_seconds or 0,
            selector=replace(
                selector, match_labels=dict(selector.match_labels) | {POD_HASH: digest}
            ),
            template=replace(
                template.template, metadata=replace(template.template.metadata, labels=labels)
            ),
        ),
    )


def _service(experiment: Experiment, template: TemplateSpec, name: str) -> Service:
    """With the ports that the pods declare; only a headless Service can do without."""
    declared = [p for c in template.template.spec.containers for p in c.ports if p.container_port]
    ports = tuple(_service_port(p, template) for p in declared)
    selector = dict(template.selector.match_labels) if template.selector is not None else {}
    return Service(
        api_version="v1",
        kind="Service",
        metadata=ObjectMeta(
            name=name,
            namespace=experiment.metadata.namespace,
            owner_references=(owner_reference(experiment),),
        ),
        spec=ServiceSpec(
            selector=selector | {POD_HASH: _digest(experiment, template)},
            cluster_ip="" if ports else "None",
            ports=ports,
        ),
    )


def _service_port(port: ContainerPort, template: TemplateSpec) -> ServicePort:
    number = port.container_port or 0
    made = ServicePort(
        name=port.name or f"port-{number}",
        port=number,
        target_port=number,
        protocol=port.protocol or "TCP",
    )
    wanted = template.service.ports if template.service is not None else ()
    for other in wanted:
        if other.target_port in (number, port.name or None):
            return replace(made, port=other.port or number, name=other.name or made.name)
    return made


# ------------------------------------------------------------------ analyses


def _analyses(
    snapshot: Snapshot, experiment: Experiment, up: bool
) -> tuple[list[ExperimentAnalysisRunStatus], list[Action], str]:
    """How each fares, those that are to be made, and why one cannot be."""
    if not up:
        return [], [], ""
    found: list[ExperimentAnalysisRunStatus] = []
    actions: list[Action] = []
    for wanted in experiment.spec.analyses:
        name = f"{experiment.metadata.name}-{wanted.name}"
        run = snapshot.get(AnalysisRun, name, experiment.metadata.namespace)
        if run is None:
            try:
                actions.append(Create(_run(snapshot, experiment, wanted, name)))
            except Problem as problem:
                return found, [], f"analysis {wanted.name}: {problem}"
            found.append(ExperimentAnalysisRunStatus(wanted.name, name, "Pending"))
        else:
            phase, message = run.status.phase or "Pending", run.status.message
            found.append(ExperimentAnalysisRunStatus(wanted.name, name, phase, message))
    return found, actions, ""


def _run(
    snapshot: Snapshot,
    experiment: Experiment,
    wanted: ExperimentAnalysisTemplateRef,
    name: str,
) -> AnalysisRun:
    namespace = experiment.metadata.namespace
    reference = TemplateRef(wanted.template_name, wanted.cluster_scope)
    found = templates.templates(snapshot, namespace, [reference])
    given = [replace(a, value=_filled(experiment, a.value)) for a in wanted.args]
    more = experiment.spec.analysis_run_metadata
    return AnalysisRun(
        api_version=API_VERSION,
        kind="AnalysisRun",
        metadata=ObjectMeta(
            name=name,
            namespace=namespace,
            labels=dict(more.labels) if more is not None else {},
            annotations=dict(more.annotations) if more is not None else {},
            owner_references=(owner_reference(experiment),),
        ),
        spec=templates.run_spec(
            found, given, experiment.spec.dry_run, experiment.spec.measurement_retention
        ),
    )


def _filled(experiment: Experiment, value: str | None) -> str | None:
    """`{{templates.NAME.podTemplateHash}}` and `{{templates.NAME.replicaset.name}}`."""
    for template in experiment.spec.templates:
        start = f"{{{{templates.{template.name}."
        if value is not None and start in value:
            value = value.replace(f"{start}podTemplateHash}}}}", _digest(experiment, template))
            value = value.replace(f"{start}replicaset.name}}}}", _name(experiment, template))
    return value


# ------------------------------------------------------------------ ends


def _ended(
    experiment: Experiment, status: ExperimentStatus, problem: str, now: float
) -> tuple[tuple[str, str] | None, float | None]:
    """(phase, why) when it is over, and seconds until it is."""
    if problem:
        return ("Error", problem), None
    late = next((t for t in status.template_statuses if t.status == "Failed"), None)
    if late is not None:
        return ("Failed", late.message), None
    for word in _WORST:
        bad = next((r for r in status.analysis_runs if r.phase == word), None)
        if bad is not None:
            text = f"analysis {bad.name} {word.lower()}"
            return (word, f"{text}: {bad.message}" if bad.message else text), None
    if experiment.spec.terminate:
        return ("Successful", "terminated"), None
    if not status.available_at:
        return None, None
    needed = {a.name for a in experiment.spec.analyses if a.required_for_completion}
    open_runs = [r for r in status.analysis_runs if r.name in needed and r.phase not in FINISHED]
    if experiment.spec.duration:
        left = seconds(status.available_at) + parse_duration(experiment.spec.duration) - now
        if left > 0:
            return None, left
        return (None, None) if open_runs else (("Successful", ""), None)
    if needed and not open_runs:
        return ("Successful", ""), None
    return None, None


def _over(status: ExperimentStatus, phase: str, message: str) -> ExperimentStatus:
    word = {"Failed": "Failed", "Error": "Error"}.get(phase, "Successful")
    parts = tuple(
        t if t.status == "Failed" else replace(t, status=word) for t in status.template_statuses
    )
    return replace(status, phase=phase, message=message, template_statuses=parts)


def _terminate(snapshot: Snapshot, status: ExperimentStatus) -> list[Action]:
    return [
        Patch(AnalysisRun, found.metadata.namespace, found.metadata.name,
              {"spec": {"terminate": True}})
        for found in _open_runs(snapshot, status)
    ]  # fmt: skip


def _open_runs(snapshot: Snapshot, status: ExperimentStatus) -> Iterable[AnalysisRun]:
    names = {r.analysis_run for r in status.analysis_runs}
    for found in snapshot.list(AnalysisRun):
        over = found.status.phase in FINISHED or found.spec.terminate
        if found.metadata.name in names and not over:
            yield found


def _after(snapshot: Snapshot, experiment: Experiment, now: float) -> Plan:
    """The pods of an experiment that is over live on for a while; its Services end at once."""
    owned: Sequence[ReplicaSet] = snapshot.owned(ReplicaSet, experiment.metadata.uid)
    actions: list[Action] = []
    for service in snapshot.owned(Service, experiment.metadata.uid):
        at = service.metadata
        actions.append(Delete(Service, at.namespace, at.name, at.uid))
    alive = [r for r in owned if r.spec.replicas]
    if not alive:
        return Plan(tuple(actions))
    delay = experiment.spec.scale_down_delay_seconds
    delay = SCALE_DOWN_SECONDS_DEFAULT if delay is None else delay
    for found in alive:
        stamp = found.metadata.annotations.get("scale-down-deadline", "")
        if delay and not stamp:
            notes = dict(found.metadata.annotations) | {"scale-down-deadline": rfc3339(now + delay)}
            metadata = replace(found.metadata, annotations=notes)
            actions += object_patch(found, replace(found, metadata=metadata))
        elif seconds(stamp) <= now:
            spec = replace(found.spec, replicas=0)
            actions += object_patch(found, replace(found, spec=spec))
    return Plan(tuple(actions), requeue_after=float(delay) if delay else None)


CONTROLLER = Controller(
    name="experiment",
    primary=Experiment,
    plan=plan,
    watches=(
        Watch(ReplicaSet, ownership.owner_keys(Experiment)),
        Watch(AnalysisRun, ownership.owner_keys(Experiment)),
        Watch(Service, ownership.owner_keys(Experiment)),
    ),
)

"""Experiments that a canary runs as one of its steps."""

from msgspec.structs import replace

from weft.api.argo.analysis import FINISHED, Argument
from weft.api.argo.common import API_VERSION, POD_HASH, PodTemplateMetadata
from weft.api.argo.experiment import (
    Experiment,
    ExperimentAnalysisTemplateRef,
    ExperimentSpec,
    TemplateService,
    TemplateSpec,
)
from weft.api.argo.strategy import ExperimentStep, ExperimentStepTemplate
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.controllers import rollout_analysis as analyses
from weft.controllers.analysis_templates import Problem
from weft.controllers.rollout_view import Draft, View, next_revision_of
from weft.controllers.support.ownership import owner_reference
from weft.runtime.plan import Create, Delete, Patch

HISTORY_MAX = 5


def follow(draft: Draft, step: ExperimentStep | None) -> None:
    """The experiment of the present step there must be; others end."""
    view = draft.view
    name = draft.status.canary.current_experiment
    if step is not None and not draft.status.abort:
        name = _ensure(draft, step, name)
    owned = view.snapshot.owned(Experiment, view.rollout.metadata.uid)
    over = []
    for found in owned:
        if found.metadata.name == name and not draft.status.abort:
            continue
        if found.status.phase in FINISHED:
            over.append(found)
        elif not found.spec.terminate:
            at = found.metadata
            body = {"spec": {"terminate": True}}
            draft.actions.append(Patch(Experiment, at.namespace, at.name, body))
    over.sort(key=lambda e: e.metadata.creation_timestamp)
    for old in over[: max(0, len(over) - HISTORY_MAX)]:
        at = old.metadata
        draft.actions.append(Delete(Experiment, at.namespace, at.name, at.uid))


def _ensure(draft: Draft, step: ExperimentStep, name: str) -> str:
    view = draft.view
    namespace = view.rollout.metadata.namespace
    found = view.snapshot.get(Experiment, name, namespace) if name else None
    if found is None:
        if view.stable is None or not view.available(view.stable):
            return name
        try:
            made = _made(view, step, draft.status.current_step_index or 0)
        except Problem as problem:
            draft.fail(f"experiment: {problem}")
            return name
        draft.actions.append(Create(made))
        draft.canary(current_experiment=made.metadata.name)
        draft.event("ExperimentCreated", f"Experiment {made.metadata.name} begins")
        return made.metadata.name
    text = f": {found.status.message}" if found.status.message else ""
    if found.status.phase in ("Failed", "Error"):
        analyses.abort(draft, f"experiment phase {found.status.phase.lower()}{text}")
    elif found.status.phase == "Inconclusive":
        analyses.pause(draft, "InconclusiveExperiment")
    return name


def is_done(draft: Draft, resumed: bool) -> bool:
    view = draft.view
    name = draft.status.canary.current_experiment
    found = view.snapshot.get(Experiment, name, view.rollout.metadata.namespace)
    if found is None:
        return False
    phase = found.status.phase
    return phase == "Successful" or (resumed and phase == "Inconclusive")


def _made(view: View, step: ExperimentStep, index: int) -> Experiment:
    rollout = view.rollout
    base = f"{rollout.metadata.name}-{view.hash}-{next_revision_of(view)}-{index}"
    name, number = base, 0
    while view.snapshot.get(Experiment, name, rollout.metadata.namespace) is not None:
        number += 1
        name = f"{base}-{number}"
    return Experiment(
        api_version=API_VERSION,
        kind="Experiment",
        metadata=ObjectMeta(
            name=name,
            namespace=rollout.metadata.namespace,
            labels={POD_HASH: view.hash},
            annotations={"rollout.argoproj.io/revision": str(next_revision_of(view))},
            owner_references=(owner_reference(rollout),),
        ),
        spec=ExperimentSpec(
            templates=tuple(_template(view, t) for t in step.templates),
            duration=step.duration,
            progress_deadline_seconds=rollout.spec.progress_deadline_seconds,
            analyses=tuple(
                ExperimentAnalysisTemplateRef(
                    name=a.name,
                    template_name=a.template_name,
                    cluster_scope=a.cluster_scope,
                    args=tuple[Argument, ...](analyses.argument(view, arg) for arg in a.args),
                    required_for_completion=a.required_for_completion,
                )
                for a in step.analyses
            ),
            scale_down_delay_seconds=0,
            dry_run=step.dry_run,
            analysis_run_metadata=step.analysis_run_metadata,
        ),
    )


def _template(view: View, wanted: ExperimentStepTemplate) -> TemplateSpec:
    """Pods of one of the versions, with labels that make them nobody else's."""
    if wanted.spec_ref == "stable":
        source = view.stable
        template = source.spec.template if source is not None else view.template
    else:
        template = view.template
    more = wanted.metadata or PodTemplateMetadata()
    labels = {k: v for k, v in template.metadata.labels.items() if k != POD_HASH}
    labels |= dict(more.labels)
    annotations = dict(template.metadata.annotations) | dict(more.annotations)
    selector = wanted.selector or view.selector
    service = wanted.service
    if service is None and wanted.weight is not None:
        service = TemplateService()
    return TemplateSpec(
        name=wanted.name,
        replicas=1 if wanted.replicas is None else wanted.replicas,
        min_ready_seconds=view.rollout.spec.min_ready_seconds,
        selector=selector,
        template=replace(
            template,
            metadata=replace(template.metadata, labels=labels, annotations=annotations),
        ),
        service=service,
    )

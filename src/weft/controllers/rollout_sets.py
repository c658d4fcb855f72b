"""Which ReplicaSet carries a Rollout's template; how sets are made, kept and forgotten."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from weft.api.argo.common import POD_HASH, PodTemplateMetadata
from weft.api.argo.rollout import Rollout
from weft.api.argo.strategy import AntiAffinity
from weft.api.k8s.apps_v1 import ReplicaSet, ReplicaSetSpec
from weft.api.k8s.core_v1 import PodTemplateSpec
from weft.api.k8s.meta_v1 import LabelSelector, LabelSelectorRequirement, ObjectMeta
from weft.api.k8s.pod_v1 import (
    Affinity,
    Pod,
    PodAffinityTerm,
    PodAntiAffinity,
    WeightedPodAffinityTerm,
)
from weft.api.snapshot import Snapshot
from weft.controllers.rollout_view import (
    ANNOTATION_DEADLINE,
    ANNOTATION_DESIRED,
    ANNOTATION_REVISION,
    Draft,
    View,
    hash_of,
    next_revision_of,
    revision,
    size,
)
from weft.controllers.support.ownership import owner_reference
from weft.controllers.support.patches import object_patch
from weft.controllers.support.podstate import seconds
from weft.runtime.plan import Action, Create, Delete, Patch, RecordEvent

HISTORY_LIMIT_DEFAULT = 10
ANNOTATION_GIVEN = "rollout.argoproj.io/ephemeral-metadata"
"""Of a ReplicaSet: labels and annotations that its pods have for their role."""
_HOSTNAME = "kubernetes.io/hostname"
_NOT_COPIED = frozenset({
    "kubectl.kubernetes.io/last-applied-configuration",
    ANNOTATION_REVISION,
    ANNOTATION_DEADLINE,
})  # fmt: skip


def made(view: View) -> ReplicaSet:
    """The ReplicaSet of the present template, without pods."""
    rollout, digest = view.rollout, view.hash
    labels = dict(view.template.metadata.labels) | {POD_HASH: digest}
    found = rollout.metadata.annotations.items()
    annotations = {key: value for key, value in found if key not in _NOT_COPIED}
    annotations[ANNOTATION_REVISION] = str(next_revision_of(view))
    annotations[ANNOTATION_DESIRED] = str(view.wanted)
    template = replace(view.template, metadata=replace(view.template.metadata, labels=labels))
    return ReplicaSet(
        api_version="apps/v1",
        kind="ReplicaSet",
        metadata=ObjectMeta(
            name=set_name(rollout, digest),
            namespace=rollout.metadata.namespace,
            labels=labels,
            annotations=annotations,
            owner_references=(owner_reference(rollout),),
        ),
        spec=ReplicaSetSpec(
            replicas=0,
            min_ready_seconds=rollout.spec.min_ready_seconds or 0,
            selector=replace(
                view.selector, match_labels=dict(view.selector.match_labels) | {POD_HASH: digest}
            ),
            template=_apart(template, _anti_affinity(rollout), digest),
        ),
    )


def set_name(rollout: Rollout, digest: str) -> str:
    return f"{rollout.metadata.name}-{digest}"


def _anti_affinity(rollout: Rollout) -> AntiAffinity | None:
    strategy = rollout.spec.strategy
    if strategy.canary is not None:
        return strategy.canary.anti_affinity
    return strategy.blue_green.anti_affinity if strategy.blue_green is not None else None


def _apart(template: PodTemplateSpec, wish: AntiAffinity | None, digest: str) -> PodTemplateSpec:
    """The template whose pods keep off nodes with pods of other versions."""
    if wish is None:
        return template
    term = PodAffinityTerm(
        label_selector=LabelSelector(
            match_expressions=(
                LabelSelectorRequirement(key=POD_HASH, operator="NotIn", values=(digest,)),
                LabelSelectorRequirement(key=POD_HASH, operator="Exists"),
            ),
            match_labels={k: v for k, v in template.metadata.labels.items() if k != POD_HASH},
        ),
        topology_key=_HOSTNAME,
    )
    affinity = template.spec.affinity or Affinity()
    apart = affinity.pod_anti_affinity or PodAntiAffinity()
    preferred = wish.preferred_during_scheduling_ignored_during_execution
    if preferred is not None:
        weighted = WeightedPodAffinityTerm(pod_affinity_term=term, weight=preferred.weight)
        before = apart.preferred_during_scheduling_ignored_during_execution
        apart = replace(
            apart, preferred_during_scheduling_ignored_during_execution=(*before, weighted)
        )
    else:
        must = apart.required_during_scheduling_ignored_during_execution
        apart = replace(apart, required_during_scheduling_ignored_during_execution=(*must, term))
    spec = replace(template.spec, affinity=replace(affinity, pod_anti_affinity=apart))
    return replace(template, spec=spec)


def keep_revision(draft: Draft) -> None:
    """The present set has the highest revision: one that came back gets a new number."""
    view = draft.view
    if view.new is not None and revision(view.new) < next_revision_of(view):
        draft.note(view.new, ANNOTATION_REVISION, str(next_revision_of(view)))


def written(draft: Draft) -> list[Action]:
    """A patch for each set that changes, each scaling with its event."""
    view = draft.view
    actions: list[Action] = []
    least = view.rollout.spec.min_ready_seconds or 0
    for found in view.all:
        name = found.metadata.name
        after = draft.sizes.get(name, size(found))
        notes: dict[str, str | None] = {**draft.notes.get(name, {})}
        if after != size(found):
            notes[ANNOTATION_DESIRED] = str(view.wanted)
        annotations = dict(found.metadata.annotations) | {
            k: v for k, v in notes.items() if v is not None
        }
        for key in [k for k, v in notes.items() if v is None]:
            annotations.pop(key, None)
        spec = replace(found.spec, replicas=after)
        if (spec.min_ready_seconds or 0) != least:
            spec = replace(spec, min_ready_seconds=least)
        metadata = replace(found.metadata, annotations=annotations)
        actions += object_patch(found, replace(found, metadata=metadata, spec=spec))
        if after != size(found):
            way = "up" if after > size(found) else "down"
            text = f"Scaled {way} replica set {name} from {size(found)} to {after}"
            actions.append(RecordEvent(view.rollout, "Normal", "ScalingReplicaSet", text))
    return actions


def create(view: View) -> list[Action]:
    new = made(view)
    text = f"Created replica set {new.metadata.name}, revision {next_revision_of(view)}"
    return [Create(new), RecordEvent(view.rollout, "Normal", "NewReplicaSetCreated", text)]


def expired(view: View, keep: Sequence[str]) -> list[Action]:
    """Old sets without pods beyond revisionHistoryLimit, oldest first. `keep` are hashes."""
    limit = view.rollout.spec.revision_history_limit
    limit = HISTORY_LIMIT_DEFAULT if limit is None else limit
    old = [r for r in view.others if hash_of(r) not in keep and not r.metadata.deletion_timestamp]
    surplus = sorted(old, key=lambda r: (revision(r), seconds(r.metadata.creation_timestamp)))
    return [
        Delete(ReplicaSet, r.metadata.namespace, r.metadata.name, r.metadata.uid)
        for r in surplus[: max(0, len(old) - limit)]
        if size(r) == 0 and not r.status.replicas
    ]


def given(replica_set: ReplicaSet) -> PodTemplateMetadata:
    """What the pods of a set were given for their role, as the set remembers it."""
    try:
        text = replica_set.metadata.annotations.get(ANNOTATION_GIVEN, "{}")
        return msgspec.json.decode(text, type=PodTemplateMetadata)
    except msgspec.DecodeError:
        return PodTemplateMetadata()


def noted(role: PodTemplateMetadata) -> str | None:
    """What a set is to remember."""
    empty = not role.labels and not role.annotations
    return None if empty else msgspec.json.encode(role, order="sorted").decode()


def mark_pods(
    snapshot: Snapshot, replica_set: ReplicaSet, role: PodTemplateMetadata,
    gone: Mapping[str, frozenset[str]],
) -> list[Action]:  # fmt: skip
    """Give the pods of a set labels and annotations of their role; take away those in `gone`
    (`labels`, `annotations`: names that only another role has, or this one had)."""
    if not role.labels and not role.annotations and not any(gone.values()):
        return []
    labels, annotations = role.labels, role.annotations
    actions: list[Action] = []
    for pod in snapshot.owned(Pod, replica_set.metadata.uid):
        changes: dict[str, dict[str, str | None]] = {}
        for part, wanted in (("labels", labels), ("annotations", annotations)):
            there: Mapping[str, str] = getattr(pod.metadata, part)
            own: Mapping[str, str] = getattr(replica_set.spec.template.metadata, part)
            found: dict[str, str | None] = {k: v for k, v in wanted.items() if there.get(k) != v}
            for name in gone[part] - set(wanted):
                if name in there and there[name] != own.get(name):
                    found[name] = own.get(name)
            if found:
                changes[part] = found
        if changes and not pod.metadata.deletion_timestamp:
            body = {"metadata": changes}
            actions.append(Patch(Pod, pod.metadata.namespace, pod.metadata.name, body))
    return actions

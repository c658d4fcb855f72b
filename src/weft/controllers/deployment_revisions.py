"""Which ReplicaSet carries a Deployment's template, and the history of revisions.

Source: Kubernetes' deployment controller; `kubectl rollout history|undo` read these annotations.
"""

import hashlib
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from weft.api.k8s.apps_v1 import Deployment, ReplicaSet, ReplicaSetSpec
from weft.api.k8s.core_v1 import PodTemplateSpec
from weft.api.k8s.meta_v1 import LabelSelector, ObjectMeta
from weft.api.wellknown import ANNOTATION_DEPLOYMENT_REVISION, LABEL_POD_TEMPLATE_HASH
from weft.controllers.deployment_scaling import (
    ANNOTATION_DESIRED,
    ANNOTATION_MAX,
    Sets,
    next_new_size,
    number,
    scale_marks,
    size,
)
from weft.controllers.support.ownership import owner_reference
from weft.controllers.support.podstate import seconds

ANNOTATION_HISTORY = "deployment.kubernetes.io/revision-history"
HISTORY_LIMIT_DEFAULT = 10
HISTORY_CHARACTERS_MAX = 2000
_NOT_COPIED = frozenset({
    "kubectl.kubernetes.io/last-applied-configuration",
    ANNOTATION_DEPLOYMENT_REVISION,
    ANNOTATION_HISTORY,
    ANNOTATION_DESIRED,
    ANNOTATION_MAX,
})  # fmt: skip
# Letters and digits that spell no words and are not mistaken for each other.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_HASH_LENGTH = 10


def template_hash(template: PodTemplateSpec, collisions: int) -> str:
    """A name-safe hash of the template; `collisions` varies it when a name is taken."""
    text = msgspec.json.encode((template, collisions), order="sorted")
    rest = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
    letters = []
    for _ in range(_HASH_LENGTH):
        rest, digit = divmod(rest, len(_ALPHABET))
        letters.append(_ALPHABET[digit])
    return "".join(letters)


def set_name(deployment: Deployment) -> str:
    """The name of the ReplicaSet of the present template."""
    return f"{deployment.metadata.name}-{_hash(deployment)}"


def split(deployment: Deployment, owned: Sequence[ReplicaSet]) -> Sets:
    """Tell the set of the present template (the oldest, if several) from the others."""
    oldest_first = sorted(owned, key=lambda r: seconds(r.metadata.creation_timestamp))
    new = next((r for r in oldest_first if _same_template(deployment, r)), None)
    if new is None:
        # Defaults added when the set was written may hide that it was made from this template.
        name = set_name(deployment)
        new = next((r for r in oldest_first if r.metadata.name == name), None)
    return Sets(new, tuple(r for r in owned if r is not new))


def revision(replica_set: ReplicaSet) -> int:
    """Its revision number; 0 when it has none."""
    return number(replica_set, ANNOTATION_DEPLOYMENT_REVISION) or 0


def next_revision(sets: Sets) -> int:
    """The revision the new set must have: one more than every old one."""
    return max((revision(r) for r in sets.old), default=0) + 1


def updated(deployment: Deployment, new: ReplicaSet, at_least: int) -> ReplicaSet:
    """The new set with the Deployment's annotations, revision and minReadySeconds."""
    annotations = dict(new.metadata.annotations) | _copied(deployment)
    current = revision(new)
    if current < at_least:
        annotations[ANNOTATION_DEPLOYMENT_REVISION] = str(at_least)
        if current:
            annotations[ANNOTATION_HISTORY] = _history(annotations, current)
    spec = new.spec
    if (spec.min_ready_seconds or 0) != (deployment.spec.min_ready_seconds or 0):
        spec = replace(spec, min_ready_seconds=deployment.spec.min_ready_seconds or 0)
    return replace(new, metadata=replace(new.metadata, annotations=annotations), spec=spec)


def made(deployment: Deployment, sets: Sets) -> ReplicaSet:
    """The ReplicaSet of the present template, at the size it may start with."""
    digest = _hash(deployment)
    template = deployment.spec.template
    labels = dict(template.metadata.labels) | {LABEL_POD_TEMPLATE_HASH: digest}
    selector = deployment.spec.selector or LabelSelector()
    annotations = _copied(deployment) | scale_marks(deployment)
    annotations[ANNOTATION_DEPLOYMENT_REVISION] = str(next_revision(sets))
    empty = ReplicaSet(
        api_version="apps/v1",
        kind="ReplicaSet",
        metadata=ObjectMeta(
            name=set_name(deployment),
            namespace=deployment.metadata.namespace,
            labels=labels,
            annotations=annotations,
            owner_references=(owner_reference(deployment),),
        ),
        spec=ReplicaSetSpec(
            replicas=0,
            min_ready_seconds=deployment.spec.min_ready_seconds,
            selector=replace(
                selector,
                match_labels=dict(selector.match_labels) | {LABEL_POD_TEMPLATE_HASH: digest},
            ),
            template=replace(template, metadata=replace(template.metadata, labels=labels)),
        ),
    )
    start = next_new_size(deployment, sets, empty)
    return replace(empty, spec=replace(empty.spec, replicas=start))


def expired(deployment: Deployment, sets: Sets) -> tuple[ReplicaSet, ...]:
    """Old sets beyond revisionHistoryLimit, oldest revision first; never one that has pods."""
    limit = deployment.spec.revision_history_limit
    limit = HISTORY_LIMIT_DEFAULT if limit is None else limit
    kept = [r for r in sets.old if not r.metadata.deletion_timestamp]
    surplus = len(kept) - limit
    if surplus <= 0:
        return ()
    oldest = sorted(kept, key=lambda r: (revision(r), seconds(r.metadata.creation_timestamp)))
    return tuple(r for r in oldest[:surplus] if _is_empty(r))


def _is_empty(replica_set: ReplicaSet) -> bool:
    observed = replica_set.status.observed_generation or 0
    return (
        size(replica_set) == 0
        and not replica_set.status.replicas
        and (replica_set.metadata.generation or 0) <= observed
    )


def _hash(deployment: Deployment) -> str:
    return template_hash(deployment.spec.template, deployment.status.collision_count or 0)


def _same_template(deployment: Deployment, replica_set: ReplicaSet) -> bool:
    return _bare(deployment.spec.template) == _bare(replica_set.spec.template)


def _bare(template: PodTemplateSpec) -> PodTemplateSpec:
    """The template without the label that only its ReplicaSet adds."""
    labels = dict(template.metadata.labels)
    labels.pop(LABEL_POD_TEMPLATE_HASH, None)
    return replace(template, metadata=replace(template.metadata, labels=labels))


def _copied(deployment: Deployment) -> dict[str, str]:
    found = deployment.metadata.annotations.items()
    return {key: value for key, value in found if key not in _NOT_COPIED}


def _history(annotations: dict[str, str], current: int) -> str:
    """Revisions this set has had before, newest last, cut at the front when too long."""
    past = [r for r in annotations.get(ANNOTATION_HISTORY, "").split(",") if r]
    past.append(str(current))
    while len(past) > 1 and len(",".join(past)) > HISTORY_CHARACTERS_MAX:
        past.pop(0)
    return ",".join(past)

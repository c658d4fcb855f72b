"""Automatic rollback, for Deployments that ask for it: a revision that makes no progress within
its deadline gives way to the one before.

Opt-in by the annotation `weft.dev/auto-rollback: "true"`. Kubernetes only reports such a rollout.
A revision that failed is never rolled back to, so two bad ones do not alternate.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from weft.api import conditions
from weft.api.k8s.apps_v1 import Deployment, ReplicaSet
from weft.api.snapshot import Snapshot
from weft.api.wellknown import (
    ANNOTATION_AUTO_ROLLBACK,
    ANNOTATION_DEPLOYMENT_REVISION,
    ANNOTATION_FAILED_REVISIONS,
    LABEL_POD_TEMPLATE_HASH,
)
from weft.controllers.support import ownership
from weft.controllers.support.patches import object_patch
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Key, Plan, RecordEvent

FAILED_KEPT_MAX = 10
TIMED_OUT = "ProgressDeadlineExceeded"


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Put the template of the last good revision back."""
    found = snapshot.get(Deployment, key.name, key.namespace)
    if found is None or found.metadata.deletion_timestamp or found.spec.paused:
        return NOTHING
    if found.metadata.annotations.get(ANNOTATION_AUTO_ROLLBACK) != "true" or not _is_stuck(found):
        return NOTHING
    sets = snapshot.owned(ReplicaSet, found.metadata.uid)
    current = max(sets, key=_revision, default=None)
    if current is None or _revision(current) != _number(found):
        return NOTHING
    failed = _failed(found)
    target = _last_good(sets, current, {*failed, _hash(current)})
    if target is None:
        return NOTHING
    labels = dict(target.spec.template.metadata.labels)
    labels.pop(LABEL_POD_TEMPLATE_HASH, None)
    metadata = replace(target.spec.template.metadata, labels=labels)
    kept = [*failed, _hash(current)][-FAILED_KEPT_MAX:]
    annotations = dict(found.metadata.annotations) | {ANNOTATION_FAILED_REVISIONS: ",".join(kept)}
    changed = replace(
        found,
        metadata=replace(found.metadata, annotations=annotations),
        spec=replace(found.spec, template=replace(target.spec.template, metadata=metadata)),
    )
    text = (
        f"Rolled back from revision {_revision(current)}, which made no progress in "
        f"{found.spec.progress_deadline_seconds} s, to revision {_revision(target)}"
    )
    event = RecordEvent(found, "Warning", "AutomaticRollback", text)
    return Plan((*object_patch(found, changed, conditional=True), event))


def _is_stuck(found: Deployment) -> bool:
    """Whether the deadline of the template as it is now has passed."""
    progress = conditions.condition(found.status.conditions, "Progressing")
    observed = found.status.observed_generation or 0
    return (
        progress is not None
        and progress.status == "False"
        and progress.reason == TIMED_OUT
        and observed >= (found.metadata.generation or 0)
    )


def _last_good(
    sets: Iterable[ReplicaSet], current: ReplicaSet, failed: set[str]
) -> ReplicaSet | None:
    """The newest earlier revision that has not failed."""
    earlier = (s for s in sets if _revision(s) < _revision(current) and _hash(s) not in failed)
    return max(earlier, key=_revision, default=None)


def _revision(replica_set: ReplicaSet) -> int:
    return _int(replica_set.metadata.annotations.get(ANNOTATION_DEPLOYMENT_REVISION, ""))


def _number(found: Deployment) -> int:
    return _int(found.metadata.annotations.get(ANNOTATION_DEPLOYMENT_REVISION, ""))


def _int(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _hash(replica_set: ReplicaSet) -> str:
    return replica_set.metadata.labels.get(LABEL_POD_TEMPLATE_HASH, "")


def _failed(found: Deployment) -> list[str]:
    text = found.metadata.annotations.get(ANNOTATION_FAILED_REVISIONS, "")
    return [part for part in text.split(",") if part]


CONTROLLER = Controller(
    name="rollback",
    primary=Deployment,
    plan=plan,
    watches=(Watch(ReplicaSet, ownership.owner_keys(Deployment)),),
)

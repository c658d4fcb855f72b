"""How many replicas each ReplicaSet of a Deployment gets next. Numbers only.

Source of the formulas: Kubernetes' deployment controller (fence posts, proportional scaling).
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from weft.api.k8s.apps_v1 import Deployment, ReplicaSet
from weft.controllers.support.podstate import seconds
from weft.controllers.support.rounding import scaled

ANNOTATION_DESIRED = "deployment.kubernetes.io/desired-replicas"
ANNOTATION_MAX = "deployment.kubernetes.io/max-replicas"
_QUARTER = "25%"


class Sets(Struct, frozen=True):
    """The ReplicaSets of a Deployment: the one with its present template, and all others."""

    new: ReplicaSet | None
    old: tuple[ReplicaSet, ...]
    pods: Mapping[str, int] = {}
    """Name of a set -> pods it has that are not on their way out."""
    available_pods: Mapping[str, int] = {}
    """Name of a set -> how many of these are available: fresher than the set's own status."""

    @property
    def all(self) -> tuple[ReplicaSet, ...]:
        return (*self.old, self.new) if self.new else self.old

    def available(self, replica_set: ReplicaSet) -> int:
        """Available pods that a set will keep: no more than it is asked to have."""
        return min(self.available_pods.get(replica_set.metadata.name, 0), size(replica_set))


Sizes = Mapping[str, int]
"""Name of a ReplicaSet -> the replicas it should have; sets not named stay as they are."""


def size(replica_set: ReplicaSet) -> int:
    """Replicas it is asked to have."""
    return 1 if replica_set.spec.replicas is None else replica_set.spec.replicas


def wanted(deployment: Deployment) -> int:
    """Replicas the Deployment asks for."""
    return 1 if deployment.spec.replicas is None else deployment.spec.replicas


def is_rolling(deployment: Deployment) -> bool:
    """Whether the strategy is RollingUpdate (also when none is named)."""
    strategy = deployment.spec.strategy
    return strategy is None or strategy.type in ("", "RollingUpdate")


def fence_posts(deployment: Deployment) -> tuple[int, int]:
    """(max surge, max unavailable) as counts: surge rounds up, unavailable down; both zero would
    let nothing move, so unavailable becomes one. Recreate has neither."""
    if not is_rolling(deployment):
        return 0, 0
    strategy = deployment.spec.strategy
    rolling = strategy.rolling_update if strategy else None
    total = wanted(deployment)
    surge = scaled(rolling.max_surge if rolling else None, total, _QUARTER, up=True)
    gone = scaled(rolling.max_unavailable if rolling else None, total, _QUARTER, up=False)
    if surge == 0 and gone == 0:
        gone = 1
    return surge, min(gone, total)


def min_available(deployment: Deployment) -> int:
    """Pods that a rolling update keeps available."""
    return wanted(deployment) - fence_posts(deployment)[1]


def total_size(replica_sets: Iterable[ReplicaSet]) -> int:
    return sum(size(r) for r in replica_sets)


def scale_marks(deployment: Deployment) -> dict[str, str]:
    """Annotations of a scaled ReplicaSet: what a later proportional scaling starts from."""
    replicas = wanted(deployment)
    return {
        ANNOTATION_DESIRED: str(replicas),
        ANNOTATION_MAX: str(replicas + fence_posts(deployment)[0]),
    }


def number(replica_set: ReplicaSet, annotation: str) -> int | None:
    """An annotation's whole number; None when it is absent or something else."""
    text = replica_set.metadata.annotations.get(annotation, "")
    try:
        return int(text)
    except ValueError:
        return None


def was_scaled(deployment: Deployment, sets: Sets) -> bool:
    """Whether spec.replicas changed since the sets were last scaled.

    Recreate shares pods out among sets never: there the old sets go to zero first.
    """
    active = [r for r in sets.all if size(r) > 0]
    if len(active) > 1 and not is_rolling(deployment):
        return False
    marks = (number(r, ANNOTATION_DESIRED) for r in active)
    return any(m is not None and m != wanted(deployment) for m in marks)


def next_new_size(deployment: Deployment, sets: Sets, new: ReplicaSet) -> int:
    """Replicas of the new set: all that fit under replicas + surge.

    A set that was told to shrink counts with the pods it still has, so that the limit holds for
    pods, not only for what the sets are asked to have.
    """
    replicas = wanted(deployment)
    if not is_rolling(deployment) or size(new) >= replicas:
        return replicas
    there = sum(max(size(r), sets.pods.get(r.metadata.name, 0)) for r in sets.all)
    room = replicas + fence_posts(deployment)[0] - there
    return size(new) + max(0, min(room, replicas - size(new)))


def roll(deployment: Deployment, sets: Sets) -> Sizes:
    """The next step of a rolling update: grow the new set, else shrink the old ones."""
    new = sets.new
    if new is not None and (target := next_new_size(deployment, sets, new)) != size(new):
        return {new.metadata.name: target}
    return _shrink_old(deployment, sets)


def _shrink_old(deployment: Deployment, sets: Sets) -> Sizes:
    """Unhealthy old pods first (oldest set first), then as many as availability allows."""
    floor = min_available(deployment)
    new_unavailable = size(sets.new) - sets.available(sets.new) if sets.new else 0
    allowed = total_size(sets.all) - floor - new_unavailable
    if allowed <= 0:
        return {}
    oldest_first = sorted(sets.old, key=_created)
    sizes = {r.metadata.name: size(r) for r in oldest_first}
    for replica_set in oldest_first:
        cut = min(allowed, size(replica_set) - sets.available(replica_set))
        sizes[replica_set.metadata.name] -= cut
        allowed -= cut
    spare = min(allowed, sum(sets.available(r) for r in sets.all) - floor)
    for replica_set in oldest_first:
        cut = max(0, min(spare, sizes[replica_set.metadata.name]))
        sizes[replica_set.metadata.name] -= cut
        spare -= cut
    return sizes


def recreate(sets: Sets) -> Sizes:
    """First half of Recreate: all old sets to zero."""
    return {r.metadata.name: 0 for r in sets.old if size(r) > 0}


def rescale(deployment: Deployment, sets: Sets) -> Sizes:
    """Carry a change of spec.replicas over to the sets, in proportion when several are active."""
    replicas = wanted(deployment)
    active = [r for r in sets.all if size(r) > 0]
    if len(active) <= 1:
        latest = active[0] if active else sets.new or max(sets.old, key=_created, default=None)
        return {latest.metadata.name: replicas} if latest is not None else {}
    if _is_saturated(deployment, sets):
        return {r.metadata.name: 0 for r in sets.old}
    return _proportional(deployment, active) if is_rolling(deployment) else {}


def _is_saturated(deployment: Deployment, sets: Sets) -> bool:
    """Whether the new set alone has all it should have."""
    replicas = wanted(deployment)
    return sets.new is not None and (
        size(sets.new) == replicas == sets.available(sets.new)
        and number(sets.new, ANNOTATION_DESIRED) == replicas
    )


def _proportional(deployment: Deployment, active: Sequence[ReplicaSet]) -> Sizes:
    replicas = wanted(deployment)
    allowed = replicas + fence_posts(deployment)[0] if replicas > 0 else 0
    to_add = allowed - total_size(active)
    ordered = sorted(active, key=_by_size_newer if to_add > 0 else _by_size_older)
    sizes: dict[str, int] = {}
    added = 0
    for replica_set in ordered:
        share = _share(deployment, replica_set, to_add, added)
        sizes[replica_set.metadata.name] = size(replica_set) + share
        added += share
    first = ordered[0].metadata.name
    sizes[first] = max(0, sizes[first] + to_add - added)
    return sizes


def _share(deployment: Deployment, replica_set: ReplicaSet, to_add: int, added: int) -> int:
    """How many of the pods to add (or, negative, to remove) fall to this set."""
    left = to_add - added
    if size(replica_set) == 0 or left == 0:
        return 0
    fraction = _fraction(deployment, replica_set)
    return min(fraction, left) if to_add > 0 else max(fraction, left)


def _fraction(deployment: Deployment, replica_set: ReplicaSet) -> int:
    if wanted(deployment) == 0:
        return -size(replica_set)
    now_max = wanted(deployment) + fence_posts(deployment)[0]
    before = number(replica_set, ANNOTATION_MAX) or deployment.status.replicas or 0
    if before <= 0:
        return 0
    return int(size(replica_set) * now_max / before + 0.5) - size(replica_set)


def _created(replica_set: ReplicaSet) -> tuple[float, str]:
    return seconds(replica_set.metadata.creation_timestamp), replica_set.metadata.name


def _by_size_older(replica_set: ReplicaSet) -> tuple[int, float, str]:
    return (-size(replica_set), *_created(replica_set))


def _by_size_newer(replica_set: ReplicaSet) -> tuple[int, float, str]:
    created, name = _created(replica_set)
    return -size(replica_set), -created, name

"""A StatefulSet's counts and revisions. Source: Kubernetes' stateful_set_control.go."""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from weft.api.k8s.apps_v1 import StatefulSet, StatefulSetStatus
from weft.api.k8s.pod_v1 import Pod
from weft.controllers import statefulset_pods as members
from weft.controllers.support import podstate


def counted(
    stateful_set: StatefulSet,
    pods: Sequence[Pod],
    revisions: tuple[str, str],
    collisions: int,
    now: float,
) -> StatefulSetStatus:
    """The status as the pods are, `revisions` being the current and the update one. A finished
    rolling update makes the update revision current."""
    current, update = revisions
    min_ready = stateful_set.spec.min_ready_seconds or 0
    healthy = [p for p in pods if members.is_healthy(p)]
    alive = [p for p in pods if not podstate.is_terminating(p)]
    updated = _count(members.revision_of(p) == update for p in alive)
    wanted = members.count(stateful_set)
    status = replace(
        stateful_set.status,
        observed_generation=stateful_set.metadata.generation,
        replicas=len(pods),
        ready_replicas=len(healthy) or None,
        available_replicas=sum(podstate.is_available(p, min_ready, now) for p in healthy),
        current_replicas=_count(members.revision_of(p) == current for p in alive),
        updated_replicas=updated,
        current_revision=current,
        update_revision=update,
        collision_count=collisions,
    )
    done = (updated or 0) == wanted == len(pods) == len(healthy)
    if is_rolling(stateful_set) and done:
        return replace(status, current_replicas=updated, current_revision=update)
    return status


def is_rolling(stateful_set: StatefulSet) -> bool:
    """Whether pods are replaced by themselves when the template changes."""
    strategy = stateful_set.spec.update_strategy
    return strategy is None or strategy.type in ("", "RollingUpdate")


def _count(flags: Iterable[bool]) -> int | None:
    return sum(flags) or None

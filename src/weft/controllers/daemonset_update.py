"""Rolling updates of DaemonSets: which outdated pods go, which nodes get a second pod first.

Source: Kubernetes' daemonset update.go. An outdated pod that is not available goes at once.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from weft.api.k8s.apps_v1 import DaemonSet
from weft.api.k8s.pod_v1 import Pod
from weft.controllers.support import podstate
from weft.controllers.support.history import LABEL_HASH
from weft.controllers.support.rounding import scaled


class Round(Struct, frozen=True):
    """What one plan replaces."""

    deleted: tuple[Pod, ...] = ()
    created: tuple[str, ...] = ()
    """Nodes that get the new pod beside the old one."""


class _Pair(Struct, frozen=True):
    """A node's pods that are not on their way out; one of each kind at most, or `odd`."""

    new: Pod | None
    old: Pod | None
    odd: bool


def is_rolling(daemon_set: DaemonSet) -> bool:
    strategy = daemon_set.spec.update_strategy
    return strategy is None or strategy.type in ("", "RollingUpdate")


def limits(daemon_set: DaemonSet, desired: int) -> tuple[int, int]:
    """(max surge, max unavailable) as counts; both round up, and both zero would move nothing."""
    strategy = daemon_set.spec.update_strategy
    rolling = strategy.rolling_update if strategy else None
    surge = scaled(rolling.max_surge if rolling else None, desired, "0%", up=True)
    limit = rolling.max_unavailable if rolling else None
    gone = 1 if limit is None else scaled(limit, desired, "0%", up=True)
    return surge, (max(1, gone) if surge == 0 else gone)


def is_new(pod: Pod, digest: str) -> bool:
    return pod.metadata.labels.get(LABEL_HASH) == digest


def roll(
    daemon_set: DaemonSet,
    per_node: Mapping[str, Sequence[Pod]],
    digest: str,
    desired: int,
    now: float,
) -> Round:
    """The next step over the nodes that should run the pod."""
    surge, unavailable = limits(daemon_set, desired)
    pairs = {node: _pair(pods, digest) for node, pods in sorted(per_node.items())}
    wait = daemon_set.spec.min_ready_seconds or 0
    up = {
        pod.metadata.uid
        for pair in pairs.values()
        for pod in (pair.new, pair.old)
        if pod is not None and podstate.is_available(pod, wait, now)
    }
    if surge:
        return _beside(pairs, surge, up)
    return _in_place(pairs, unavailable, up)


def _pair(pods: Sequence[Pod], digest: str) -> _Pair:
    alive = [p for p in pods if not podstate.is_terminating(p)]
    new = [p for p in alive if is_new(p, digest)]
    old = [p for p in alive if not is_new(p, digest)]
    odd = len(new) > 1 or len(old) > 1
    return _Pair(new[0] if new else None, old[0] if old else None, odd)


def _in_place(pairs: Mapping[str, _Pair], limit: int, up: set[str]) -> Round:
    missing = 0
    at_once: list[Pod] = []
    candidates: list[Pod] = []
    for pair in pairs.values():
        if pair.odd or (pair.old is None) == (pair.new is None):
            missing += 1
        elif pair.old is None:
            missing += pair.new is not None and pair.new.metadata.uid not in up
        elif pair.old.metadata.uid in up:
            candidates.append(pair.old)
        else:
            missing += 1
            at_once.append(pair.old)
    return Round((*at_once, *candidates[: max(0, limit - missing)]))


def _beside(pairs: Mapping[str, _Pair], limit: int, up: set[str]) -> Round:
    surging = 0
    at_once: list[str] = []
    candidates: list[str] = []
    deleted: list[Pod] = []
    for node, pair in pairs.items():
        if pair.odd:
            surging += 1
        elif pair.old is None:
            continue
        elif pair.new is None:
            (candidates if pair.old.metadata.uid in up else at_once).append(node)
        elif pair.new.metadata.uid in up:
            deleted.append(pair.old)
        else:
            surging += 1
    return Round(tuple(deleted), (*at_once, *candidates[: max(0, limit - surging)]))

"""How many pods each version of a Rollout gets next. Numbers only.

Source of the formulas: Argo Rollouts ("Canary", "Traffic management", "Scaling").
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from weft.api.argo.strategy import CanaryStrategy
from weft.controllers.support.rounding import scaled

_QUARTER = "25%"
PERCENT = 100


class Version(Struct, frozen=True):
    """A ReplicaSet in numbers."""

    name: str
    size: int
    """Pods it is asked to have."""
    pods: int
    """Pods it has."""
    available: int
    goal: int
    """Pods it shall have in the end."""


def fence_posts(canary: CanaryStrategy, replicas: int) -> tuple[int, int]:
    """(max surge, max unavailable) as counts: surge rounds up, unavailable down; both zero would
    let nothing move, so unavailable becomes one."""
    surge = scaled(_percent(canary.max_surge), replicas, _QUARTER, up=True)
    gone = scaled(_percent(canary.max_unavailable), replicas, _QUARTER, up=False)
    if surge == 0 and gone == 0:
        gone = 1
    return surge, min(gone, replicas)


def _percent(value: int | str | None) -> int | str | None:
    """YAML's "1" is a number, too."""
    return int(value) if isinstance(value, str) and value.isdigit() else value


def split(replicas: int, weight: int, surge: int) -> tuple[int, int]:
    """(new, old) pods whose ratio comes nearest to the weight in percent. One more pod than asked
    for is taken where surge allows it and it comes nearer. No version that shall get requests is
    left without a pod, as far as there are enough of them."""
    if replicas == 0:
        return 0, 0
    if weight in (0, PERCENT):
        return (replicas, 0) if weight else (0, replicas)
    options = []
    for total in (replicas, replicas + 1) if surge else (replicas,):
        exact = total * weight / PERCENT
        for canary in {int(exact), min(total, int(exact) + 1)}:
            if (total == 1 and not surge) or 0 < canary < total:
                options.append((abs(canary * PERCENT / total - weight), total, -canary))
    if not options:
        return 1, 0
    _, total, canary = min(options)
    return -canary, total + canary


def share(replicas: int, weight: int, most: int = PERCENT) -> int:
    """Pods for a share of the requests, rounded up."""
    return -(-replicas * weight // most)


def roll(versions: Sequence[Version], replicas: int, surge: int, gone: int) -> Mapping[str, int]:
    """The next sizes on the way to the goals: never more pods than replicas + surge, never fewer
    available than replicas - gone. `versions`: those to grow first stand last."""
    sizes = {v.name: v.size for v in versions}
    # What is to grow, the new version first.
    room = replicas + surge - sum(max(v.size, v.pods) for v in versions)
    for version in reversed(versions):
        more = max(0, min(room, version.goal - version.size))
        sizes[version.name] += more
        room -= more
    if any(sizes[v.name] != v.size for v in versions):
        return sizes
    # Fewer are asked for than there are: pods that are not available go first, new ones too.
    over = sum(v.size for v in versions) - replicas - surge
    for version in reversed(versions):
        idle = version.size - min(version.available, version.size)
        less = max(0, min(over, idle))
        sizes[version.name] -= less
        over -= less
    if any(sizes[v.name] != v.size for v in versions):
        return sizes
    floor = replicas - gone
    spare = sum(min(v.available, v.size) for v in versions) - floor
    for version in versions:
        surplus = version.size - version.goal
        if surplus <= 0:
            continue
        # Pods that are not available cost nothing; of the others as many as may be missing.
        idle = min(surplus, version.size - min(version.available, version.size))
        healthy = max(0, min(surplus - idle, spare))
        sizes[version.name] -= idle + healthy
        spare -= healthy
    return sizes

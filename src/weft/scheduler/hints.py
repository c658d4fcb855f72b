"""What would let a pod run that no node takes: the smallest change that helps, in a sentence."""

from collections.abc import Mapping

from weft.api.k8s.pod_v1 import Pod
from weft.scheduler import filters
from weft.scheduler.cluster import Cluster
from weft.scheduler.filters import Free
from weft.scheduler.ranking import Ranking
from weft.scheduler.resources import CPU, PODS

_MEBI = 1 << 20


def hint(pod: Pod, ranking: Ranking, cluster: Cluster) -> str:
    """By which amounts the pod is too large for the node that fits it best; or that a toleration
    is missing. "" when nothing simple would do."""
    lacks = [
        (found, name)
        for name in ranking.eligible.preference
        if (found := _lacking(ranking.wanted.needs, cluster.free[name]))
        and all(much < ranking.wanted.needs[what] for what, much in found.items())
    ]
    if lacks:
        least, node = min(lacks, key=lambda pair: (len(pair[0]), sum(pair[0].values()), pair[1]))
        parts = [f"{_amount(what, much)} less {what}" for what, much in sorted(least.items())]
        return f"It would fit node {node} with {' and '.join(parts)}."
    tainted = [
        reason for node in cluster.nodes.values() if (reason := filters.tainted(pod.spec, node))
    ]
    if cluster.nodes and len(tainted) == len(cluster.nodes):
        return "A toleration of the taint would let it run."
    return ""


def _lacking(needs: Mapping[str, int], free: Free) -> dict[str, int]:
    found = {}
    for name, need in needs.items():
        room = free.offered.get(name, 0) - free.used.get(name, 0)
        if name != PODS and need > room:
            found[name] = need - room
    return found


def _amount(name: str, much: int) -> str:
    if name == CPU:
        return f"{much}m"
    return f"{-(-much // _MEBI)}Mi" if name.endswith(("memory", "storage")) else str(much)

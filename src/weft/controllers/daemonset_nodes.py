"""Which nodes run a DaemonSet's pod, and the pod of a node.

Source: Kubernetes' daemon_controller.go and daemonset util.
"""

from msgspec import Struct
from msgspec.structs import replace

from weft.api import node_selectors
from weft.api.k8s.apps_v1 import DaemonSet
from weft.api.k8s.core_v1 import Node, Taint
from weft.api.k8s.pod_v1 import (
    Affinity,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Pod,
    PodSpec,
    Toleration,
)
from weft.api.taints import (
    PRESSURES,
    TAINT_NOT_READY,
    TAINT_UNREACHABLE,
    TAINT_UNSCHEDULABLE,
    covers,
)
from weft.controllers.support import podstate
from weft.controllers.support.history import LABEL_HASH
from weft.controllers.support.ownership import owner_reference

_EVERYWHERE = (
    (TAINT_NOT_READY, "NoExecute"),
    (TAINT_UNREACHABLE, "NoExecute"),
    *((taint, "NoSchedule") for taint in PRESSURES.values()),
    (TAINT_UNSCHEDULABLE, "NoSchedule"),
)
_HOST_NETWORK = ("node.kubernetes.io/network-unavailable", "NoSchedule")


class Fit(Struct, frozen=True):
    """Whether a node should get a pod, and whether one that it has may stay."""

    starts: bool
    stays: bool


def fit(daemon_set: DaemonSet, node: Node) -> Fit:
    """By selector, affinity and taints as the pod would meet them."""
    spec = daemon_set.spec.template.spec
    if not node_selectors.admits(spec, node):
        return Fit(starts=False, stays=False)
    tolerated = _tolerations(spec)
    taints = [*node.spec.taints]
    if node.spec.unschedulable:
        taints.append(Taint(key=TAINT_UNSCHEDULABLE, effect="NoSchedule"))
    met = [t for t in taints if not any(covers(o, t) for o in tolerated)]
    return Fit(
        starts=not any(t.effect in ("NoSchedule", "NoExecute") for t in met),
        stays=not any(t.effect == "NoExecute" for t in met),
    )


def node_of(pod: Pod) -> str:
    """The node the pod runs on or is meant for."""
    if pod.spec.node_name:
        return pod.spec.node_name
    names = node_selectors.named(pod.spec) or frozenset()
    return min(names, default="")


def made(daemon_set: DaemonSet, node: str, digest: str) -> Pod:
    """The pod for a node: pinned there by affinity, so that the scheduler checks the rest."""
    pod = podstate.from_template(
        daemon_set.spec.template,
        daemon_set.metadata.namespace,
        f"{daemon_set.metadata.name}-",
        owner_reference(daemon_set),
    )
    labels = dict(pod.metadata.labels) | {LABEL_HASH: digest}
    spec = replace(
        pod.spec, affinity=_pinned(pod.spec.affinity, node), tolerations=_tolerations(pod.spec)
    )
    return replace(pod, metadata=replace(pod.metadata, labels=labels), spec=spec)


def _tolerations(spec: PodSpec) -> tuple[Toleration, ...]:
    wanted = (*_EVERYWHERE, _HOST_NETWORK) if spec.host_network else _EVERYWHERE
    added = (Toleration(key=k, operator="Exists", effect=e) for k, e in wanted)
    return (*spec.tolerations, *(t for t in added if t not in spec.tolerations))


def _pinned(affinity: Affinity | None, node: str) -> Affinity:
    """Required affinity by the node's name in the place of what was required: that is met."""
    name = NodeSelectorRequirement(key=node_selectors.FIELD_NAME, operator="In", values=(node,))
    selector = NodeSelector(node_selector_terms=(NodeSelectorTerm(match_fields=(name,)),))
    affinity = affinity or Affinity()
    return replace(
        affinity,
        node_affinity=replace(
            affinity.node_affinity or NodeAffinity(),
            required_during_scheduling_ignored_during_execution=selector,
        ),
    )

"""What of its own a node may change: admission for writes of nodes. Pure.

Source: Kubernetes' NodeRestriction. The authorizer has said which objects; this says which fields.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import convert

from weft.api import persistent_volumes as pv
from weft.api.k8s.core_v1 import Node
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.k8s.persistent_volume_v1 import PersistentVolume
from weft.api.wellknown import LABEL_HOSTNAME
from weft.apiserver import failures
from weft.apiserver.access import Review, User, Verdict
from weft.apiserver.node_authorizer import node_of
from weft.apiserver.node_graph import NodeGraph
from weft.apiserver.verbs import known_kind

OWN_ANNOTATIONS = "weft.dev/"
"""The prefix of what the agent says about its pods."""
PROTECTED_LABELS = "node-restriction.kubernetes.io"
NODES_LABELS = frozenset({
    "kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch",
    "beta.kubernetes.io/os", "beta.kubernetes.io/arch", "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/zone", "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region",
})  # fmt: skip
"""Labels of Kubernetes' own domains that a node may set."""
NODES_LABEL_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
_ALLOWED = Verdict()
_ONLY = "may only take its finalizer off a volume"
Json = Mapping[str, Any]


class NodeRestriction:
    """access.Admission."""

    def __init__(self, graph: NodeGraph) -> None:
        self._graph = graph

    async def review(self, asked: Review) -> Verdict:
        node = node_of(asked.user)
        if not node:
            return _ALLOWED
        why = _refusal(node, asked)
        if why:
            text = f"node '{node}' {why}"
            raise failures.forbidden(asked.kind, asked.name, text)
        return _ALLOWED

    def check_token(self, user: User, namespace: str, account: str, body: Any) -> None:
        """A node asks for tokens of its own pods only, bound to them. Raises ApiError 403."""
        node = node_of(user)
        if not node:
            return
        spec = body.get("spec") if isinstance(body, Mapping) else None
        bound = spec.get("boundObjectRef") if isinstance(spec, Mapping) else None
        why = "node requested token not bound to a pod"
        if isinstance(bound, Mapping) and bound.get("kind") == "Pod":
            facts = self._graph.pod(namespace, str(bound.get("name") or ""))
            if facts is not None and facts.node == node and bound.get("uid") == facts.uid:
                return
            why = "node requested token bound to a pod scheduled on a different node"
        raise failures.forbidden(known_kind("serviceaccounts"), account, why)


def _refusal(node: str, asked: Review) -> str:
    """Why not; "" when it may."""
    place = (asked.kind.group, asked.kind.plural)
    if place == ("", "nodes"):
        return _node_refusal(node, asked)
    if place == ("", "pods"):
        return _pod_refusal(asked)
    if place == ("", "persistentvolumes"):
        return _volume_refusal(node, asked)
    if place == ("coordination.k8s.io", "leases") and asked.name != node:
        return f"cannot write the lease of '{asked.name}'"
    return ""


def _node_refusal(node: str, asked: Review) -> str:
    if asked.name != node:
        return f"cannot modify node '{asked.name}'"
    if asked.operation == "DELETE" or asked.new is None:
        return "cannot delete its own Node"
    new, old = asked.new, asked.old
    changed = _changed(_labels(new), _labels(old))
    if bad := sorted(name for name in changed if not _may_label(name)):
        return f"is not allowed to modify labels: {', '.join(bad)}"
    if old is None:
        return ""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    for field, words in (("taints", "taints"), ("unschedulable", "unschedulable")):
        if (spec.get(field) or None) != (before.get(field) or None):
            return f"is not allowed to modify {words}"
    for field in ("podCIDR", "podCIDRs"):
        if before.get(field) and spec.get(field) != before.get(field):
            return f"is not allowed to modify {field}"
    return ""


def _volume_refusal(node: str, asked: Review) -> str:
    """It lets go of its own directories once they are removed, and deletes their volumes."""
    old, new = asked.old or {}, asked.new
    volume = convert(dict(old), PersistentVolume)
    names = {LABEL_HOSTNAME: node}
    own = Node(metadata=ObjectMeta(name=node, labels=names))
    if not pv.is_ours(volume) or not pv.reaches(volume, own):
        return "may not touch volumes that are no directories of its own"
    if asked.operation == "DELETE" or new is None:
        return "" if volume.status.phase == "Released" else "may delete released volumes only"
    left = [f for f in volume.metadata.finalizers if f != pv.FINALIZER_DIRECTORY]
    metadata = new.get("metadata") or {}
    same = all(new.get(k) == old.get(k) for k in ("spec", "status"))
    if same and list(metadata.get("finalizers") or ()) == left:
        return (
            "" if _labels(new) == _labels(old) and _annotations(new) == _annotations(old) else _ONLY
        )
    return _ONLY


def _may_label(name: str) -> bool:
    domain, slash, _ = name.rpartition("/")
    if not slash:
        return True
    if domain == PROTECTED_LABELS or domain.endswith(f".{PROTECTED_LABELS}"):
        return False
    reserved = any(
        domain == own or domain.endswith(f".{own}") for own in ("kubernetes.io", "k8s.io")
    )
    if not reserved or name in NODES_LABELS:
        return True
    return any(domain == d or domain.endswith(f".{d}") for d in NODES_LABEL_DOMAINS)


def _pod_refusal(asked: Review) -> str:
    """The status is the node's; of the rest only what the agent says in annotations."""
    new, old = asked.new, asked.old
    if asked.operation == "DELETE":
        return ""
    if new is None or old is None:
        return "may not create pods"
    if _labels(new) != _labels(old):
        return "cannot update labels of pods"
    changed = _changed(_annotations(new), _annotations(old))
    if any(not name.startswith(OWN_ANNOTATIONS) for name in changed):
        return "cannot update annotations of others"
    if new.get("spec") != old.get("spec"):
        return "can only update pod status"
    fixed = ("ownerReferences", "finalizers")
    if any((new["metadata"].get(f) or []) != (old["metadata"].get(f) or []) for f in fixed):
        return "can only update pod status"
    return ""


def _labels(obj: Json | None) -> Json:
    return ((obj or {}).get("metadata") or {}).get("labels") or {}


def _annotations(obj: Json | None) -> Json:
    return ((obj or {}).get("metadata") or {}).get("annotations") or {}


def _changed(new: Json, old: Json) -> set[str]:
    return {name for name in {*new, *old} if new.get(name) != old.get(name)}

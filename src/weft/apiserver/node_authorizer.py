"""What a node may do: its own Node, Lease and pods, and what those pods read. Pure.

Source: Kubernetes' node authorizer with selectors, and its role `system:node`. A node reads
Secrets, ConfigMaps, claims and service accounts by name only, and only those that a pod bound to
it names.
"""

from collections.abc import Sequence

from weft.api.pod_references import ACCOUNTS, CLAIMS, CONFIG_MAPS, SECRETS
from weft.apiserver.access import Attributes, Authorizer, Decision, User
from weft.apiserver.node_graph import NodeGraph

NODES_GROUP = "system:nodes"
NODE_PREFIX = "system:node:"
LEASES_NAMESPACE = "kube-node-lease"
READ = ("get", "list", "watch")
EVERYBODYS = {
    ("", "services"), ("", "nodes"), ("", "persistentvolumes"),
    ("discovery.k8s.io", "endpointslices"),
    ("networking.k8s.io", "ingresses"), ("networking.k8s.io", "ingressclasses"),
    ("networking.istio.io", "gateways"), ("networking.istio.io", "serviceentries"),
    ("gateway.networking.k8s.io", "gateways"), ("gateway.networking.k8s.io", "gatewayclasses"),
    ("gateway.networking.k8s.io", "listenersets"),
}  # fmt: skip
"""Read by every node: names and addresses, nothing secret."""
REVIEWS = {
    ("authentication.k8s.io", "tokenreviews"), ("authorization.k8s.io", "subjectaccessreviews"),
    ("authorization.k8s.io", "localsubjectaccessreviews"),
}  # fmt: skip
PATHS = ("/weft/v1/node/",)
"""Where nodes connect to the control plane."""
SPANS_PATH = "/weft/v1/node/v1/traces"
"""Where they send what applications report."""
_NAMED = (SECRETS, CONFIG_MAPS, CLAIMS, ACCOUNTS)
_NO = Decision(False)


def node_of(user: User) -> str:
    """The node that a user is; "" for everybody else."""
    if NODES_GROUP not in user.groups or not user.name.startswith(NODE_PREFIX):
        return ""
    return user.name.removeprefix(NODE_PREFIX)


class NodeAuthorizer:
    """Says yes, or nothing."""

    def __init__(self, graph: NodeGraph) -> None:
        self._graph = graph

    def decide(self, user: User, wanted: Attributes) -> Decision:
        node = node_of(user)
        if not node:
            return _NO
        if wanted.path:
            reads = wanted.verb == "get" and wanted.path.startswith(PATHS)
            return Decision(reads or (wanted.verb, wanted.path) == ("post", SPANS_PATH))
        if wanted.group == "" and wanted.resource in _NAMED:
            return self._named(node, wanted)
        return Decision(self._own(node, wanted) or _common(wanted))

    def _named(self, node: str, wanted: Attributes) -> Decision:
        token = wanted.subresource == "token" and wanted.resource == ACCOUNTS
        reading = wanted.verb in READ and not wanted.subresource
        if not reading and not (token and wanted.verb == "create"):
            return Decision(False, f"nodes may only read {wanted.resource}")
        if not wanted.name or not wanted.namespace:
            return Decision(False, f"nodes read {wanted.resource} by name only")
        if self._graph.reads(node, wanted.resource, wanted.namespace, wanted.name):
            return Decision(True)
        return Decision(False, f"no pod of node '{node}' uses it")

    def _own(self, node: str, wanted: Attributes) -> bool:
        """What belongs to this node alone."""
        verb, name = wanted.verb, wanted.name
        place = (wanted.group, wanted.resource)
        if place == ("", "nodes"):
            # The name of what is created is in the body: NodeRestriction looks at it.
            own = name == node or (verb == "create" and not name)
            return own and verb in ("create", "update", "patch") and _is(wanted, "", "status")
        if place == ("coordination.k8s.io", "leases"):
            own = name == node or (verb == "create" and not name)
            verbs = ("get", "create", "update", "patch", "delete")
            return own and wanted.namespace == LEASES_NAMESPACE and verb in verbs
        if place == ("", "pods"):
            return self._pods(node, wanted)
        # NodeRestriction looks whether the volume is a directory of this node.
        return (
            place == ("", "persistentvolumes") and verb in ("patch", "delete") and _is(wanted, "")
        )

    def _pods(self, node: str, wanted: Attributes) -> bool:
        verb, sub = wanted.verb, wanted.subresource
        if verb in ("list", "watch") and not wanted.name:
            return wanted.selected_node == node
        mine = self._graph.runs(node, wanted.namespace, wanted.name)
        allowed = {"": ("get", "list", "watch", "delete", "patch"), "status": ("update", "patch")}
        return mine and (verb in allowed.get(sub, ()) or (sub, verb) == ("eviction", "create"))


def _is(wanted: Attributes, *subresources: str) -> bool:
    return wanted.subresource in subresources


def _common(wanted: Attributes) -> bool:
    place, verb = (wanted.group, wanted.resource), wanted.verb
    if place in EVERYBODYS and not wanted.subresource:
        return verb in READ
    if place in REVIEWS:
        return verb == "create"
    if place in (("", "events"), ("events.k8s.io", "events")):
        return verb in ("create", "update", "patch") and not wanted.subresource
    if place == ("certificates.k8s.io", "certificatesigningrequests"):
        return verb in ("create", *READ) and not wanted.subresource
    return False


class FirstYes:
    """The first authorizer that allows; else the first reason that one gives."""

    def __init__(self, ways: Sequence[Authorizer]) -> None:
        self._ways = ways

    def decide(self, user: User, wanted: Attributes) -> Decision:
        reason = ""
        for way in self._ways:
            decision = way.decide(user, wanted)
            if decision.allowed:
                return decision
            reason = reason or decision.reason
        return Decision(False, reason)

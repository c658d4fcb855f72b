"""NetworkPolicies where nothing holds them."""

from weft.api.k8s.core_v1 import Node
from weft.api.k8s.networking_v1 import NetworkPolicy
from weft.api.wellknown import ANNOTATION_NODE_ISOLATION, ISOLATION_HOST
from weft.mesh.analysis import catalogue as c
from weft.mesh.analysis.world import World
from weft.mesh.findings import Findings

NODES_NAMED_MAX = 8


def unenforced(world: World, report: Findings) -> None:
    """Policies while there are nodes whose pods have no networks of their own."""
    open_nodes = sorted(
        node.metadata.name
        for node in world.snapshot.list(Node)
        if node.metadata.annotations.get(ANNOTATION_NODE_ISOLATION) == ISOLATION_HOST
    )
    if open_nodes:
        named = ", ".join(open_nodes[:NODES_NAMED_MAX])
        for policy in world.snapshot.list(NetworkPolicy):
            report.add(c.NETWORK_POLICY_UNENFORCED, policy, "spec", nodes=named)


CHECKS = (unenforced,)

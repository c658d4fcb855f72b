"""How a call travels to an endpoint: within a node, or between nodes over mutual TLS."""

from collections.abc import Mapping, Sequence

from weft.mesh.model import Destination, Endpoint


def travels(
    endpoint: Endpoint,
    destination: Destination,
    callers: Sequence[str],
    nodes: Mapping[str, str],
    identity: str,
) -> str:
    """In words; empty where there is nothing to say. `callers`: the nodes that calls come from
    (none: any, as from gateways); `nodes`: address of each node whose proxy takes calls."""
    others = len(nodes) > 1
    if not others or not endpoint.pod_uid or not endpoint.node or destination.protocol == "udp":
        return ""
    near = endpoint.node in callers
    if near and len(callers) == 1:
        return "within the node"
    address = nodes.get(endpoint.node, "")
    if endpoint.address == address:
        return "in the clear: it is in its node's network, not in the mesh"
    if not address:
        return f"not called from other nodes: the proxy of node {endpoint.node} has no address"
    text = f"mutual TLS to the proxy of node {endpoint.node}, as {identity}"
    return text if callers and not near else f"{text}; within that node none is needed"

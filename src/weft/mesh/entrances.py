"""Calls between nodes: which endpoints are reached through another node's proxy, and what this
node's proxy takes from others.

The caller's proxy has applied the callee's policies already, with all that it knows of the caller.
The callee's proxy applies them again as far as it can judge them: by the identity that the caller
proved with its certificate, and by the request. Addresses of callers and verified tokens are known
to the caller's proxy only, so conditions on them are taken for decided there.
"""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from weft.mesh.access import Connection, allows, moved_ports
from weft.mesh.memo import Memo
from weft.mesh.model import (
    GATEWAY_ACCOUNT,
    AccessCondition,
    AccessPolicy,
    AccessRule,
    Destination,
    Endpoint,
    Entrance,
    MeshModel,
    Peers,
    Workload,
    entrance_name,
)

SPIFFE = "spiffe://"
DECIDED_BY_CALLER = frozenset(("source_ip", "remote_ip", "token_principal", "claim", "cel"))
"""Conditions that only the caller's proxy can judge."""
_REQUESTS = ("http", "http2", "grpc", "auto")
_GROUP = tuple[tuple[AccessCondition, ...], ...]


def peers_of(model: MeshModel, node: str) -> Peers:
    """What the node needs to know of the others; alone it is called by nobody."""
    others = tuple(pair for pair in model.nodes if pair[0] != node)
    return Peers(
        address=dict(model.nodes).get(node, "") if others else "",
        identity=f"{SPIFFE}{model.trust_domain}/node/{node}",
        nodes=others,
        trust_domains=(model.trust_domain, *model.trust_domain_aliases),
        connection_seconds=model.connection_seconds,
    )


def through_gates(destination: Destination, node: str, peers: Peers) -> Destination:
    """The destination as the node reaches it: pods of other nodes through their nodes' proxies.

    A pod of a node whose proxy takes no calls is left out: nothing goes over a network in the
    clear because somebody forgot an address. Pods in their node's network are none of the mesh,
    and datagrams are not encrypted.
    """
    if destination.discovery != "endpoints" or destination.protocol == "udp":
        return destination
    if not any(e.pod_uid and e.node not in ("", node) for e in destination.endpoints):
        return destination
    addresses = dict(peers.nodes)
    endpoints = (_gated(e, node, addresses) for e in destination.endpoints)
    return replace(destination, endpoints=tuple(e for e in endpoints if e is not None))


def _gated(endpoint: Endpoint, node: str, addresses: Mapping[str, str]) -> Endpoint | None:
    if not endpoint.pod_uid or endpoint.node in ("", node):
        return endpoint
    address = addresses.get(endpoint.node, "")
    if not address:
        return None
    if endpoint.address == address:
        return endpoint
    return replace(endpoint, gate=entrance_name(endpoint.pod_uid, endpoint.port))


Ports = Mapping[str, tuple[tuple[str, int], ...]]
"""Node -> (pod, port) that a destination names there."""


def ports_by_node(destination: Destination) -> Ports:
    """The pods of a destination by their nodes."""
    found: dict[str, list[tuple[str, int]]] = {}
    if destination.protocol != "udp" and destination.discovery == "endpoints":
        places = [(e.node, e.pod_uid, e.port) for e in destination.endpoints]
        places += [(c.node, c.pod_uid, c.port) for c in destination.coming]
        for at, uid, port in places:
            if uid and at:
                found.setdefault(at, []).append((uid, port))
    return {node: tuple(ports) for node, ports in found.items()}


def entrances(
    model: MeshModel, node: str, own: Iterable[Workload], memo: Memo
) -> tuple[Entrance, ...]:
    """What the node's proxy takes from others: every port of its pods that a destination names."""
    by_uid = {w.uid: w for w in own}
    ports: dict[tuple[str, int], tuple[bool, bool]] = {}
    every = memo.mapped("ports by node", ports_by_node, zip(model.destinations))
    for destination, named in zip(model.destinations, every, strict=True):
        requests, inbound = destination.protocol in _REQUESTS, destination.through_inbound
        for uid, port in named.get(node, ()):
            if uid in by_uid:
                had = ports.get((uid, port), (False, False))
                ports[uid, port] = (had[0] or requests, had[1] or inbound)
    callers = _callers(model) if any(by_uid[uid].access for uid, _ in ports) else {}
    return tuple(
        Entrance(
            name=entrance_name(uid, port),
            workload=by_uid[uid],
            port=port,
            requests=requests,
            policies=judged_here(_access(by_uid[uid], port)),
            callers=_allowed(_access(by_uid[uid], port), port, callers),
            through_inbound=inbound,
        )
        for (uid, port), (requests, inbound) in sorted(ports.items())
    )


def _access(workload: Workload, port: int) -> tuple[AccessPolicy, ...]:
    """The policies of a workload, in the port where its proxy listens for the program."""
    own = next((i.port for i in workload.ingress if i.bound == port != i.port), 0)
    if not own:
        return workload.access
    place = Endpoint(workload.address, port, own_port=own)
    return tuple(moved_ports(place, policy) for policy in workload.access)


def _callers(model: MeshModel) -> dict[str, set[str]]:
    """Principal -> addresses of its pods."""
    gateway = f"{SPIFFE}{model.trust_domain}/{GATEWAY_ACCOUNT}"
    found: dict[str, set[str]] = {"": {""}, gateway: {""}}
    for workload in model.workloads:
        found.setdefault(workload.principal, set()).add(workload.address)
    return found


def _allowed(
    access: tuple[AccessPolicy, ...], port: int, callers: Mapping[str, set[str]]
) -> tuple[str, ...] | None:
    """Who may open connections of bytes: identities with a pod that may."""
    if not access:
        return None
    return tuple(
        sorted(
            principal
            for principal, addresses in callers.items()
            if any(allows(access, Connection(principal, a, None, port)) for a in addresses)
        )
    )


def judged_here(policies: tuple[AccessPolicy, ...]) -> tuple[AccessPolicy, ...]:
    """The policies without what the caller's proxy has decided: it holds in permissions, and
    refuses nothing a second time."""
    enforced = (p for p in policies if p.action in ("allow", "deny") and not p.dry_run)
    return tuple(_judged(policy) for policy in enforced)


def _judged(policy: AccessPolicy) -> AccessPolicy:
    permits = policy.action == "allow"
    rules = []
    for rule in policy.rules:
        groups = [_without(group, permits=permits) for group in rule.groups]
        if permits:
            rules.append(AccessRule(tuple(g for g in groups if g)))
        elif all(groups):
            rules.append(AccessRule(tuple(groups)))
    return policy if tuple(rules) == policy.rules else replace(policy, rules=tuple(rules))


def _without(group: _GROUP, *, permits: bool) -> _GROUP:
    """Alternatives without such conditions; none: it holds (permission) or cannot (denial)."""
    kept: list[tuple[AccessCondition, ...]] = []
    for alternative in group:
        rest = tuple(c for c in alternative if c.kind not in DECIDED_BY_CALLER)
        if rest == alternative:
            kept.append(alternative)
        elif permits and not rest:
            return ()
        elif permits:
            kept.append(rest)
    return tuple(kept)

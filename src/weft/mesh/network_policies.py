"""NetworkPolicies: who may call whom, by pods, namespaces, addresses and ports. Pure.

Two things hold them. Calls of the mesh come from the node's proxy, which knows the pod that makes
them: for it they become denials by the callers' addresses. All else is stopped by the kernel, in
the pods' networks (`Walls`). Source: the NetworkPolicy reference of networking.k8s.io/v1.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.k8s.core_v1 import Namespace
from weft.api.k8s.networking_v1 import NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort
from weft.api.k8s.pod_v1 import Pod
from weft.api.selectors import from_selector
from weft.mesh.authorization import ROOT_NAMESPACE
from weft.mesh.model import (
    Access,
    AccessCondition,
    AccessPolicy,
    AccessRule,
    Destination,
    Door,
    Endpoint,
    Gap,
    StringMatch,
    Walls,
    Workload,
)
from weft.mesh.model.walls import ANY_ADDRESS, PORT_MAX
from weft.mesh.workloads import TERMINAL_PHASES

EDGE_LABELS: Mapping[str, str] = {"app": "istio-ingressgateway", "istio": "ingressgateway"}
"""Of the pods that gateways would be elsewhere, in the root namespace."""
PROXY_HOSTS = (1, 254)
"""Addresses of a node's proxy in its pod network."""
JUDGE_HOSTS = (1,)
"""The one that it calls pods from whose policies it has applied."""
POD_NETWORK_PREFIX = 24
TITLE = "NetworkPolicy "
"""How the names of the policies made here begin."""
Ports = tuple[tuple[str, str, int], ...]
"""(name, protocol, number)."""


class PolicyPod(Struct, frozen=True, gc=False):
    """What policies see of a pod."""

    uid: str
    namespace: str
    address: str
    labels: tuple[tuple[str, str], ...]
    ports: Ports


def policy_pod(pod: Pod) -> PolicyPod | None:
    """None for pods that no policy is about: those in the node's network, and without one."""
    if pod.spec.host_network or not pod.status.pod_ip or pod.status.phase in TERMINAL_PHASES:
        return None
    containers = (*pod.spec.containers, *pod.spec.init_containers)
    ports = tuple(
        (port.name, port.protocol or "TCP", port.container_port)
        for container in containers
        for port in container.ports
        if port.name and port.container_port
    )
    labels = tuple(sorted(pod.metadata.labels.items()))
    return PolicyPod(
        pod.metadata.uid, pod.metadata.namespace, pod.status.pod_ip, labels, ports
    )  # fmt: skip


class Isolated(Struct, frozen=True, gc=False):
    """Pods with the same gaps in one direction, and the policies that say so."""

    name: str
    gaps: tuple[Gap, ...]
    addresses: tuple[str, ...]


class NetworkRules(Struct, frozen=True):
    """All NetworkPolicies, resolved to addresses."""

    ingress: tuple[Isolated, ...] = ()
    egress: tuple[Isolated, ...] = ()
    gateway: str = ""
    """The principal of what enters through gateways, without its scheme."""

    def __bool__(self) -> bool:
        return bool(self.ingress or self.egress)


def network_rules(
    policies: Sequence[NetworkPolicy],
    pods: Sequence[PolicyPod],
    namespaces: Sequence[Namespace],
    gateway: str,
) -> NetworkRules:
    """Policies add up; a pod that none selects for a direction is open in it."""
    world = _World(pods, namespaces)
    found: dict[str, dict[PolicyPod, tuple[list[str], dict[Gap, None]]]] = {"in": {}, "out": {}}
    for policy in sorted(policies, key=lambda p: (p.metadata.namespace, p.metadata.name)):
        meta, spec = policy.metadata, policy.spec
        types = spec.policy_types or ("Ingress", *(("Egress",) if spec.egress else ()))
        for pod in world.selected(meta.namespace, spec.pod_selector):
            if "Ingress" in types:
                names, gaps = found["in"].setdefault(pod, ([], {}))
                names.append(f"{meta.namespace}/{meta.name}")
                for rule in spec.ingress:
                    gaps |= dict.fromkeys(world.gaps(meta.namespace, rule.from_, rule.ports, pod))
            if "Egress" in types:
                names, gaps = found["out"].setdefault(pod, ([], {}))
                names.append(f"{meta.namespace}/{meta.name}")
                for out in spec.egress:
                    gaps |= dict.fromkeys(world.gaps(meta.namespace, out.to, out.ports))
    return NetworkRules(_alike(found["in"]), _alike(found["out"]), gateway)


def _alike(
    found: Mapping[PolicyPod, tuple[list[str], dict[Gap, None]]],
) -> tuple[Isolated, ...]:
    groups: dict[tuple[str, tuple[Gap, ...]], list[str]] = {}
    for pod, (names, gaps) in found.items():
        groups.setdefault((", ".join(names), tuple(gaps)), []).append(pod.address)
    return tuple(
        Isolated(TITLE + name, gaps, tuple(sorted(addresses)))
        for (name, gaps), addresses in sorted(groups.items(), key=lambda g: g[0][0])
    )


class _World:
    """Pods and namespaces, and what selectors choose of them."""

    def __init__(self, pods: Sequence[PolicyPod], namespaces: Sequence[Namespace]) -> None:
        self._pods: dict[str, list[PolicyPod]] = {}
        for pod in pods:
            self._pods.setdefault(pod.namespace, []).append(pod)
        self._labels = {n.metadata.name: n.metadata.labels for n in namespaces}

    def selected(self, namespace: str, selector: object) -> Iterator[PolicyPod]:
        """Of a namespace; without a selector all."""
        chosen = from_selector(selector)  # type: ignore[arg-type]
        for pod in self._pods.get(namespace, ()):
            if selector is None or (chosen is not None and chosen.matches(dict(pod.labels))):
                yield pod

    def gaps(
        self,
        namespace: str,
        peers: Sequence[NetworkPolicyPeer],
        ports: Sequence[NetworkPolicyPort],
        own: PolicyPod | None = None,
    ) -> Iterator[Gap]:
        """What a rule lets through. Named ports are those of `own`, else of each peer."""
        chosen: list[PolicyPod] = []
        blocks: list[str] = []
        edge = not peers
        for peer in peers:
            if peer.ip_block is not None:
                blocks += _block(peer.ip_block.cidr, peer.ip_block.except_)
                continue
            for where in self._namespaces(namespace, peer):
                chosen += self.selected(where, peer.pod_selector)
                edge = edge or (where == ROOT_NAMESPACE and _is_edge(peer))
        pods = [f"{pod.address}/32" for pod in chosen]
        networks = _joined((*blocks, *pods)) if peers else (ANY_ADDRESS,)
        if not ports:
            yield from _gap(networks, "", 1, PORT_MAX, edge)
        for port in ports:
            protocol = port.protocol or "TCP"
            if isinstance(port.port, str):
                named = (port.port, protocol)
                if own is None:
                    yield from _named_by_peers(named, chosen)
                    continue
                for number in _numbers(own, named):
                    yield from _gap(networks, protocol, number, number, edge)
            elif port.port is None:
                yield from _gap(networks, protocol, 1, PORT_MAX, edge)
            else:
                yield from _gap(networks, protocol, port.port, port.end_port or port.port, edge)

    def _namespaces(self, own: str, peer: NetworkPolicyPeer) -> Iterator[str]:
        if peer.namespace_selector is None:
            yield own
            return
        chosen = from_selector(peer.namespace_selector)
        for name, labels in self._labels.items():
            if chosen is not None and chosen.matches(labels):
                yield name


def _is_edge(peer: NetworkPolicyPeer) -> bool:
    if peer.pod_selector is None:
        return True
    chosen = from_selector(peer.pod_selector)
    return chosen is not None and chosen.matches(EDGE_LABELS)


def _gap(
    networks: tuple[str, ...], protocol: str, first: int, last: int, edge: bool
) -> Iterator[Gap]:
    if networks or edge:
        yield Gap(networks, protocol, first, last, edge)


def _named_by_peers(named: tuple[str, str], peers: Iterable[PolicyPod]) -> Iterator[Gap]:
    by_number: dict[int, list[str]] = {}
    for peer in peers:
        for number in _numbers(peer, named):
            by_number.setdefault(number, []).append(f"{peer.address}/32")
    for number, addresses in sorted(by_number.items()):
        yield Gap(_joined(addresses), named[1], number, number)


def _numbers(pod: PolicyPod, named: tuple[str, str]) -> set[int]:
    """The ports of a pod with this name and protocol."""
    return {number for name, protocol, number in pod.ports if (name, protocol) == named}


def _block(cidr: str, excepted: Iterable[str]) -> list[str]:
    """A block without its exceptions; pods have IPv4 addresses, so other blocks are nobody."""
    try:
        left = [ipaddress.IPv4Network(cidr, strict=False)]
        for text in excepted:
            hole = ipaddress.IPv4Network(text, strict=False)
            left = [part for each in left for part in _without(each, hole)]
    except ValueError:
        return []
    return [str(each) for each in left]


def _without(
    whole: ipaddress.IPv4Network, hole: ipaddress.IPv4Network
) -> Iterable[ipaddress.IPv4Network]:
    if hole.supernet_of(whole):
        return ()
    return whole.address_exclude(hole) if whole.supernet_of(hole) else (whole,)


def _joined(networks: Iterable[str]) -> tuple[str, ...]:
    found = sorted({ipaddress.IPv4Network(each) for each in networks})
    return tuple(str(each) for each in ipaddress.collapse_addresses(found))


# ------------------------------------------------------------------ for the proxy


def network_access(
    destination: Destination, pods: Iterable[Endpoint], rules: NetworkRules
) -> tuple[Access, ...]:
    """What the proxy refuses of the calls to a destination."""
    protocol = "UDP" if destination.protocol == "udp" else "TCP"
    made: dict[AccessPolicy, list[tuple[str, int]]] = {}
    walled = {address: group for group in rules.ingress for address in group.addresses}
    for pod in pods:
        group = walled.get(pod.address)
        policy = group and _from_others(group, pod, protocol, rules.gateway)
        if policy:
            made.setdefault(policy, []).append((pod.address, pod.port))
    found = [Access((policy,), tuple(places)) for policy, places in made.items()]
    for group in rules.egress:
        found += _to_others(group, destination, protocol)
    return tuple(found)


def _open(gaps: Iterable[Gap], protocol: str, port: int) -> list[Gap]:
    return [g for g in gaps if g.protocol in ("", protocol) and g.first <= port <= g.last]


def _from_others(
    group: Isolated, pod: Endpoint, protocol: str, gateway: str
) -> AccessPolicy | None:
    """Refuses who is not let in. Nobody is kept from itself."""
    gaps = _open(group.gaps, protocol, pod.port)
    networks = {network for gap in gaps for network in gap.networks}
    if ANY_ADDRESS in networks:
        return None
    own = f"{pod.address}/32"
    strangers = [AccessCondition("source_ip", networks=_joined((*networks, own)), negated=True)]
    if any(gap.edge for gap in gaps):
        text = StringMatch("exact", gateway)
        strangers.append(AccessCondition("principal", texts=(text,), negated=True))
    return AccessPolicy(group.name, "deny", (AccessRule(((tuple(strangers),),)),))


def _to_others(group: Isolated, destination: Destination, protocol: str) -> Iterator[Access]:
    if destination.discovery == "gateway" and any(gap.edge for gap in group.gaps):
        return
    own = tuple(f"{address}/32" for address in group.addresses)
    callers = ((AccessCondition("source_ip", networks=own),),)
    known = [e for e in destination.endpoints if _is_address(e.address)]
    if len(known) == len(destination.endpoints) and known:
        refused = [e for e in known if not _reaches(group.gaps, e, protocol)]
        if refused:
            every = len(refused) == len(known)
            places = () if every else tuple(sorted({(e.address, e.port) for e in refused}))
            policy = AccessPolicy(group.name, "deny", (AccessRule((callers,)),))
            yield Access((policy,), places)
        return
    # Which addresses the name has, the proxy knows when it calls.
    ports = {e.port for e in destination.endpoints} or {destination.port}
    gaps = [g for port in ports for g in _open(group.gaps, protocol, port)]
    networks = _joined({network for gap in gaps for network in gap.networks})
    if ANY_ADDRESS in networks:
        return
    groups: tuple[tuple[tuple[AccessCondition, ...], ...], ...] = (callers,)
    if networks:
        elsewhere = AccessCondition("destination_ip", networks=networks, negated=True)
        groups = (callers, ((elsewhere,),))
    yield Access((AccessPolicy(group.name, "deny", (AccessRule(groups),)),))


def _reaches(gaps: Iterable[Gap], endpoint: Endpoint, protocol: str) -> bool:
    return any(_holds(gap, endpoint.address) for gap in _open(gaps, protocol, endpoint.port))


def _holds(gap: Gap, address: str) -> bool:
    ip = ipaddress.ip_address(address)
    return any(ip in ipaddress.ip_network(network) for network in gap.networks)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


# ------------------------------------------------------------------ for the kernel


def with_walls(workloads: tuple[Workload, ...], rules: NetworkRules) -> tuple[Workload, ...]:
    """Pods with what the kernel shall let through."""
    if not rules and all(w.door == Door() for w in workloads):
        return workloads
    own = [w for w in workloads if w.netns and w.address]
    proxies = tuple(sorted({text for w in own for text in _hosts(w.address, PROXY_HOSTS)}))
    judges = tuple(sorted({text for w in own for text in _hosts(w.address, JUDGE_HOSTS)}))
    ins = {address: group.gaps for group in rules.ingress for address in group.addresses}
    outs = {address: group.gaps for group in rules.egress for address in group.addresses}
    made = []
    for workload in workloads:
        address = workload.address
        closed = tuple(_closed(address, rules.ingress)) if workload.netns and address else ()
        walls = Walls(ins.get(address), outs.get(address), closed, proxies)
        if judged := tuple(_judged(workload.door)):
            walls = replace(walls, judged_udp=judged, judges=judges)
        open_ = not workload.netns or walls == Walls(proxies=proxies)
        made.append(workload if open_ else replace(workload, walls=walls))
    return tuple(made)


def _hosts(address: str, numbers: Iterable[int]) -> Iterator[str]:
    network = ipaddress.IPv4Network(f"{address}/{POD_NETWORK_PREFIX}", strict=False)
    return (str(network[number]) for number in numbers)


def _judged(door: Door) -> Iterable[tuple[int, int]]:
    """Ports that take no bytes from callers whom nobody knows."""
    named = {each.port: each.bytes_closed for each in door.ports if each.port}
    if door.bytes_closed:
        return _between(sorted((port, port) for port, closed in named.items() if not closed))
    return sorted((port, port) for port, closed in named.items() if closed)


def _closed(address: str, groups: Iterable[Isolated]) -> Iterator[Gap]:
    """The connections that pods do not take from this address."""
    for group in groups:
        others = tuple(f"{each}/32" for each in group.addresses if each != address)
        gaps = [g for g in group.gaps if g.protocol in ("", "TCP") and _holds(g, address)]
        if others:
            for first, last in _between(sorted((g.first, g.last) for g in gaps)):
                yield Gap(_joined(others), "TCP", first, last)


def _between(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The ports that are in none of the ranges."""
    free = 1
    for first, last in ranges:
        if first > free:
            yield free, first - 1
        free = max(free, last + 1)
    if free <= PORT_MAX:
        yield free, PORT_MAX

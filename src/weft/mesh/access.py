"""Security policies laid over destinations, workloads and gateways."""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain

from msgspec import Struct
from msgspec.structs import replace

from weft.api.diagnostics import Diagnostic
from weft.api.gateway import v1 as gw
from weft.api.istio import networking_v1 as istio
from weft.api.istio import security
from weft.api.wellknown import TRUST_DOMAIN_DEFAULT
from weft.mesh import findings as f
from weft.mesh.authentication import (
    Authentications,
    PeerRule,
    PeerRules,
    authentications,
    believed_by_all,
    peer_rules,
)
from weft.mesh.authorization import AccessPolicies, access_policies
from weft.mesh.findings import Findings
from weft.mesh.issuer_keys import NOBODY_LOOKS, IssuerKeys
from weft.mesh.model import (
    Access,
    AccessCondition,
    AccessPolicy,
    AccessRule,
    Authentication,
    Destination,
    Door,
    Endpoint,
    GatewayListener,
    PortDoor,
    RouteTable,
    ServiceListener,
    StringMatch,
    TcpRoute,
    Workload,
)
from weft.mesh.names import SERVICE_SUFFIX, destination_name
from weft.mesh.network_policies import NetworkRules, network_access
from weft.mesh.trust_domains import with_aliases

BYTES = ("tcp", "tls", "auto", "udp")
"""Protocols of which a connection may hold no request."""
CALLER_ADDRESS = frozenset(("source_ip", "remote_ip"))
HTTP_ONLY = frozenset(("token_principal", "claim", "header", "host", "method", "path", "cel"))
Owners = tuple[Endpoint, ...]
"""Endpoints of a destination, as those of the pods that have their addresses."""
GATEWAY_NAME_LABEL = "gateway.networking.k8s.io/gateway-name"


class SecurityObjects(Struct, frozen=True):
    """The objects that policies are made of."""

    authorization: tuple[security.AuthorizationPolicy, ...] = ()
    peers: tuple[security.PeerAuthentication, ...] = ()
    tokens: tuple[security.RequestAuthentication, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.authorization or self.peers or self.tokens)


class SecurityRules(Struct, frozen=True):
    """All security policies of the mesh."""

    access: AccessPolicies = AccessPolicies()
    tokens: Authentications = Authentications()
    peers: PeerRules = PeerRules()
    network: NetworkRules = NetworkRules()
    findings: tuple[Diagnostic, ...] = ()


def security_rules(
    objects: SecurityObjects,
    destinations: tuple[str, ...],
    providers: tuple[str, ...] = (),
    domains: tuple[str, ...] = (TRUST_DOMAIN_DEFAULT,),
    issuers: IssuerKeys = NOBODY_LOOKS,
) -> SecurityRules:
    """The policies of all objects. `destinations` are the names of those that exist, `providers`
    those of the services that may be asked, `domains` the mesh's trust domain and those that count
    as it, `issuers` what was found out about issuers' keys."""
    report = Findings()
    resolve = partial(destination_of, frozenset(destinations))
    return SecurityRules(
        with_aliases(access_policies(objects.authorization, report, providers), domains),
        authentications(objects.tokens, resolve, report, issuers),
        peer_rules(objects.peers),
        findings=report.all(),
    )


def destination_of(known: frozenset[str], host: str, port: int) -> str:
    """The name of the destination for a host and port; empty when none of `known` is."""
    parts = host.removesuffix(".").split(".")
    full = f"{host}.svc.cluster.local" if len(parts) == 2 else host
    full = f"{full}.cluster.local" if full.endswith(".svc") else full
    name = destination_name(port, full)
    return name if name in known else ""


def with_owners(
    destinations: tuple[Destination, ...], workloads: tuple[Workload, ...]
) -> tuple[tuple[Destination, Owners], ...]:
    """Each destination, with the pods whose addresses it gives as those of something else: an
    entry or a slice that a user wrote must not lead around the policies of a pod."""
    own = {w.address: w for w in workloads if w.netns and w.address}
    return tuple((d, _owners(d, own)) for d in destinations)


def _owners(destination: Destination, workloads: Mapping[str, Workload]) -> Owners:
    found = ((e, workloads.get(e.address)) for e in destination.endpoints)
    return tuple(
        replace(e, pod_uid=w.uid, namespace=w.namespace, labels=w.labels)
        for e, w in found
        if w is not None and w.uid != e.pod_uid
    )


def secured_destination(
    destination: Destination, owners: Owners, rules: SecurityRules
) -> Destination:
    """A destination with the policies of its pods. Endpoints that weft does not run have none."""
    known = {(e.address, e.port): e for e in owners}
    endpoints = (known.get((e.address, e.port), e) for e in destination.endpoints)
    pods = [e for e in endpoints if e.pod_uid]
    walls = network_access(destination, pods, rules.network) if rules.network else ()
    if not pods:
        return replace(destination, access=walls) if walls else destination
    by_policies: dict[tuple[AccessPolicy, ...], list[tuple[str, int]]] = {}
    tokens: dict[Authentication, None] = {}
    for pod in pods:
        service = pod.service or destination.service
        found = tuple(
            moved_ports(pod, p) for p in rules.access.of_pod(pod.namespace, pod.labels, service)
        )
        # Pods without a network of their own share an address.
        place = (pod.address, pod.port if pod.own_port else 0)
        by_policies.setdefault(found, []).append(place)
        asked = rules.tokens.of_pod(pod.namespace, pod.labels, service)
        if asked is not None:
            tokens[asked] = None
    alike = len(by_policies) == 1
    access = tuple(
        Access(policies, () if alike else tuple(sorted(places)))
        for policies, places in by_policies.items()
        if policies
    )
    access = (*access, *walls)
    if not access and not tokens:
        return destination
    return replace(destination, access=access, authentication=believed_by_all(tuple(tokens)))


def moved_ports(pod: Endpoint, policy: AccessPolicy) -> AccessPolicy:
    """The policy in the ports where the pod is reached, if they are not those that it declares."""
    if not pod.own_port or not any(True for _ in _named_ports((policy,))):
        return policy

    def moved(condition: AccessCondition) -> AccessCondition:
        if not condition.ports:
            return condition
        # No port is 0: the condition holds nowhere.
        return replace(condition, ports=(pod.port if pod.own_port in condition.ports else 0,))

    rules = tuple(
        AccessRule(tuple(tuple(tuple(map(moved, part)) for part in group) for group in rule.groups))
        for rule in policy.rules
    )
    return replace(policy, rules=rules)


def tokens_differ(destinations: Iterable[Destination]) -> tuple[Diagnostic, ...]:
    """Services some of whose pods believe tokens that others do not."""
    found: dict[Diagnostic, None] = {}
    for each in destinations:
        if each.authentication is not None and each.authentication.partial:
            finding = f.TOKENS_DIFFER
            text = finding.message.format(destination=each.host)
            kind = "Service" if each.host.endswith(SERVICE_SUFFIX) else "ServiceEntry"
            found[
                Diagnostic(
                    finding.code, finding.severity, text, kind, each.namespace, each.service,
                    hint=finding.hint,
                )
            ] = None  # fmt: skip
    return tuple(found)


def denials(
    destinations: tuple[Destination, ...], principals: frozenset[str]
) -> Mapping[str, tuple[str, ...]]:
    """Caller's identity -> destinations that it may not call. Callers are many, identities few."""
    return {principal: _denied(destinations, principal, "") for principal in principals}


def by_address(destinations: Iterable[Destination]) -> tuple[Destination, ...]:
    """The destinations whose policies look at the caller's address."""
    return tuple(
        d
        for d in destinations
        if any(kind in CALLER_ADDRESS for each in d.access for kind in _kinds(each.policies))
    )


def _kinds(policies: Iterable[AccessPolicy]) -> Iterator[str]:
    for policy in policies:
        for rule in policy.rules:
            for group in rule.groups:
                for condition in chain.from_iterable(group):
                    yield condition.kind


def secured_workload(
    workload: Workload,
    denied_to: Mapping[str, tuple[str, ...]],
    addressed: tuple[Destination, ...],
    rules: SecurityRules,
) -> Workload:
    """A workload with the policies for calls to it, and with the destinations of bytes that it
    may not call: those for its identity (`denied_to`), and those for its address."""
    peer = rules.peers.of_pod(workload.namespace, workload.labels)
    access = rules.access.of_pod(workload.namespace, workload.labels)
    denied = denied_to[workload.principal]
    denied += _denied(addressed, workload.principal, workload.address)
    door = _door(workload, access, peer)
    if not (access or denied) and door == Door():
        return workload
    return replace(workload, access=access, denied=denied, door=door)


def _door(workload: Workload, access: tuple[AccessPolicy, ...], peer: PeerRule) -> Door:
    """Nobody knows who calls at a pod's own address. Policies on requests are looked at for each;
    those on bytes hold when the connection is opened."""
    by_port = dict(peer.ports)

    def at(port: int) -> PortDoor:
        by = by_port.get(port, peer.required)
        closed = bool(by) or not allows(access, Connection(port=port))
        return PortDoor(port, bool(by), closed, by)

    general = at(0)
    numbers = sorted({*by_port, *(each.port for each in workload.inbound), *_named_ports(access)})
    ports = tuple(
        door
        for door in map(at, numbers)
        if (door.requests_closed, door.bytes_closed)
        != (general.requests_closed, general.bytes_closed)
    )
    return Door(general.requests_closed, general.bytes_closed, ports, general.closed_by)


def _named_ports(policies: Iterable[AccessPolicy]) -> Iterator[int]:
    """Ports that policies are about; a pod may listen on ones that it does not declare."""
    for policy in policies:
        for rule in policy.rules:
            for group in rule.groups:
                for condition in chain.from_iterable(group):
                    yield from condition.ports


def secured_listener(
    listener: ServiceListener, destinations: tuple[Destination, ...]
) -> ServiceListener:
    """A service address of host isolation, where nobody knows who calls: bytes go nowhere that
    a caller without identity may not go."""
    udp = listener.udp
    if udp is not None and udp.destination in _denied(destinations, "", ""):
        return replace(listener, udp=replace(udp, destination=""))
    if listener.tcp is None:
        return listener
    return replace(listener, tcp=_restricted(listener.tcp, destinations, ""))


def secured_gateway(
    listener: GatewayListener, destinations: tuple[Destination, ...], principal: str
) -> GatewayListener:
    """A gateway port whose bytes go nowhere that the gateway may not go."""
    servers = tuple(
        replace(s, tcp=_restricted(s.tcp, destinations, principal)) if s.tcp is not None else s
        for s in listener.servers
    )
    return replace(listener, servers=servers)


def _restricted(route: TcpRoute, destinations: tuple[Destination, ...], principal: str) -> TcpRoute:
    denied = _denied(destinations, principal, "")
    if not any(part.destination in denied for part in route.destinations):
        return route
    parts = tuple(
        replace(part, weight=0) if part.destination in denied else part
        for part in route.destinations
    )
    return replace(route, destinations=parts)


def _denied(destinations: tuple[Destination, ...], principal: str, address: str) -> tuple[str, ...]:
    """Destinations of which some pod does not let this caller in."""
    return tuple(
        d.name
        for d in destinations
        if not all(each.allowed for each in decide_for(d, principal, address))
    )


def _part(destination: Destination, access: Access) -> Destination:
    """The destination with the endpoints only that these policies are for."""
    places = frozenset(access.endpoints)
    if not any(port for _, port in places):
        return destination
    kept = tuple(e for e in destination.endpoints if (e.address, e.port) in places)
    return replace(destination, endpoints=kept)


class Connection(Struct, frozen=True):
    """A connection as its caller's listener knows it."""

    principal: str = ""
    """SPIFFE ID; empty is a caller without identity."""
    address: str = ""
    """Of the caller; empty is unknown."""
    destination: Destination | None = None
    port: int = 0
    """Of the pod; 0 is taken from the destination's endpoints."""


class Decision(Struct, frozen=True):
    """What policies say about a connection, and which of them, by which rule; no policy decides
    where there are none, or where none of the ALLOW policies matches."""

    allowed: bool
    policy: AccessPolicy | None = None
    rule: int = 0


def allows(policies: Sequence[AccessPolicy], connection: Connection) -> bool:
    """Whether a connection of bytes is let through. Conditions on requests cannot hold for it: in
    ALLOW rules they never do, in DENY rules they are left out, so that the rule denies more."""
    return decide(policies, connection).allowed


def decide(policies: Sequence[AccessPolicy], connection: Connection) -> Decision:
    """The same, with the policy and rule that decide."""
    allowing = False
    for policy in policies:
        # Nobody can be asked about bytes: they are refused.
        if policy.action in ("deny", "custom") and not policy.dry_run:
            place = _matching(policy, connection, for_requests=True)
            if place >= 0:
                return Decision(False, policy, place)
        allowing = allowing or (policy.action == "allow" and not policy.dry_run)
    if not allowing:
        return Decision(True)
    for policy in policies:
        if policy.action == "allow" and not policy.dry_run:
            place = _matching(policy, connection, for_requests=False)
            if place >= 0:
                return Decision(True, policy, place)
    return Decision(False)


def decide_for(destination: Destination, principal: str, address: str) -> tuple[Decision, ...]:
    """What the policies of each group of a destination's endpoints say about a connection to it."""
    return tuple(
        decide(each.policies, Connection(principal, address, _part(destination, each)))
        for each in destination.access
    )


def _matching(policy: AccessPolicy, connection: Connection, for_requests: bool) -> int:
    """The first rule that matches; -1 when none does."""
    for place, rule in enumerate(policy.rules):
        if _rule(rule, connection, for_requests):
            return place
    return -1


def _rule(rule: AccessRule, connection: Connection, for_requests: bool) -> bool:
    return all(
        any(all(_holds(c, connection, for_requests) for c in alternative) for alternative in group)
        for group in rule.groups
    )


def _holds(condition: AccessCondition, connection: Connection, for_requests: bool) -> bool:
    kind = condition.kind
    if kind in HTTP_ONLY:
        return for_requests
    if kind == "principal":
        found = _is(condition.texts, connection.principal.removeprefix("spiffe://"))
    elif kind in ("source_ip", "remote_ip"):
        if not connection.address:
            return for_requests
        found = _in(condition.networks, connection.address)
    elif kind == "port":
        ports = set(condition.ports)
        return _of_endpoints(
            [(port in ports) is not condition.negated for port in _ports(connection)], for_requests
        )
    elif kind == "destination_ip":
        return _of_endpoints(
            [_in(condition.networks, a) is not condition.negated for a in _addresses(connection)],
            for_requests,
        )
    else:
        return for_requests
    return found is not condition.negated


def endpoint_holds(condition: AccessCondition, endpoint: Endpoint) -> bool:
    """Whether a condition on the endpoint, its port or its address, holds for this one."""
    if condition.kind == "port":
        return (endpoint.port in condition.ports) is not condition.negated
    return _in(condition.networks, endpoint.address) is not condition.negated


def _of_endpoints(holds: Sequence[bool], refuses: bool) -> bool:
    """Which endpoint the connection will have is not known yet: a refusal is for all when one of
    them wants it, a permission must hold for each."""
    return not holds or any(holds) if refuses else bool(holds) and all(holds)


def _ports(connection: Connection) -> set[int]:
    if connection.port or connection.destination is None:
        return {connection.port}
    return {e.port for e in connection.destination.endpoints}


def _addresses(connection: Connection) -> list[str]:
    return [e.address for e in connection.destination.endpoints] if connection.destination else []


def _is(texts: Sequence[StringMatch], value: str) -> bool:
    return bool(value) and any(_text(match, value) for match in texts)


def _text(match: StringMatch, value: str) -> bool:
    if match.kind == "present":
        return True
    if match.kind == "exact":
        return value == match.value
    if match.kind == "prefix":
        return value.startswith(match.value)
    if match.kind == "suffix":
        return value.endswith(match.value)
    return re.fullmatch(match.value, value) is not None


def _in(networks: Sequence[str], address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False  # a name
    return any(ip in ipaddress.ip_network(network, strict=False) for network in networks)


def secured_tables(
    tables: tuple[RouteTable, ...],
    listeners: tuple[GatewayListener, ...],
    gateways: tuple[istio.Gateway, ...],
    own_gateways: tuple[gw.Gateway, ...],
    rules: SecurityRules,
) -> tuple[RouteTable, ...]:
    """Route tables of gateways with the policies of the gateways whose requests they route."""
    selectors: Mapping[tuple[str, str], Mapping[str, str]] = {
        (g.metadata.namespace, g.metadata.name): g.spec.selector for g in gateways
    }
    own = {(g.metadata.namespace, g.metadata.name) for g in own_gateways}
    owners: dict[str, set[tuple[str, str]]] = {}
    within = {s.route_table for listener in listeners if listener.egress for s in listener.servers}
    for listener in listeners:
        for server in listener.servers:
            parts = server.name.split("/")
            if server.route_table and len(parts) > 1:
                owners.setdefault(server.route_table, set()).add((parts[0], parts[1]))
    return tuple(
        _secured_table(
            table,
            sorted(owners.get(table.name, ())),
            selectors,
            own,
            rules,
            nowhere=table.name in within,
        )
        for table in tables
    )


def _secured_table(
    table: RouteTable,
    owners: Sequence[tuple[str, str]],
    selectors: Mapping[tuple[str, str], Mapping[str, str]],
    own: set[tuple[str, str]],
    rules: SecurityRules,
    *,
    nowhere: bool,
) -> RouteTable:
    """`nowhere`: its callers have no address, for they come from within the proxy."""
    policies: dict[AccessPolicy, None] = {}
    tokens = None
    for namespace, name in owners:
        mine = (namespace, name) in own
        labels = {GATEWAY_NAME_LABEL: name} if mine else selectors.get((namespace, name), {})
        policies |= dict.fromkeys(rules.access.of_gateway(namespace, name, labels, mine))
        tokens = tokens or rules.tokens.of_gateway(namespace, name, labels, mine)
    if not policies and tokens is None:
        return table
    access = tuple(_on_doubt(policy) for policy in policies) if nowhere else tuple(policies)
    return replace(table, access=access, authentication=tokens)


def _on_doubt(policy: AccessPolicy) -> AccessPolicy:
    """A policy for callers whose address is not known, which is in no network: no condition on it
    lets anybody in, and each keeps everybody out."""
    refuses = policy.action in ("deny", "custom")

    def certain(condition: AccessCondition) -> AccessCondition:
        return (
            replace(condition, negated=refuses) if condition.kind in CALLER_ADDRESS else condition
        )

    def alternatives(rule: AccessRule) -> AccessRule:
        groups = (tuple(tuple(certain(c) for c in each) for each in group) for group in rule.groups)
        return AccessRule(tuple(groups))

    return replace(policy, rules=tuple(alternatives(rule) for rule in policy.rules))

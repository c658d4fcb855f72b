"""Route tables to RouteConfigurations (RDS)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2 as route_pb2
from envoy.config.route.v3 import route_pb2 as configuration_pb2
from msgspec import Struct

from weft.mesh.model import AccessPolicy, RouteTable, UnknownHosts, VirtualHost
from weft.xds.access import route_policies
from weft.xds.external_authorization import Asking, ask_on_route, asking_configs
from weft.xds.forward import FORWARD
from weft.xds.holding import hold_on_route
from weft.xds.matches import to_address
from weft.xds.proto import Proto, any_of, embedded, uint32
from weft.xds.rate_limits import HEADERS_FILTER, response_headers, turn_on_buckets
from weft.xds.resource import ROUTES, Resource, content_version
from weft.xds.response_time import REPORT_HEADER
from weft.xds.route_actions import HashKeys, envoy_routes, passthrough_route
from weft.xds.scoped_routes import PARTS, SCOPE_HEADER, domains_by_part, part_name
from weft.xds.tokens import TOKENS_FILTER, ask_for_tokens, at_gateway, requirement

PROXY_HEADERS = ("x-envoy-external-address", "x-envoy-internal")
"""Headers that Envoy adds to requests; applications see none of them."""
DIRECT_RESPONSE_BYTES_MAX = 1024 * 1024
"""Istio's limit for `directResponse`; Envoy's own is 4 KiB."""

REFUSED_STATUS = 502
"""For hosts that the caller may not reach, as in Istio."""
NOT_FOUND_STATUS = 404

_ANY_HOST = "*"
_VIRTUAL_HOSTS = 2
"""Number of the field of RouteConfiguration."""


class TableFacts(Struct, frozen=True):
    """What other parts of the model mean for a route table."""

    https_hosts: tuple[str, ...] = ()
    """Redirected to HTTPS whatever their routes say."""
    addresses: Mapping[str, str] = {}
    """Service addresses besides the virtual hosts' own: address -> a domain of the virtual host
    that it stands for."""
    alt_svc: str = ""
    """The header that tells clients where else the hosts are served."""
    resolved: frozenset[str] = frozenset()
    """Destinations whose hosts are resolved when they are called."""
    measured: bool = False
    """Some destination's answers carry load reports, which are for the proxy only."""
    tokens: Mapping[str, str] = {}
    """Destination -> what its workloads ask of tokens."""
    scoped: bool = False
    """The table is divided by host."""
    asking: Asking = {}
    """Destination -> the policies for which somebody is asked about requests to it."""
    asleep: frozenset[str] = frozenset()
    """Destinations that requests have to wait for."""
    at_gateway: bool = False
    """A gateway's connection manager uses it, and no other."""


NO_FACTS = TableFacts()


class HostInputs(Struct, frozen=True):
    """All that the routes of a virtual host are made from."""

    host: VirtualHost
    hash_keys: HashKeys
    https: bool
    """Requests are redirected to HTTPS."""
    resolved: frozenset[str]
    """Of its destinations, those whose hosts are resolved when they are called."""
    addresses: tuple[str, ...]
    """Requests sent to these are for this host, whatever host they name."""
    tokens: Mapping[str, str] = {}
    """Destination of the host -> what its workloads ask of tokens."""
    scoped: bool = False
    """The table is divided by host."""
    asking: Asking = {}
    custom: tuple[AccessPolicy, ...] = ()
    """CUSTOM policies of the table, where some destination has such policies of its own."""
    asleep: frozenset[str] = frozenset()


class HostPart(Struct, frozen=True):
    """A virtual host as bytes of a RouteConfiguration."""

    inputs: HostInputs
    virtual_host: bytes
    by_address: bytes
    """Its routes again, as fields of the virtual host for unknown hosts."""
    by_scope: Mapping[int, bytes] = {}
    """Of a divided table, instead of `virtual_host`: what each part has of it."""


class Parts:
    """What the last translation of a table was made of, for the next one to take over."""

    def __init__(self) -> None:
        self.hosts: dict[str, HostPart] = {}
        """By the virtual host's name."""
        self.around: tuple[HashKeys, TableFacts, tuple[AccessPolicy, ...]] | None = None
        """All that the parts depend on besides their hosts."""
        self.resources: dict[str, tuple[list[bytes], Resource]] = {}
        """Of a divided table, by name: what each was put together from."""


def route_table(
    table: RouteTable,
    hash_keys: HashKeys,
    passthrough_cluster: str,
    facts: TableFacts,
    parts: Parts,
) -> bytes:
    """The RouteConfiguration of a table, serialised.

    `passthrough_cluster` gets requests for unknown hosts, when the table lets them pass. Tables
    are long and change in few places: `parts` holds the virtual hosts of the last call, of which
    those are taken that would come out the same, and afterwards those of this call.
    """
    made = _host_parts(table, hash_keys, facts, parts)
    body = [_head(table, facts).SerializeToString(deterministic=True)]
    body.extend(part.virtual_host for part in made)
    body.extend(_hosts_without_routes(table, passthrough_cluster, facts, made))
    return b"".join(body)


def divided_table(
    table: RouteTable, hash_keys: HashKeys, facts: TableFacts, parts: Parts
) -> list[Resource]:
    """The RouteConfigurations of a table that is divided by host. `parts` as of `route_table`."""
    bodies: list[list[bytes]] = [[] for _ in range(PARTS)]
    for part in _host_parts(table, hash_keys, facts, parts):
        for number, body in part.by_scope.items():
            bodies[number].append(body)
    for number, body in _redirected_hosts(table, facts).items():
        bodies[number].append(body)
    head = _head(table, facts)
    known, parts.resources = parts.resources, {}
    for number, hosts in enumerate(bodies):
        head.name = part_name(table.name, number)
        pieces = [head.SerializeToString(deterministic=True), *hosts]
        before, made = known.get(head.name, (None, None))
        if made is None or before != pieces:
            body = b"".join(pieces)
            made = Resource(ROUTES, head.name, content_version(body), body)
        parts.resources[head.name] = (pieces, made)
    return [made for _, made in parts.resources.values()]


def _host_parts(
    table: RouteTable, hash_keys: HashKeys, facts: TableFacts, parts: Parts
) -> list[HostPart]:
    """A part for each virtual host; `parts` holds them afterwards."""
    known, around = parts.hosts, (hash_keys, facts, early(table))
    # Where all else is the same, a host that is the same object need not be looked at. Addresses
    # may move from one host to another.
    same = around == parts.around and not facts.addresses
    inputs_of = _Inputs(table, hash_keys, facts).of
    made = []
    for host in table.virtual_hosts:
        part = known.get(host.name)
        if part is None or not same or part.inputs.host is not host or host.addresses:
            inputs = inputs_of(host)
            if part is None or part.inputs != inputs:
                part = _host_part(inputs)
        made.append(part)
    parts.hosts, parts.around = {part.inputs.host.name: part for part in made}, around
    return made


def early(table: RouteTable) -> tuple[AccessPolicy, ...]:
    """The policies of a table that ask somebody or leave marks only: routes to destinations that
    have such policies, too, are made from both."""
    return tuple(p for p in table.access if p.action not in ("allow", "deny") or p.dry_run)


class _Inputs:
    """What the parts of a table are made from."""

    def __init__(self, table: RouteTable, hash_keys: HashKeys, facts: TableFacts) -> None:
        self._hash_keys, self._facts = hash_keys, facts
        self._custom = early(table)
        self._moved: dict[str, list[str]] = {}
        self._open_to_all = False
        self._https = frozenset(facts.https_hosts)
        if facts.addresses or any(host.addresses for host in table.virtual_hosts):
            self._open_to_all = _ANY_HOST in _domains(table, facts)
            by_domain = {domain: host for host in table.virtual_hosts for domain in host.domains}
            own = {address for host in table.virtual_hosts for address in host.addresses}
            for address, domain in facts.addresses.items():
                if domain in by_domain and address not in own:
                    self._moved.setdefault(by_domain[domain].name, []).append(address)

    def of(self, host: VirtualHost) -> HostInputs:
        """What one of its hosts is made from."""
        facts, https = self._facts, self._https
        addresses = (*self._moved.get(host.name, ()), *host.addresses)
        keys: HashKeys = {}
        tokens: Mapping[str, str] = {}
        asking: Asking = {}
        if self._hash_keys or facts.tokens or facts.asking:
            used = _destinations(host)
            keys = {name: key for name, key in self._hash_keys.items() if name in used}
            tokens = {name: asked for name, asked in facts.tokens.items() if name in used}
            asking = {name: found for name, found in facts.asking.items() if name in used}
        redirected = bool(https) and (_ANY_HOST in https or not https.isdisjoint(host.domains))
        resolved = facts.resolved & _destinations(host) if facts.resolved else facts.resolved
        shown = () if self._open_to_all else addresses
        own = self._custom if asking else ()
        asleep = facts.asleep & _destinations(host) if facts.asleep else facts.asleep
        return HostInputs(
            host, keys, redirected, resolved, shown, tokens, facts.scoped, asking, own, asleep
        )


def _domains(table: RouteTable, facts: TableFacts) -> set[str]:
    return {d for host in table.virtual_hosts for d in host.domains} | set(facts.https_hosts)


def _host_part(inputs: HostInputs) -> HostPart:
    host = inputs.host
    made = route_pb2.VirtualHost(name=host.name, domains=host.domains, routes=_routes(inputs))
    if inputs.https:
        made.require_tls = route_pb2.VirtualHost.ALL
    if inputs.scoped:
        return HostPart(inputs, b"", b"", _by_scope(made, domains_by_part(host.domains)))
    by_address = route_pb2.VirtualHost()
    for address in dict.fromkeys(inputs.addresses):
        for route in [*_routes(inputs), _answer(NOT_FOUND_STATUS)]:
            route.match.filter_state.append(to_address(address))
            by_address.routes.append(route)
    return HostPart(
        inputs,
        embedded(_VIRTUAL_HOSTS, made.SerializeToString(deterministic=True)),
        by_address.SerializeToString(deterministic=True),
    )


def _by_scope(host: Proto, domains: Mapping[int, Sequence[str]]) -> dict[int, bytes]:
    """What the parts of a divided table have of a virtual host."""
    found: dict[int, bytes] = {}
    for number, names in domains.items():
        del host.domains[:]
        host.domains.extend(names)
        found[number] = embedded(_VIRTUAL_HOSTS, host.SerializeToString(deterministic=True))
    return found


def _head(table: RouteTable, facts: TableFacts) -> Proto:
    """All that is not about single hosts."""
    result = configuration_pb2.RouteConfiguration(
        name=table.name,
        ignore_port_in_host_matching=table.ignore_port,
        request_headers_to_remove=(*PROXY_HEADERS, SCOPE_HEADER) if facts.scoped else PROXY_HEADERS,
        max_direct_response_body_size_bytes=uint32(DIRECT_RESPONSE_BYTES_MAX),
        response_headers_to_remove=[REPORT_HEADER] if facts.measured else [],
    )
    if facts.alt_svc:
        added = result.response_headers_to_add.add()
        added.header.key, added.header.value = "alt-svc", facts.alt_svc
        added.append_action = base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    for name, config in _policies(table.access).items():
        result.typed_per_filter_config[name].CopyFrom(any_of(config))
    if table.authentication is not None:
        asked = requirement(at_gateway(table.authentication.name))
        result.typed_per_filter_config[TOKENS_FILTER].CopyFrom(asked)
    if not any([route.rate_limits for host in table.virtual_hosts for route in host.routes]):  # noqa: C419
        return result
    turn_on_buckets(result, table, facts.at_gateway)
    headers = response_headers(table)
    if headers is not None:
        result.typed_per_filter_config[HEADERS_FILTER].CopyFrom(any_of(headers))
    return result


def _hosts_without_routes(
    table: RouteTable, passthrough_cluster: str, facts: TableFacts, parts: Iterable[HostPart]
) -> Iterator[bytes]:
    """Virtual hosts for what no virtual host of the table names: hosts that are redirected to
    HTTPS, and unknown hosts, for which the address decides that requests were sent to."""
    redirected = _redirected(table, facts)
    if redirected:
        made = _to_https(redirected)
        yield embedded(_VIRTUAL_HOSTS, made.SerializeToString(deterministic=True))
    if _ANY_HOST in _domains(table, facts):
        return
    routes = [part.by_address for part in parts if part.by_address]
    if table.passthrough:
        last = route_pb2.VirtualHost(routes=[_unknown_host(table.unknown, passthrough_cluster)])
        routes.append(last.SerializeToString(deterministic=True))
    if routes:
        fallback = route_pb2.VirtualHost(name="unknown-host", domains=[_ANY_HOST])
        head = fallback.SerializeToString(deterministic=True)
        yield embedded(_VIRTUAL_HOSTS, b"".join((head, *routes)))


def _redirected_hosts(table: RouteTable, facts: TableFacts) -> dict[int, bytes]:
    """The same virtual host as the parts of a divided table have it."""
    redirected = _redirected(table, facts)
    return _by_scope(_to_https(()), domains_by_part(redirected)) if redirected else {}


def _redirected(table: RouteTable, facts: TableFacts) -> list[str]:
    """Hosts without routes that are redirected to HTTPS."""
    if not facts.https_hosts:
        return []
    named = {domain for host in table.virtual_hosts for domain in host.domains}
    return [host for host in dict.fromkeys(facts.https_hosts) if host not in named]


def _to_https(domains: Iterable[str]) -> Proto:
    return route_pb2.VirtualHost(
        name="https-redirect", domains=domains, require_tls=route_pb2.VirtualHost.ALL
    )


def passthrough_configuration(
    name: str, cluster: str, policies: tuple[AccessPolicy, ...] = ()
) -> Proto:
    """Routes that send everything that the policies let through to one cluster."""
    host = route_pb2.VirtualHost(
        name=name, domains=[_ANY_HOST], routes=[passthrough_route(cluster)]
    )
    result = configuration_pb2.RouteConfiguration(
        name=name, virtual_hosts=[host], request_headers_to_remove=PROXY_HEADERS
    )
    for filter_name, config in _policies(policies).items():
        result.typed_per_filter_config[filter_name].CopyFrom(any_of(config))
    return result


def _policies(policies: tuple[AccessPolicy, ...]) -> dict[str, Proto]:
    return {**route_policies(policies), **asking_configs(policies)}


def destinations_of(table: RouteTable) -> set[str]:
    """The names of all destinations that a table sends requests to."""
    return {name for host in table.virtual_hosts for name in _destinations(host)}


def _destinations(host: VirtualHost) -> set[str]:
    return {part.destination for route in host.routes for part in route.destinations}


def _routes(inputs: HostInputs) -> list[Proto]:
    made = [
        built
        for route in inputs.host.routes
        for built in envoy_routes(route, inputs.hash_keys, inputs.resolved)
    ]
    for route in made:
        ask_for_tokens(route, inputs.tokens)
        ask_on_route(route, inputs.asking, inputs.custom)
        hold_on_route(route, inputs.asleep)
    return made


def _unknown_host(unknown: UnknownHosts, cluster: str) -> Proto:
    if unknown.proxy:
        return passthrough_route(unknown.proxy)
    if unknown.mode == "refuse":
        return _answer(REFUSED_STATUS)
    return passthrough_route(FORWARD if unknown.mode == "resolve" else cluster)


def _answer(status: int) -> Proto:
    return route_pb2.Route(
        match=route_pb2.RouteMatch(prefix="/"),
        direct_response=route_pb2.DirectResponseAction(status=status),
    )

"""Connections that are passed on as bytes: the TCP proxy, and filter chains for TCP routes."""

from collections.abc import Container, Iterable, Mapping

from envoy.config.listener.v3 import listener_components_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.type.v3 import hash_policy_pb2
from msgspec import Struct

from weft.mesh.model import (
    NOWHERE,
    ConnectionPool,
    Destination,
    TcpRoute,
    Tunnel,
    WeightedDestination,
)
from weft.xds.clusters import BLACKHOLE
from weft.xds.forward import NOTHING_RESOLVED, ResolvedPorts, sni_filter
from weft.xds.holding import hold_connections
from weft.xds.proto import Proto, any_of, cidr, duration, is_cidr, uint32

TCP_PROXY = "envoy.filters.network.tcp_proxy"
IDLE_TIMEOUT = 0.0
"""Seconds; 0 is none. Envoy's hour would cut quiet database connections."""
_ANY_ADDRESS = ""


def tcp_proxy(
    stat_prefix: str,
    clusters: str | tuple[WeightedDestination, ...],
    access_logs: list[Proto],
    denied: frozenset[str] = frozenset(),
    tunnel: Tunnel | None = None,
    *,
    seconds_max: float = 0.0,
    idle_seconds_max: float = IDLE_TIMEOUT,
    held: bool = False,
) -> Proto:
    """The network filter that connects a connection with one of the clusters, or with nothing
    where the cluster is denied: not a byte of the server may reach the caller then. After
    `seconds_max` the connection is closed, and when nothing passed for `idle_seconds_max`; 0 is
    never. `held`: a cluster that is missing is waited
    for."""
    proxy = tcp_proxy_pb2.TcpProxy(
        stat_prefix=stat_prefix, access_log=access_logs, idle_timeout=duration(idle_seconds_max)
    )
    if seconds_max:
        proxy.max_downstream_connection_duration.CopyFrom(duration(seconds_max))
    proxy.access_log_options.flush_access_log_on_connected = True
    proxy.hash_policy.add(source_ip=hash_policy_pb2.HashPolicy.SourceIp())
    if isinstance(clusters, str):
        proxy.cluster = clusters
    else:
        used = [part for part in clusters if part.weight > 0]
        if not used:
            proxy.cluster = BLACKHOLE
        elif len(used) == 1:
            proxy.cluster = _cluster(used[0], denied)
        else:
            for part in used:
                name = _cluster(part, denied)
                proxy.weighted_clusters.clusters.add(name=name, weight=part.weight)
    if held:
        hold_connections(proxy)
    if tunnel is not None:
        proxy.tunneling_config.hostname = tunnel.target
        proxy.tunneling_config.use_post = tunnel.post
    return listener_components_pb2.Filter(name=TCP_PROXY, typed_config=any_of(proxy))


def _cluster(part: WeightedDestination, denied: Container[str]) -> str:
    lost = part.destination == NOWHERE or part.destination in denied
    return BLACKHOLE if lost else part.destination


class Times(Struct, frozen=True):
    """How long connections may last, in seconds; 0 is for ever."""

    all_in_all: float = 0.0
    idle: float = 0.0


Tunnels = Mapping[str, Tunnel]
"""Destinations that are HTTP proxies, and what they are asked for."""
NO_TUNNELS: Tunnels = {}
NO_TIMES: Mapping[str, Times] = {}


class TcpFacts(Struct, frozen=True):
    """What destinations and tables mean for the filters that lead to them."""

    resolved: ResolvedPorts = NOTHING_RESOLVED
    scoped: frozenset[str] = frozenset()
    """Route tables that are divided by host."""
    tunnels: Tunnels = NO_TUNNELS
    times: Mapping[str, Times] = NO_TIMES
    wakeable: frozenset[str] = frozenset()
    """Destinations whose clusters may have to be waited for."""


NO_TCP_FACTS = TcpFacts()


def tcp_filters(
    stat_prefix: str,
    route: TcpRoute,
    access_logs: list[Proto],
    facts: TcpFacts,
    denied: frozenset[str] = frozenset(),
) -> list[Proto]:
    """The network filters of a connection route."""
    found = (facts.resolved.get(part.destination) for part in route.destinations)
    port = next((p for p in found if p), 0) if route.sni_hosts else 0
    tunnel, denied = _tunnel(route.destinations, facts.tunnels, denied)
    held = any(part.destination in facts.wakeable for part in route.destinations)
    times = _times(route.destinations, facts.times)
    proxy = tcp_proxy(
        stat_prefix, route.destinations, access_logs, denied, tunnel,
        seconds_max=times.all_in_all, idle_seconds_max=times.idle, held=held,
    )  # fmt: skip
    return [sni_filter(port), proxy] if port else [proxy]


def tunnels(destinations: Iterable[Destination]) -> Tunnels:
    """The destinations that are reached by tunnels."""
    return {d.name: d.tunnel for d in destinations if d.tunnel is not None}


def times(destinations: Iterable[Destination]) -> Mapping[str, Times]:
    """The destinations that limit how long connections of bytes last."""
    found = ((d.name, Times(*_limits(d.pool))) for d in destinations)
    return {name: limits for name, limits in found if limits != Times()}


def _limits(pool: ConnectionPool) -> tuple[float, float]:
    return pool.connection_duration_max or 0.0, pool.bytes_idle_timeout or 0.0


def _times(parts: Iterable[WeightedDestination], known: Mapping[str, Times]) -> Times:
    """Those of a route: which of its shares a connection gets is not known before, so the
    shortest hold for all."""
    if not known:
        return Times()
    used = [known.get(p.destination, Times()) for p in parts if p.weight > 0]
    return Times(
        min((t.all_in_all for t in used if t.all_in_all), default=0.0),
        min((t.idle for t in used if t.idle), default=0.0),
    )


def _tunnel(
    parts: Iterable[WeightedDestination], known: Tunnels, denied: frozenset[str]
) -> tuple[Tunnel | None, frozenset[str]]:
    """The tunnel of a route, and which destinations get nothing. A route has one tunnel: where its
    shares would need several, bytes for one target must not get to another."""
    if not known:
        return None, denied
    used = [part.destination for part in parts if part.weight > 0]
    wanted = {known.get(name) for name in used}
    if len(wanted) > 1:
        return None, denied | frozenset(used)
    return next(iter(wanted), None), denied


class AddressClaims:
    """Which address, port and server name already have a filter chain.

    Envoy refuses a listener in which two chains match alike; the first claim wins.
    """

    def __init__(self) -> None:
        self._taken: set[tuple[str, int, str, tuple[str, ...]]] = set()

    def claim(
        self,
        addresses: Iterable[str],
        port: int,
        name: str = "",
        networks: tuple[str, ...] = (),
    ) -> list[str]:
        """The addresses that were still free; `_ANY_ADDRESS` stands for no condition."""
        free = []
        for address in addresses:
            key = (address, port, name, networks)
            if key not in self._taken:
                self._taken.add(key)
                free.append(address)
        return free


def tcp_matches(route: TcpRoute, claims: AddressClaims) -> list[Proto]:
    """The chain matches of a TCP route that no earlier route has taken: at most one without
    server names, else one per name."""
    addresses = [address for address in route.addresses if is_cidr(address)]
    if route.addresses and not addresses:
        return []
    result = []
    for name in route.sni_hosts or ("",):
        networks = route.source_networks
        free = claims.claim(addresses or [_ANY_ADDRESS], route.port, name, networks)
        if not free:
            continue
        match = chain_match(route.port, free)
        match.source_prefix_ranges.extend(cidr(network) for network in networks)
        if name:
            match.transport_protocol = "tls"
            match.server_names.extend([name] if name != "*" else [])
        result.append(match)
    return result


def chain_match(port: int, addresses: Iterable[str] = ()) -> Proto:
    """Connections to this port, of these addresses when given."""
    match = listener_components_pb2.FilterChainMatch(
        prefix_ranges=[cidr(address) for address in addresses if address]
    )
    if port:
        match.destination_port.CopyFrom(uint32(port))
    return match

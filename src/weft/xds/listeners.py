"""The two listeners inside a pod's network namespace.

`outbound|<uid>` gets every connection that the pod's processes open, redirected there by the
kernel; `inbound|<uid>` gets what arrives at the pod from anywhere but the node proxy itself.
"""

from collections.abc import Iterable
from functools import lru_cache

from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.extensions.filters.listener.http_inspector.v3 import http_inspector_pb2
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from google.protobuf.wrappers_pb2 import BoolValue

from weft.mesh.model import ClientLimits, NodeSettings, TcpRoute, Workload
from weft.telemetry.edge_labels import folded
from weft.xds import telemetry, tracing
from weft.xds.clusters import BLACKHOLE, CONNECTION_BUFFER_BYTES_MAX, INBOUND, PASSTHROUGH
from weft.xds.http_connection_manager import http_connection_manager
from weft.xds.identity import connection_facts
from weft.xds.proto import Proto, any_of, duration, resource, socket_address, uint32
from weft.xds.resource import LISTENER, Resource
from weft.xds.routes import passthrough_configuration
from weft.xds.tcp import (
    NO_TCP_FACTS,
    AddressClaims,
    TcpFacts,
    chain_match,
    tcp_filters,
    tcp_matches,
    tcp_proxy,
)

OUTBOUND_PORT = 15001
OUTBOUND_ADDRESS = "127.0.0.1"
INBOUND_PORT = 15006
INBOUND_ADDRESS = "0.0.0.0"  # noqa: S104 - a redirect goes to the interface's own address
INSPECTION_TIMEOUT = 2.0
"""Seconds that a connection to a port with HTTP may stay silent before it is passed on as bytes."""
CUSTOMARY_HTTP_PORTS = frozenset(
    (*range(80, 90), *range(3000, 3306), *range(4000, 4222), *range(5000, 5432),
     *range(7000, 9092), *range(9093, 10_000))
)  # fmt: skip
"""Ports that are looked into even while no service has them. A listener whose filters change is
replaced, which ends every long connection through it after the drain time; so a new service on one
of these ports must change no filter. Well-known ports of other protocols are not among them."""
PORT_SETS_KEPT_MAX = 256
"""Sets of ports whose ranges are kept: most pods of a node have the same."""
HTTP_NAMES = ("http/1.0", "http/1.1", "h2c")
"""What Envoy's HTTP inspector calls what it recognises."""
HTTP_PROTOCOLS = ("http", "http2", "grpc", "auto")


def outbound_name(uid: str) -> str:
    return f"outbound|{uid}"


def inbound_name(uid: str) -> str:
    return f"inbound|{uid}"


def outbound_listener(
    workload: Workload, node: NodeSettings, facts: TcpFacts = NO_TCP_FACTS
) -> Resource:
    """Calls of a pod, routed as the mesh says; what the mesh does not know passes through."""
    source = telemetry.party(workload)
    wanted = telemetry.reports(node, workload.reporting.caller)
    tcp_logs = telemetry.tcp_access_logs(source, telemetry.ANSWERING, "source", wanted)
    chains = [_own_port_chain(OUTBOUND_PORT)]
    tables = _http_tables(workload)
    claims, denied = AddressClaims(), frozenset(workload.denied)
    for table, matches in tables.items():
        logs = telemetry.http_access_logs(source, telemetry.ANSWERING, "source", wanted)
        hcm = http_connection_manager(
            "outbound",
            table,
            logs,
            authorizers=node.authorizers,
            adaptive=node.adaptive,
            tracing=tracing.tracing(source, node, workload.reporting.caller, pod=workload.name),
        )
        chains.extend(_chain(f"http|{table}", hcm, match) for match in matches)
    for route in _routes_of(workload):
        for match in tcp_matches(route, claims):
            filters = tcp_filters("outbound", route, tcp_logs, facts, denied)
            chains.append(_chain(f"tcp|{route.port}", filters, match))
    passthrough = tcp_proxy("outbound", _unknown(workload), tcp_logs)
    http_ports = {port.port for port in workload.outbound if port.port}
    http_ports |= {route.port for route in _routes_of(workload) if route.http_table}
    tls_ports = {route.port for route in _routes_of(workload) if route.sni_hosts}
    listener = listener_pb2.Listener(
        name=outbound_name(workload.uid),
        address=socket_address(OUTBOUND_ADDRESS, OUTBOUND_PORT, workload.netns),
        traffic_direction=base_pb2.OUTBOUND,
        listener_filters=[
            _original_destination(),
            connection_facts(workload),
            *_inspector("tls", _ranges(frozenset(tls_ports))),
            *_inspector("http", _http_ranges(frozenset(http_ports), _silent_ports(workload))),
        ],
        filter_chains=chains,
        default_filter_chain=_chain("passthrough", passthrough),
    )
    return _finished(listener, uses=tuple(sorted(tables)))


def _unknown(workload: Workload) -> str:
    """The cluster for connections to what the workload does not know."""
    if workload.unknown.proxy:
        return workload.unknown.proxy
    return BLACKHOLE if workload.unknown.mode == "refuse" else PASSTHROUGH


def inbound_listener(workload: Workload, node: NodeSettings) -> Resource:
    """Connections to a pod that no node proxy has looked at yet: nobody knows who makes them."""
    own = telemetry.party(workload)
    wanted = telemetry.reports(node, workload.reporting.callee)
    http_ports = {port.port for port in workload.inbound if port.protocol in HTTP_PROTOCOLS}
    tcp_logs = telemetry.tcp_access_logs(telemetry.NOBODY, folded(own), "destination", wanted)
    let_in, refused = tcp_proxy("inbound", INBOUND, tcp_logs), tcp_proxy("blackhole", BLACKHOLE, [])
    logs = telemetry.http_access_logs(telemetry.NOBODY, folded(own), "destination", wanted)
    routes = passthrough_configuration(INBOUND, INBOUND, workload.access)
    requests = None
    if http_ports:
        requests = http_connection_manager("inbound", routes, logs, authorizers=node.authorizers)
    door = workload.door
    chains = [_own_port_chain(INBOUND_PORT)]
    for at in (*door.ports, None):
        port, where = (at.port, at) if at is not None else (0, door)
        if requests is not None:
            match = chain_match(port)
            match.application_protocols.extend(HTTP_NAMES)
            filter_ = refused if where.requests_closed else requests
            chains.append(_chain(f"http|{port}" if port else "http", filter_, match))
        filter_ = refused if where.bytes_closed else let_in
        if port:
            chains.append(_chain(f"tcp|{port}", filter_, chain_match(port)))
    listener = listener_pb2.Listener(
        name=inbound_name(workload.uid),
        address=socket_address(INBOUND_ADDRESS, INBOUND_PORT, workload.netns),
        traffic_direction=base_pb2.INBOUND,
        listener_filters=[
            _original_destination(),
            *_inspector("http", _ranges(frozenset(http_ports))),
        ],
        filter_chains=chains,
        default_filter_chain=_chain("tcp", filter_),
    )
    return _finished(listener)


def finish_listener(listener: Proto) -> None:
    """What all listeners have in common."""
    listener.per_connection_buffer_limit_bytes.CopyFrom(uint32(CONNECTION_BUFFER_BYTES_MAX))
    listener.enable_reuse_port.CopyFrom(BoolValue(value=False))
    if listener.listener_filters:
        listener.listener_filters_timeout.CopyFrom(duration(INSPECTION_TIMEOUT))
        listener.continue_on_listener_filters_timeout = True


def limit_handshake(chain: Proto, clients: ClientLimits) -> None:
    """Who begins TLS and falls silent is let go of."""
    chain.transport_socket_connect_timeout.CopyFrom(duration(clients.handshake_seconds_max))


def tls_inspector() -> Proto:
    return listener_components_pb2.ListenerFilter(
        name="envoy.filters.listener.tls_inspector",
        typed_config=any_of(tls_inspector_pb2.TlsInspector()),
    )


def http_inspector() -> Proto:
    return listener_components_pb2.ListenerFilter(
        name="envoy.filters.listener.http_inspector",
        typed_config=any_of(http_inspector_pb2.HttpInspector()),
    )


def _finished(listener: Proto, uses: tuple[str, ...] = ()) -> Resource:
    finish_listener(listener)
    return resource(LISTENER, listener.name, listener, uses=uses)


def _chain(name: str, filters: Proto | list[Proto], match: Proto | None = None) -> Proto:
    every = filters if isinstance(filters, list) else [filters]
    chain = listener_components_pb2.FilterChain(name=name, filters=every)
    if match is not None:
        chain.filter_chain_match.CopyFrom(match)
    return chain


def _own_port_chain(port: int) -> Proto:
    """A connection to the proxy's own port was not redirected: passed on, it would come back."""
    return _chain("own-port", tcp_proxy("blackhole", BLACKHOLE, []), chain_match(port))


def _http_tables(workload: Workload) -> dict[str, list[Proto]]:
    """Route table -> the connections it routes. No two matches are alike."""
    claims = AddressClaims()
    tables: dict[str, list[Proto]] = {}

    def add(table: str, port: int, addresses: Iterable[str]) -> None:
        free = claims.claim(addresses, port)
        if free:
            match = chain_match(port, free)
            match.application_protocols.extend(HTTP_NAMES)
            tables.setdefault(table, []).append(match)

    for port in workload.outbound:
        if port.port and port.port != OUTBOUND_PORT:
            add(port.route_table, port.port, [""])
    for route in _routes_of(workload):
        if route.http_table:
            add(route.http_table, route.port, route.addresses or [""])
    return tables


def _routes_of(workload: Workload) -> list[TcpRoute]:
    """The connection routes that are for callers with this workload's labels."""
    own = set(workload.labels)
    return [r for r in workload.tcp if not r.source_labels or own.issuperset(r.source_labels)]


def _silent_ports(workload: Workload) -> frozenset[int]:
    """Ports on which waiting for the caller to speak would delay a server that speaks first,
    and on which nothing is declared as HTTP."""
    declared = {port.port for port in workload.outbound if port.declared}
    return frozenset({r.port for r in _routes_of(workload) if r.server_first} - declared)


@lru_cache(maxsize=PORT_SETS_KEPT_MAX)
def _http_ranges(http: frozenset[int], silent: frozenset[int]) -> tuple[tuple[int, int], ...]:
    """The ports to look for HTTP on."""
    return _ranges((CUSTOMARY_HTTP_PORTS | http) - silent)


def _ranges(ports: frozenset[int]) -> tuple[tuple[int, int], ...]:
    """Ports as ranges: first, and one after the last."""
    found: list[tuple[int, int]] = []
    for port in sorted(ports):
        if found and found[-1][1] == port:
            found[-1] = (found[-1][0], port + 1)
        else:
            found.append((port, port + 1))
    return tuple(found)


def _original_destination() -> Proto:
    return listener_components_pb2.ListenerFilter(
        name="envoy.filters.listener.original_dst",
        typed_config=any_of(original_dst_pb2.OriginalDst()),
    )


def _inspector(kind: str, ports: tuple[tuple[int, int], ...]) -> list[Proto]:
    """The inspector, for these ranges of ports only: it waits for the caller to speak."""
    rule = listener_components_pb2.ListenerFilterChainMatchPredicate
    ranges = []
    for start, end in ports:
        one = rule()
        one.destination_port_range.start = start
        one.destination_port_range.end = end
        ranges.append(one)
    if not ranges:
        return []
    inspector = http_inspector() if kind == "http" else tls_inspector()
    if len(ranges) == 1:
        inspector.filter_disabled.not_match.CopyFrom(ranges[0])
    else:
        inspector.filter_disabled.not_match.or_match.rules.extend(ranges)
    return [inspector]

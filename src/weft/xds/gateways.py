"""Gateways: listeners of the node proxy on the host, for callers from outside the mesh."""

from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from google.protobuf.wrappers_pb2 import BoolValue
from msgspec import Struct

from weft.mesh.model import (
    AdaptiveConcurrency,
    GatewayBinding,
    GatewayListener,
    GatewayServer,
    GatewayTls,
    NodeSettings,
    Reporting,
)
from weft.xds import telemetry, tracing
from weft.xds.clusters import BLACKHOLE, egress_gateway_name
from weft.xds.http_connection_manager import http_connection_manager
from weft.xds.identity import client_facts, gateway_facts, gateway_facts_of_requests
from weft.xds.listeners import finish_listener, limit_handshake, tls_inspector
from weft.xds.node_mtls import mesh_server
from weft.xds.proto import Proto, cidr, resource, socket_address
from weft.xds.resource import LISTENER, Resource
from weft.xds.scoped_routes import route_names
from weft.xds.tcp import NO_TCP_FACTS, TcpFacts, tcp_filters, tcp_proxy
from weft.xds.tls import downstream_tls, quic_tls, usable
from weft.xds.udp import udp_address, udp_listener, udp_proxy


class EdgeSettings(Struct, frozen=True):
    """What all gateways of a node have in common."""

    node: NodeSettings = NodeSettings("")
    reporting: Reporting = Reporting()
    trust_domains: tuple[str, ...] = ("cluster.local",)
    """The mesh's own, then those that count as it."""
    authorizers: tuple[str, ...] = ()
    """Names of the services that policies may have asked."""
    logins: tuple[str, ...] = ()
    """Names of the policies that send browsers to a provider."""
    adaptive: tuple[AdaptiveConcurrency, ...] = ()
    """Limits that routes may follow."""


ALTERNATIVE_SECONDS = 86400
"""How long clients may remember that HTTP/3 is spoken."""
_ANY_HOST = "*"


def gateway_name(gateway: GatewayListener) -> str:
    """`gateway|80`, or `gateway|80|default/shop` for one with addresses of its own."""
    transport = "|udp" if gateway.protocol == "udp" else ""
    owner = f"|{gateway.binding}" if gateway.binding else ""
    return f"gateway|{gateway.port}{owner}{transport}"


def binding_of(gateway: GatewayListener, node: NodeSettings) -> GatewayBinding:
    """Where the node binds the port."""
    if not gateway.binding:
        return GatewayBinding("", (node.gateway_address,), node.gateway_ports)
    found = (b for b in node.gateway_bindings if b.gateway == gateway.binding)
    return next(found, GatewayBinding(gateway.binding, ()))


def egress_listener(
    gateway: GatewayListener, edge: EdgeSettings, facts: TcpFacts = NO_TCP_FACTS
) -> Resource | None:
    """The listener of an egress gateway's port, for connections from within this Envoy."""
    chains = _plain_chains(gateway, edge, facts) or _tls_chains(gateway, edge, facts)
    if not chains:
        return None
    listener = listener_pb2.Listener(
        name=egress_gateway_name(gateway.port),
        internal_listener=listener_pb2.Listener.InternalListenerConfig(),
        traffic_direction=base_pb2.OUTBOUND,
        filter_chains=chains,
    )
    if any(chain.filter_chain_match.transport_protocol for chain in chains):
        listener.listener_filters.append(tls_inspector())
    finish_listener(listener)
    listener.ClearField("enable_reuse_port")
    tables = sorted({server.route_table for server in gateway.servers if server.route_table})
    return resource(LISTENER, listener.name, listener, uses=route_names(tables, facts.scoped))


def gateway_listener(
    gateway: GatewayListener,
    binding: GatewayBinding,
    edge: EdgeSettings,
    facts: TcpFacts = NO_TCP_FACTS,
) -> Resource | None:
    """The listener of a gateway port; None when the node opens no port of its own for it, or
    nothing can be served on it."""
    host_port = binding.bound(gateway)
    if gateway.protocol == "udp":
        return _datagrams(gateway, binding, host_port)
    chains = _plain_chains(gateway, edge, facts) or _tls_chains(gateway, edge, facts)
    if not host_port or not chains or not binding.addresses:
        return None
    first, *others = (socket_address(address, host_port) for address in binding.addresses)
    listener = listener_pb2.Listener(
        name=gateway_name(gateway),
        address=first,
        additional_addresses=[listener_pb2.AdditionalAddress(address=a) for a in others],
        traffic_direction=base_pb2.INBOUND,
        filter_chains=chains,
        listener_filters=[gateway_facts(edge.trust_domains[0])],
    )
    if any(chain.filter_chain_match.transport_protocol for chain in chains):
        listener.listener_filters.append(tls_inspector())
    finish_listener(listener)
    tables = sorted({server.route_table for server in gateway.servers if server.route_table})
    return resource(LISTENER, listener.name, listener, uses=route_names(tables, facts.scoped))


def http3_listener(
    gateway: GatewayListener,
    binding: GatewayBinding,
    edge: EdgeSettings,
    facts: TcpFacts = NO_TCP_FACTS,
) -> Resource | None:
    """The QUIC listener of a gateway port, on the UDP port of the same number; None when no server
    of it speaks HTTP/3."""
    host_port = binding.bound(gateway)
    chains = _quic_chains(gateway, edge, facts)
    if not host_port or not chains or not binding.addresses:
        return None
    first, *others = (udp_address(address, host_port) for address in binding.addresses)
    listener = listener_pb2.Listener(
        name=f"{gateway_name(gateway)}|http3",
        address=first,
        additional_addresses=[listener_pb2.AdditionalAddress(address=a) for a in others],
        traffic_direction=base_pb2.INBOUND,
        filter_chains=chains,
        enable_reuse_port=BoolValue(value=True),
    )
    listener.udp_listener_config.quic_options.SetInParent()
    tables = sorted({server.route_table for server in gateway.servers if server.http3})
    return resource(LISTENER, listener.name, listener, uses=route_names(tables, facts.scoped))


def alternative_services(
    gateways: tuple[GatewayListener, ...], node: NodeSettings
) -> dict[str, str]:
    """Route table -> the `alt-svc` header that tells clients of HTTP/3."""
    if node.relayed:
        return {}
    return {
        server.route_table: f'h3=":{port}"; ma={ALTERNATIVE_SECONDS}'
        for gateway in gateways
        if any(server.http3 for server in gateway.servers)
        and (port := binding_of(gateway, node).bound(gateway))
        for server in gateway.servers
        if server.http3
    }


def _datagrams(gateway: GatewayListener, binding: GatewayBinding, port: int) -> Resource | None:
    """A port for UDP: its one server says where datagrams go."""
    routes = [server.tcp for server in gateway.servers if server.tcp is not None]
    if not port or not binding.addresses or not routes:
        return None
    open_to = [part.destination for part in routes[0].destinations if part.weight > 0]
    first, *others = (udp_address(address, port) for address in binding.addresses)
    proxy = udp_proxy("gateway", (open_to[0] if open_to else "") or BLACKHOLE)
    return udp_listener(gateway_name(gateway), first, proxy, others)


def redirected_hosts(gateways: tuple[GatewayListener, ...]) -> dict[str, tuple[str, ...]]:
    """Route table -> the hosts whose requests are redirected to HTTPS."""
    found: dict[str, tuple[str, ...]] = {}
    for gateway in gateways:
        for server in gateway.servers:
            if server.https_redirect and server.route_table and server.tls is None:
                found[server.route_table] = found.get(server.route_table, ()) + server.hosts
    return found


def _plain_chains(gateway: GatewayListener, edge: EdgeSettings, facts: TcpFacts) -> list[Proto]:
    """Without TLS there is nothing to tell servers apart by before HTTP: one chain, one table.
    Connections of bytes are told apart by where they come from."""
    chains: list[Proto] = []
    taken: set[tuple[str, ...]] = set()
    for server in gateway.servers:
        if gateway.protocol not in ("http", "tcp") or server.tls is not None:
            continue
        networks = _networks(server)
        if networks in taken:
            continue
        taken.add(networks)
        chain = _chain("|".join(("plain", *networks)), server, edge, facts)
        chain.filter_chain_match.source_prefix_ranges.extend(map(cidr, networks))
        if not networks:
            chain.ClearField("filter_chain_match")
        chains.append(chain)
    return chains


def _networks(server: GatewayServer) -> tuple[str, ...]:
    """Where callers must be; empty is anywhere."""
    return server.tcp.source_networks if server.tcp is not None else ()


def _tls_chains(gateway: GatewayListener, edge: EdgeSettings, facts: TcpFacts) -> list[Proto]:
    """A chain per server, chosen by the server name that the caller asks for; an exact name
    beats a wildcard, and the first server that claims a name has it."""
    chains: list[Proto] = []
    taken: set[tuple[str, tuple[str, ...]]] = set()
    for server in gateway.servers:
        terminates = server.tls is not None and usable(server.tls)
        if not terminates and (server.tls is not None or server.tcp is None):
            continue
        hosts = server.tcp.sni_hosts if server.tcp and not server.tls else server.hosts
        networks = _networks(server)
        names = [name for name in hosts or (_ANY_HOST,) if (name, networks) not in taken]
        if not names:
            continue
        taken.update((name, networks) for name in names)
        chain = _chain(server.name, server, edge, facts)
        if _ANY_HOST not in names:
            chain.filter_chain_match.server_names.extend(names)
        chain.filter_chain_match.transport_protocol = "tls"
        chain.filter_chain_match.source_prefix_ranges.extend(map(cidr, networks))
        if server.tls is not None:
            chain.transport_socket.CopyFrom(_ends_tls(server, server.tls, edge))
            limit_handshake(chain, edge.node.clients)
        chains.append(chain)
    return chains


def _ends_tls(server: GatewayServer, tls: GatewayTls, edge: EdgeSettings) -> Proto:
    if tls.mesh:
        return mesh_server(tls, bool(server.route_table), edge.trust_domains)
    return downstream_tls(tls, bool(server.route_table))


def _quic_chains(gateway: GatewayListener, edge: EdgeSettings, facts: TcpFacts) -> list[Proto]:
    chains: list[Proto] = []
    taken: set[str] = set()
    for server in gateway.servers:
        if not server.http3 or server.tls is None or not usable(server.tls):
            continue
        names = [name for name in server.hosts or (_ANY_HOST,) if name not in taken]
        if not names:
            continue
        taken.update(names)
        filter_ = _requests(server, edge, facts, http3=True)
        chain = listener_components_pb2.FilterChain(name=server.name, filters=[filter_])
        if _ANY_HOST not in names:
            chain.filter_chain_match.server_names.extend(names)
        chain.transport_socket.CopyFrom(quic_tls(server.tls))
        chains.append(chain)
    return chains


def _requests(
    server: GatewayServer, edge: EdgeSettings, facts: TcpFacts, http3: bool = False
) -> Proto:
    """The filter for a server's requests."""
    callers = gateway_facts_of_requests(edge.trust_domains[0]) if http3 else None
    if server.tls is not None and server.tls.mesh:
        callers = client_facts()
    return http_connection_manager(
        "gateway",
        server.route_table,
        telemetry.http_access_logs(
            *(telemetry.GATEWAY, telemetry.ANSWERING, "source"),
            telemetry.reports(edge.node, edge.reporting),
        ),
        clients=edge.node.clients,
        http3=http3,
        facts=callers,
        authorizers=edge.authorizers,
        logins=edge.logins,
        adaptive=edge.adaptive,
        buckets=server.route_table,
        scoped=server.route_table in facts.scoped,
        tracing=tracing.tracing(telemetry.GATEWAY, edge.node, edge.reporting),
    )


def _chain(name: str, server: GatewayServer, edge: EdgeSettings, facts: TcpFacts) -> Proto:
    source, answering = telemetry.GATEWAY, telemetry.ANSWERING
    if server.route_table:
        filters = [_requests(server, edge, facts)]
    else:
        wanted = telemetry.reports(edge.node, edge.reporting)
        logs = telemetry.tcp_access_logs(source, answering, "source", wanted)
        nothing = tcp_proxy("gateway", (), logs)
        filters = tcp_filters("gateway", server.tcp, logs, facts) if server.tcp else [nothing]
    return listener_components_pb2.FilterChain(name=name, filters=filters)

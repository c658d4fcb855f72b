"""Calls from other nodes: one listener of mutual TLS per node, with a filter chain for each port of
each pod. The server name says which pod is meant, the protocols that the caller offers (ALPN)
whether the connection carries HTTP. Who may open connections of bytes comes as a secret of its own,
so that a change of that cuts no connection.
"""

from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from google.protobuf.wrappers_pb2 import BoolValue

from weft.mesh.model import NODE_MTLS_PORT, Entrance, NodeSettings, Peers
from weft.telemetry.edge_labels import folded
from weft.xds import telemetry
from weft.xds.clusters import INBOUND, PASSTHROUGH
from weft.xds.http_connection_manager import http_connection_manager
from weft.xds.identity import peer_facts, target_facts
from weft.xds.listeners import finish_listener, limit_handshake, tls_inspector
from weft.xds.node_mtls import TLS, in_domains, mutual_tls
from weft.xds.proto import ADS, Proto, any_of, resource, socket_address
from weft.xds.resource import LISTENER, ROUTES, Resource
from weft.xds.routes import passthrough_configuration
from weft.xds.svids import TRUST_BUNDLE, callers_secret, server_secret
from weft.xds.tcp import tcp_proxy

LISTENER_NAME = "nodes"
ALPN = ("h2", "http/1.1")
BYTES_LIVE_TIMES = 2
"""So much longer than connections of requests, which are let go of without losing one, do those of
bytes live: half of a certificate's life, what is left of one when it is renewed. None outlives the
certificate that it was opened with."""


def nodes_listener(entrances: tuple[Entrance, ...], node: NodeSettings) -> list[Resource]:
    """The listener for other nodes' proxies, and the routes behind it, one table for each port of
    a pod: policies change without touching a connection."""
    made: list[Resource] = []
    chains: list[Proto] = []
    for entrance in entrances:
        if entrance.requests:
            cluster = PASSTHROUGH if entrance.through_inbound else INBOUND
            routes = passthrough_configuration(entrance.name, cluster, entrance.policies)
            made.append(resource(ROUTES, entrance.name, routes))
            chains.append(_requests(entrance, node))
        if entrance.callers != ():
            chains.append(_bytes(entrance, node))
    for chain in chains:
        limit_handshake(chain, node.clients)
    listener = listener_pb2.Listener(
        name=LISTENER_NAME,
        address=socket_address(node.peers.address, NODE_MTLS_PORT),
        traffic_direction=base_pb2.INBOUND,
        listener_filters=[tls_inspector()],
        filter_chains=chains,
    )
    finish_listener(listener)
    uses = tuple(r.name for r in made)
    return [*made, resource(LISTENER, LISTENER_NAME, listener, uses=uses)] if chains else made


def _requests(entrance: Entrance, node: NodeSettings) -> Proto:
    own = telemetry.party(entrance.workload)
    wanted = telemetry.reports(node, entrance.workload.reporting.callee)
    logs = telemetry.http_access_logs(telemetry.PEER, folded(own), "destination", wanted)
    manager = http_connection_manager(
        "inbound", entrance.name, logs,
        facts=peer_facts(), peer_seconds=node.peers.connection_seconds,
    )  # fmt: skip
    domains = _anybody(node.peers)
    return _chain(f"http|{entrance.name}", entrance, [manager], domains, ALPN)


def _bytes(entrance: Entrance, node: NodeSettings) -> Proto:
    own = telemetry.party(entrance.workload)
    wanted = telemetry.reports(node, entrance.workload.reporting.callee)
    logs = telemetry.tcp_access_logs(telemetry.PEER, folded(own), "destination", wanted)
    cluster = PASSTHROUGH if entrance.through_inbound else INBOUND
    life = node.peers.connection_seconds * BYTES_LIVE_TIMES
    proxy = tcp_proxy("inbound", cluster, logs, seconds_max=life)
    names = _anybody(node.peers) if entrance.callers is None else []
    return _chain(f"tcp|{entrance.name}", entrance, [proxy], names)


def _anybody(peers: Peers) -> list[Proto]:
    """Workloads, and nodes: these call for those whom nobody knows."""
    return [*in_domains(peers, "/ns/"), *in_domains(peers, "/node/")]


def _chain(
    name: str,
    entrance: Entrance,
    filters: list[Proto],
    names: list[Proto],
    protocols: tuple[str, ...] = (),
) -> Proto:
    trust = TRUST_BUNDLE if names else callers_secret(entrance.name)
    common = mutual_tls(names, trust)
    common.alpn_protocols.extend(protocols)
    secret = server_secret(entrance.workload.principal)
    common.tls_certificate_sds_secret_configs.add(name=secret, sds_config=ADS)
    context = tls_pb2.DownstreamTlsContext(
        common_tls_context=common,
        require_client_certificate=BoolValue(value=True),
        # A resumed session would keep a certificate in use that has ended.
        disable_stateless_session_resumption=True,
        disable_stateful_session_resumption=True,
    )
    chain = listener_components_pb2.FilterChain(
        name=name,
        filters=[target_facts(entrance.workload.address, entrance.port), *filters],
        transport_socket=base_pb2.TransportSocket(name=TLS, typed_config=any_of(context)),
    )
    chain.filter_chain_match.server_names.append(entrance.name)
    chain.filter_chain_match.transport_protocol = "tls"
    chain.filter_chain_match.application_protocols.extend(protocols)
    return chain

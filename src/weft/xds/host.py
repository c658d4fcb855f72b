"""Host isolation: the node proxy listens where the callers look, nothing is redirected.

A service has an address of its own in 127.0.0.0/8, and each pod an HTTP proxy address, which is
what tells the caller: requests that arrive there come from this pod.
"""

from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2

from weft.mesh.model import NodeSettings, Reporting, ServiceListener, Workload
from weft.telemetry.edge_labels import Party
from weft.xds import telemetry, tracing
from weft.xds.http_connection_manager import http_connection_manager
from weft.xds.identity import connection_facts
from weft.xds.listeners import HTTP_NAMES, finish_listener, http_inspector, outbound_name
from weft.xds.proto import Proto, cidr, resource, socket_address
from weft.xds.resource import LISTENER, Resource
from weft.xds.tcp import NO_TCP_FACTS, TcpFacts, tcp_filters, tcp_proxy

PROXY_TABLE_PORT = 0
"""The OutboundPort that names the route table of a pod's HTTP proxy listener."""


def service_name(listener: ServiceListener) -> str:
    return f"service|{listener.address}|{listener.port}"


def service_listener(
    listener: ServiceListener, node: NodeSettings, facts: TcpFacts = NO_TCP_FACTS
) -> Resource:
    """A service's address. Who calls is not known here: any process of the machine may."""
    logs = telemetry.tcp_access_logs(
        telemetry.NOBODY, telemetry.ANSWERING, "source", telemetry.reports(node, Reporting())
    )
    tcp = listener.tcp
    table = listener.route_table or (tcp.http_table if tcp else "")
    result = listener_pb2.Listener(
        name=service_name(listener),
        address=socket_address(listener.address, listener.port),
        traffic_direction=base_pb2.OUTBOUND,
        listener_filters=[connection_facts(None)],
    )
    edge = bool(listener.owner)
    bytes_chain = listener_components_pb2.FilterChain(
        name="tcp",
        filters=tcp_filters("outbound", tcp, logs, facts)
        if tcp
        else [tcp_proxy("outbound", (), logs)],
    )
    if not table:
        result.filter_chains.append(bytes_chain)
    else:
        http_chain = _http_chain(table, telemetry.NOBODY, node, Reporting(), edge=edge)
        if tcp is not None:
            http_chain.filter_chain_match.application_protocols.extend(HTTP_NAMES)
            result.listener_filters.append(http_inspector())
            result.default_filter_chain.CopyFrom(bytes_chain)
        result.filter_chains.append(http_chain)
    if listener.source_ranges:
        _restrict(result, listener.source_ranges)
    finish_listener(result)
    return resource(LISTENER, result.name, result, uses=(table,) if table else ())


def _restrict(listener: Proto, ranges: tuple[str, ...]) -> None:
    """Connections from elsewhere match no filter chain, so they are closed."""
    if listener.HasField("default_filter_chain"):
        listener.filter_chains.append(listener.default_filter_chain)
        listener.ClearField("default_filter_chain")
    for chain in listener.filter_chains:
        chain.filter_chain_match.source_prefix_ranges.extend(cidr(each) for each in ranges)


def proxy_listener(workload: Workload, node: NodeSettings) -> Resource | None:
    """A pod's HTTP proxy: requests name their host and port (`GET http://web:8080/`)."""
    host, _, port = workload.proxy_address.rpartition(":")
    table = proxy_table(workload)
    if not host or not port.isdigit() or not table:
        return None
    listener = listener_pb2.Listener(
        name=outbound_name(workload.uid),
        address=socket_address(host, int(port)),
        traffic_direction=base_pb2.OUTBOUND,
        listener_filters=[connection_facts(workload)],
        filter_chains=[
            _http_chain(table, telemetry.party(workload), node, workload.reporting.caller)
        ],
    )
    finish_listener(listener)
    return resource(LISTENER, listener.name, listener, uses=(table,))


def proxy_table(workload: Workload) -> str:
    """The route table of a pod's HTTP proxy; empty when it has none."""
    for port in workload.outbound:
        if port.port == PROXY_TABLE_PORT:
            return port.route_table
    return ""


def _http_chain(
    table: str, source: Party, node: NodeSettings, how: Reporting, *, edge: bool = False
) -> Proto:
    wanted = telemetry.reports(node, how)
    logs = telemetry.http_access_logs(source, telemetry.ANSWERING, "source", wanted)
    hcm = http_connection_manager(
        "outbound",
        table,
        logs,
        clients=node.clients if edge else None,
        authorizers=node.authorizers,
        adaptive=node.adaptive,
        tracing=tracing.tracing(source, node, how),
    )
    return listener_components_pb2.FilterChain(name=f"http|{table}", filters=[hcm])

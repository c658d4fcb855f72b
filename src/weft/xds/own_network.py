"""Listeners that Sidecars ask for inside a workload's network: before its program, for callers; and
at addresses of its own, for the calls that it makes there."""

from envoy.config.core.v3 import address_pb2, base_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2

from weft.mesh.model import IngressListener, LocalListener, NodeSettings, Workload
from weft.xds import telemetry, tracing
from weft.xds.clusters import program_cluster
from weft.xds.http_connection_manager import http_connection_manager
from weft.xds.identity import connection_facts
from weft.xds.listeners import HTTP_PROTOCOLS, finish_listener
from weft.xds.proto import Proto, resource, socket_address
from weft.xds.resource import CLUSTER, LISTENER, Resource
from weft.xds.routes import passthrough_configuration
from weft.xds.tcp import TcpFacts, tcp_filters, tcp_proxy
from weft.xds.tls import downstream_tls, usable


def own_prefixes(uid: str) -> tuple[str, str]:
    """How the names of these listeners of a workload begin."""
    return f"ingress|{uid}|", f"local|{uid}|"


def own_listeners(workload: Workload, node: NodeSettings, facts: TcpFacts) -> list[Resource]:
    """All of them, clusters first."""
    made: list[Resource] = []
    for ingress in workload.ingress:
        if ingress.tls is None or usable(ingress.tls):
            made.extend(_ingress(workload, ingress, node))
    made.extend(_local(workload, local, node, facts) for local in workload.local)
    return made


def _ingress(workload: Workload, wanted: IngressListener, node: NodeSettings) -> list[Resource]:
    """The listener and the cluster of the program behind it. Whoever calls was judged before."""
    first, _ = own_prefixes(workload.uid)
    name = f"{first}{wanted.port}"
    requests = wanted.protocol in HTTP_PROTOCOLS[:3] and (
        wanted.tls is not None or _counts_requests(wanted)
    )
    if requests:
        routes = passthrough_configuration(name, name)
        passed = http_connection_manager("inbound", routes, [], passed_on=wanted.tls is None)
    else:
        longest, idle = wanted.pool.connection_duration_max, wanted.pool.bytes_idle_timeout
        passed = tcp_proxy(
            "inbound", name, [], seconds_max=longest or 0.0, idle_seconds_max=idle or 0.0
        )
    chain = listener_components_pb2.FilterChain(name="program", filters=[passed])
    if wanted.tls is not None:
        chain.transport_socket.CopyFrom(downstream_tls(wanted.tls, requests))
    listener = listener_pb2.Listener(
        name=name,
        address=socket_address(workload.address, wanted.bound, workload.netns),
        traffic_direction=base_pb2.INBOUND,
        filter_chains=[chain],
    )
    finish_listener(listener)
    target = socket_address(wanted.target or workload.address, wanted.target_port)
    cluster = program_cluster(name, target, wanted, _source(workload, wanted, node))
    return [resource(CLUSTER, name, cluster), resource(LISTENER, name, listener)]


def _counts_requests(wanted: IngressListener) -> bool:
    """Whether there are limits that connections of bytes would not keep."""
    pool = wanted.pool
    limits = (
        pool.requests_max, pool.pending_requests_max, pool.streams_per_connection_max,
        pool.requests_per_connection_max, pool.idle_timeout, pool.connection_duration_max,
    )  # fmt: skip
    return any(limit is not None for limit in limits)


def _source(workload: Workload, wanted: IngressListener, node: NodeSettings) -> Proto:
    """Loopback is reached from inside; the workload's address from where nothing is redirected."""
    if not wanted.target:
        return address_pb2.SocketAddress(address=node.address, port_value=0)
    return address_pb2.SocketAddress(
        address=wanted.target, port_value=0, network_namespace_filepath=workload.netns
    )


def _local(
    workload: Workload, wanted: LocalListener, node: NodeSettings, facts: TcpFacts
) -> Resource:
    _, first = own_prefixes(workload.uid)
    source, how = telemetry.party(workload), workload.reporting.caller
    reports = telemetry.reports(node, how)
    if wanted.tcp is not None:
        logs = telemetry.tcp_access_logs(source, telemetry.ANSWERING, "source", reports)
        denied = frozenset(workload.denied)
        filters = tcp_filters("outbound", wanted.tcp, logs, facts, denied)
    else:
        logs = telemetry.http_access_logs(source, telemetry.ANSWERING, "source", reports)
        filters = [
            http_connection_manager(
                "outbound",
                wanted.route_table,
                logs,
                authorizers=node.authorizers,
                tracing=tracing.tracing(source, node, how, pod=workload.name),
            )
        ]
    name = f"{first}{wanted.address}|{wanted.port}"
    listener = listener_pb2.Listener(
        name=name,
        address=socket_address(wanted.address, wanted.port, workload.netns),
        traffic_direction=base_pb2.OUTBOUND,
        listener_filters=[connection_facts(workload)],
        filter_chains=[listener_components_pb2.FilterChain(name="calls", filters=filters)],
    )
    finish_listener(listener)
    uses = (wanted.route_table,) if wanted.route_table else ()
    return resource(LISTENER, name, listener, uses=uses)

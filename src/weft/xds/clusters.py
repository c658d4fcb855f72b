"""Destinations to Envoy clusters (CDS), and the clusters that every node has."""

from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2, outlier_detection_pb2
from envoy.config.common.matcher.v3 import matcher_pb2
from envoy.config.core.v3 import address_pb2, base_pb2, protocol_pb2
from envoy.extensions.clusters.common.dns.v3 import dns_pb2
from envoy.extensions.clusters.dns.v3 import dns_cluster_pb2
from envoy.extensions.transport_sockets.internal_upstream.v3 import internal_upstream_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from envoy.type.v3 import percent_pb2
from google.protobuf.wrappers_pb2 import BoolValue, UInt64Value

from weft.mesh.model import (
    ConnectionPool,
    Destination,
    IngressListener,
    LoadBalancer,
    NodeSettings,
    OutlierDetection,
    WarmUp,
)
from weft.xds.descriptors import set_budget_interval
from weft.xds.endpoints import load_assignment
from weft.xds.forward import FORWARD, discover_by_name
from weft.xds.health_checks import health_check
from weft.xds.node_mtls import out_of_the_mesh, socket_matches
from weft.xds.proto import ADS, UNLIMITED, Proto, any_of, duration, resource, uint32
from weft.xds.proxy_protocol import announce_callers
from weft.xds.resource import CLUSTER, Resource
from weft.xds.response_time import balance_by_response_time, measure
from weft.xds.telemetry import cluster_metadata
from weft.xds.tls import upstream_tls
from weft.xds.upstream_filters import cluster_filters

PASSTHROUGH = "passthrough"
"""To where the connection was going; from an address that pods do redirect."""
INBOUND = "inbound"
"""To the pod that the connection arrived at; from the address that pods trust."""
BLACKHOLE = "blackhole"
"""To nowhere."""

CONNECT_TIMEOUT = 10.0
"""Seconds, where no ConnectionPool says otherwise."""
CALLER_LETS_GO_FRACTION = 0.8
"""Of the time that a connection between nodes may last."""
CONNECTION_BUFFER_BYTES_MAX = 1024 * 1024
"""Per connection and direction; also the longest request body that can be repeated by a retry."""
MAGLEV_TABLE_SIZE_MAX = 5000011
"""Envoy's own limit."""
RING_SIZE_MAX = 8 * 1024 * 1024
"""Envoy's own limit."""

ANY_IPV6 = "::"

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_HttpOptions = http_protocol_options_pb2.HttpProtocolOptions
_POLICIES = {
    "round_robin": cluster_pb2.Cluster.ROUND_ROBIN,
    "least_request": cluster_pb2.Cluster.LEAST_REQUEST,
    "random": cluster_pb2.Cluster.RANDOM,
    "ring_hash": cluster_pb2.Cluster.RING_HASH,
    "maglev": cluster_pb2.Cluster.MAGLEV,
}


def cluster_resource(destination: Destination, node: NodeSettings) -> Resource:
    """The cluster of a destination."""
    cluster = cluster_pb2.Cluster(
        name=destination.name,
        alt_stat_name=_stat_name(destination.name),
        connect_timeout=duration(destination.pool.connect_timeout or CONNECT_TIMEOUT),
        metadata=cluster_metadata(destination),
        per_connection_buffer_limit_bytes=uint32(CONNECTION_BUFFER_BYTES_MAX),
        circuit_breakers=_circuit_breakers(destination.pool),
        ignore_health_on_host_removal=True,
    )
    _discovery(cluster, destination, node)
    _common_balancing(cluster, destination)
    if destination.protocol not in ("tcp", "tls", "udp"):
        options = _http_options(destination, node)
        options.http_filters.extend(cluster_filters(destination))
        cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(any_of(options))
    if destination.outlier is not None:
        cluster.outlier_detection.CopyFrom(_outlier_detection(destination.outlier))
    if destination.health_check is not None:
        http2 = destination.protocol in ("http2", "grpc")
        cluster.health_checks.append(health_check(destination.health_check, http2))
    if destination.pool.tcp_keepalive:
        cluster.upstream_connection_options.tcp_keepalive.CopyFrom(_keepalive(destination.pool))
    if destination.discovery == "endpoints" and _in_mesh(destination):
        cluster.transport_socket_matches.extend(socket_matches(destination, node.peers))
    if destination.tls is not None and destination.tls.mode == "mesh":
        own = out_of_the_mesh(destination.tls, _alpn(destination), node.peers)
        cluster.transport_socket.CopyFrom(own)
    elif destination.tls is not None:
        cluster.transport_socket.CopyFrom(upstream_tls(destination.tls, _alpn(destination)))
    if destination.proxy_protocol and destination.discovery != "gateway":
        announce_callers(cluster, destination.proxy_protocol)
    return resource(CLUSTER, destination.name, cluster)


def node_clusters(node: NodeSettings) -> list[Resource]:
    """The clusters that no destination stands behind."""
    blackhole = cluster_pb2.Cluster(
        name=BLACKHOLE,
        alt_stat_name=_stat_name(BLACKHOLE),
        type=cluster_pb2.Cluster.STATIC,
        connect_timeout=duration(CONNECT_TIMEOUT),
    )
    clusters = [blackhole]
    if node.isolation == "netns":
        clusters.append(_original_destination(PASSTHROUGH, node.passthrough_address))
        clusters.append(_original_destination(INBOUND, node.address))
    clusters.append(_forward_cluster(node))
    return [resource(CLUSTER, cluster.name, cluster) for cluster in clusters]


def _stat_name(cluster: str) -> str:
    """Names contain dots, as statistics do: an end mark lets a tag expression find the name."""
    return f"{cluster};"


def passthrough_cluster(node: NodeSettings) -> str:
    """Where requests for unknown hosts go."""
    return PASSTHROUGH if node.isolation == "netns" else FORWARD


def _discovery(cluster: Proto, destination: Destination, node: NodeSettings) -> None:
    if destination.discovery == "endpoints":
        cluster.type = cluster_pb2.Cluster.EDS
        cluster.eds_cluster_config.eds_config.CopyFrom(ADS)
        # Pods redirect what does not come from the trusted address to their inbound listeners.
        source = node.passthrough_address if destination.through_inbound else node.address
        if node.isolation == "netns" and source and _in_mesh(destination):
            _bind(cluster, source)
    elif destination.discovery in ("dns", "logical_dns"):
        # Envoy refuses a logical cluster of several endpoints: a spare service may have joined.
        logical = destination.discovery == "logical_dns" and len(destination.endpoints) == 1
        config = dns_cluster_pb2.DnsCluster(
            respect_dns_ttl=True,
            dns_lookup_family=dns_pb2.V4_PREFERRED,
            all_addresses_in_single_endpoint=logical,
        )
        cluster.cluster_type.name = "envoy.cluster.dns"
        cluster.cluster_type.typed_config.CopyFrom(any_of(config))
        # A name that does not resolve must not hold up the changes of everybody else.
        cluster.wait_for_warm_on_init.CopyFrom(BoolValue(value=False))
        assignment = load_assignment(destination, list(destination.endpoints), node)
        cluster.load_assignment.CopyFrom(assignment)
        _bind_resolved(cluster, node)
    elif destination.discovery == "dynamic":
        tls = destination.tls
        own_demands = tls is None or tls.sni or tls.subject_alt_names or tls.insecure_skip_verify
        discover_by_name(cluster, any_certificate=bool(own_demands))
        _bind_resolved(cluster, node)
    elif destination.discovery == "gateway":
        _to_egress_gateway(cluster, destination)
    else:
        cluster.type = cluster_pb2.Cluster.ORIGINAL_DST
        cluster.lb_policy = cluster_pb2.Cluster.CLUSTER_PROVIDED
        if node.passthrough_address:
            _bind(cluster, node.passthrough_address)


def _to_egress_gateway(cluster: Proto, destination: Destination) -> None:
    """The gateway is a listener of this same Envoy that no socket is bound for."""
    cluster.type = cluster_pb2.Cluster.STATIC
    cluster.load_assignment.cluster_name = destination.name
    endpoint = cluster.load_assignment.endpoints.add().lb_endpoints.add().endpoint
    address = endpoint.address.envoy_internal_address
    address.server_listener_name = egress_gateway_name(destination.port)
    address.endpoint_id = destination.name
    cluster.transport_socket.name = "envoy.transport_sockets.internal_upstream"
    inner = base_pb2.TransportSocket(
        name="envoy.transport_sockets.raw_buffer",
        typed_config=any_of(raw_buffer_pb2.RawBuffer()),
    )
    config = internal_upstream_pb2.InternalUpstreamTransport(transport_socket=inner)
    cluster.transport_socket.typed_config.CopyFrom(any_of(config))


def egress_gateway_name(port: int) -> str:
    """The listener of an egress gateway's port."""
    return f"egress|{port}"


def _in_mesh(destination: Destination) -> bool:
    """Whether the endpoints are pods: only they are reached from the trusted address, which
    means nothing beyond the node. A destination without endpoints may get pods."""
    endpoints = destination.endpoints
    return not endpoints or any(endpoint.pod_uid for endpoint in endpoints)


def _common_balancing(cluster: Proto, destination: Destination) -> None:
    if destination.discovery not in ("original_dst", "dynamic"):
        _load_balancer(cluster, destination.load_balancer)
    # Envoy would otherwise ("panic") use ejected and draining endpoints when few healthy ones are
    # left; a draining pod is about to end, so a clear 503 is better than a lost request.
    panic = destination.outlier.health_percent_min if destination.outlier else 0
    if destination.panic_percent is not None:
        panic = destination.panic_percent
    cluster.common_lb_config.healthy_panic_threshold.CopyFrom(percent_pb2.Percent(value=panic))


def _load_balancer(cluster: Proto, balancer: LoadBalancer) -> None:
    if balancer.algorithm == "least_response_time":
        balance_by_response_time(cluster)
        return
    cluster.lb_policy = _POLICIES[balancer.algorithm]
    if balancer.algorithm == "ring_hash":
        size = min(max(balancer.ring_size_min, 1), RING_SIZE_MAX)
        cluster.ring_hash_lb_config.minimum_ring_size.CopyFrom(UInt64Value(value=size))
    elif balancer.algorithm == "maglev":
        table_size = UInt64Value(value=min(balancer.maglev_table_size, MAGLEV_TABLE_SIZE_MAX))
        cluster.maglev_lb_config.table_size.CopyFrom(table_size)
    locality = balancer.locality
    if locality is not None and (locality.distribute or locality.zone_aware):
        cluster.common_lb_config.locality_weighted_lb_config.SetInParent()
    warm_up = balancer.warm_up
    if warm_up is not None and balancer.algorithm == "round_robin":
        cluster.round_robin_lb_config.slow_start_config.CopyFrom(_slow_start(warm_up))
    elif warm_up is not None and balancer.algorithm == "least_request":
        cluster.least_request_lb_config.slow_start_config.CopyFrom(_slow_start(warm_up))


def _slow_start(warm_up: WarmUp) -> Proto:
    config = cluster_pb2.Cluster.SlowStartConfig(
        slow_start_window=duration(warm_up.duration),
        min_weight_percent=percent_pb2.Percent(value=warm_up.percent_min),
    )
    config.aggression.default_value = max(warm_up.aggression, 1.0)
    config.aggression.runtime_key = "weft.warm_up.aggression"
    return config


def _keepalive(pool: ConnectionPool) -> Proto:
    result = address_pb2.TcpKeepalive()
    if pool.keepalive_probes:
        result.keepalive_probes.CopyFrom(uint32(pool.keepalive_probes))
    if pool.keepalive_time:
        result.keepalive_time.CopyFrom(uint32(max(round(pool.keepalive_time), 1)))
    if pool.keepalive_interval:
        result.keepalive_interval.CopyFrom(uint32(max(round(pool.keepalive_interval), 1)))
    return result


def _circuit_breakers(pool: ConnectionPool) -> Proto:
    """Envoy's own limits of 1024 would let the callers of a shared proxy starve each other."""

    def limit(value: int | None) -> Proto:
        return uint32(UNLIMITED if value is None else value)

    thresholds = circuit_breaker_pb2.CircuitBreakers.Thresholds(
        max_connections=limit(pool.connections_max),
        max_pending_requests=limit(pool.pending_requests_max),
        max_requests=limit(pool.requests_max),
        max_retries=limit(pool.retries_max),
    )
    if pool.retry_budget_percent is not None:
        budget = thresholds.retry_budget
        budget.budget_percent.value = pool.retry_budget_percent
        budget.min_retry_concurrency.CopyFrom(uint32(pool.retry_budget_min))
        if pool.retry_budget_interval:
            set_budget_interval(budget, duration(pool.retry_budget_interval))
    return circuit_breaker_pb2.CircuitBreakers(thresholds=[thresholds])


def _http_options(destination: Destination, node: NodeSettings) -> Proto:
    options = _HttpOptions()
    pool = destination.pool
    common = protocol_pb2.HttpProtocolOptions()
    if pool.idle_timeout:
        common.idle_timeout.CopyFrom(duration(pool.idle_timeout))
    if longest := _connection_seconds(destination, node):
        common.max_connection_duration.CopyFrom(duration(longest))
    if pool.requests_per_connection_max:
        requests_max = uint32(pool.requests_per_connection_max)
        common.max_requests_per_connection.CopyFrom(requests_max)
    if common.ByteSize():
        options.common_http_protocol_options.CopyFrom(common)
    http2 = protocol_pb2.Http2ProtocolOptions()
    if pool.streams_per_connection_max:
        http2.max_concurrent_streams.CopyFrom(uint32(pool.streams_per_connection_max))
    if pool.ping_interval:
        http2.connection_keepalive.interval.CopyFrom(duration(pool.ping_interval))
        answer = duration(pool.ping_timeout or PING_TIMEOUT)
        http2.connection_keepalive.timeout.CopyFrom(answer)
    if destination.outlier is not None and destination.outlier.statuses:
        _count_as_errors(options, destination.outlier.statuses)
    if destination.protocol == "auto" or pool.client_protocol:
        options.use_downstream_protocol_config.http_protocol_options.SetInParent()
        options.use_downstream_protocol_config.http2_protocol_options.CopyFrom(http2)
    elif destination.protocol in ("http2", "grpc"):
        options.explicit_http_config.http2_protocol_options.CopyFrom(http2)
    else:
        options.explicit_http_config.http_protocol_options.SetInParent()
    if destination.tls is not None and not destination.tls.sni:
        options.upstream_http_protocol_options.auto_sni = True
        verify = not destination.tls.insecure_skip_verify
        if verify and not destination.tls.subject_alt_names:
            options.upstream_http_protocol_options.auto_san_validation = True
    if destination.load_balancer.algorithm == "least_response_time":
        measure(options, grpc=destination.protocol == "grpc")
    return options


def _connection_seconds(destination: Destination, node: NodeSettings) -> float:
    """Connections to other nodes are let go of before their certificates end. The caller's side
    does it, who knows when there is no request on one; the other side waits a little longer."""
    wanted = destination.pool.connection_duration_max or 0.0
    if not node.peers.nodes or not _in_mesh(destination):
        return wanted
    longest = node.peers.connection_seconds * CALLER_LETS_GO_FRACTION
    return min(wanted, longest) if wanted else longest


def _alpn(destination: Destination) -> tuple[str, ...]:
    if destination.protocol in ("http2", "grpc"):
        return ("h2",)
    return ("http/1.1",) if destination.protocol == "http" else ()


def _outlier_detection(outlier: OutlierDetection) -> Proto:
    """Every detector is named: a detector that is not would run with Envoy's default."""
    result = outlier_detection_pb2.OutlierDetection(
        interval=duration(outlier.interval),
        base_ejection_time=duration(outlier.base_ejection_time),
        max_ejection_time=duration(max(outlier.base_ejection_time, MAX_EJECTION_TIME)),
        max_ejection_percent=uint32(outlier.ejection_percent_max),
        # Else 10 % of three endpoints is none, and nothing would ever be ejected.
        always_eject_one_host=BoolValue(value=outlier.ejection_percent_max > 0),
        enforcing_consecutive_5xx=uint32(_percent(outlier.consecutive_5xx)),
        enforcing_consecutive_gateway_failure=uint32(_percent(outlier.consecutive_gateway_errors)),
        enforcing_success_rate=uint32(0),
        enforcing_local_origin_success_rate=uint32(0),
        enforcing_consecutive_local_origin_failure=uint32(
            _percent(outlier.consecutive_local_origin_failures)
        ),
        split_external_local_origin_errors=outlier.split_local_origin,
    )
    if (rate := outlier.success_rate) is not None:
        result.enforcing_success_rate.CopyFrom(uint32(100))
        result.success_rate_minimum_hosts.CopyFrom(uint32(rate.hosts_min))
        result.success_rate_request_volume.CopyFrom(uint32(rate.requests_min))
        result.success_rate_stdev_factor.CopyFrom(uint32(round(rate.deviations * 1000)))
    if (failures := outlier.failure_percentage) is not None:
        result.enforcing_failure_percentage.CopyFrom(uint32(100))
        result.failure_percentage_threshold.CopyFrom(uint32(failures.percent))
        result.failure_percentage_minimum_hosts.CopyFrom(uint32(failures.hosts_min))
        result.failure_percentage_request_volume.CopyFrom(uint32(failures.requests_min))
    if outlier.consecutive_5xx:
        result.consecutive_5xx.CopyFrom(uint32(outlier.consecutive_5xx))
    if outlier.consecutive_gateway_errors:
        count = uint32(outlier.consecutive_gateway_errors)
        result.consecutive_gateway_failure.CopyFrom(count)
    if outlier.consecutive_local_origin_failures:
        count = uint32(outlier.consecutive_local_origin_failures)
        result.consecutive_local_origin_failure.CopyFrom(count)
    return result


def _count_as_errors(options: Proto, statuses: tuple[int, ...]) -> None:
    rules = []
    for status in statuses:
        match = matcher_pb2.HttpHeadersMatch()
        match.headers.add(name=":status").string_match.exact = str(status)
        rules.append(matcher_pb2.MatchPredicate(http_response_headers_match=match))
    matcher = options.outlier_detection.error_matcher
    if len(rules) == 1:
        matcher.CopyFrom(rules[0])
    else:
        matcher.or_match.rules.extend(rules)


PING_TIMEOUT = 20.0
"""Seconds, where none is given."""
MAX_EJECTION_TIME = 300.0
"""Seconds; Envoy's default, which must not be below the base ejection time."""


def _percent(threshold: int | None) -> int:
    return 100 if threshold else 0


def _original_destination(name: str, source: str) -> Proto:
    options = _HttpOptions()
    options.use_downstream_protocol_config.http_protocol_options.SetInParent()
    options.use_downstream_protocol_config.http2_protocol_options.SetInParent()
    cluster = cluster_pb2.Cluster(
        name=name,
        alt_stat_name=_stat_name(name),
        type=cluster_pb2.Cluster.ORIGINAL_DST,
        lb_policy=cluster_pb2.Cluster.CLUSTER_PROVIDED,
        connect_timeout=duration(CONNECT_TIMEOUT),
        per_connection_buffer_limit_bytes=uint32(CONNECTION_BUFFER_BYTES_MAX),
        circuit_breakers=_circuit_breakers(ConnectionPool()),
    )
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(any_of(options))
    if source:
        _bind(cluster, source)
    return cluster


def program_cluster(name: str, address: Proto, ingress: IngressListener, source: Proto) -> Proto:
    """The program of a workload, as its own proxy reaches it."""
    options = _HttpOptions()
    options.use_downstream_protocol_config.http_protocol_options.SetInParent()
    http2 = options.use_downstream_protocol_config.http2_protocol_options
    pool = ingress.pool
    if pool.streams_per_connection_max:
        http2.max_concurrent_streams.CopyFrom(uint32(pool.streams_per_connection_max))
    http2.SetInParent()
    common = options.common_http_protocol_options
    if pool.idle_timeout:
        common.idle_timeout.CopyFrom(duration(pool.idle_timeout))
    if pool.connection_duration_max:
        common.max_connection_duration.CopyFrom(duration(pool.connection_duration_max))
    if pool.requests_per_connection_max:
        common.max_requests_per_connection.CopyFrom(uint32(pool.requests_per_connection_max))
    cluster = cluster_pb2.Cluster(
        name=name,
        alt_stat_name=_stat_name(name),
        type=cluster_pb2.Cluster.STATIC,
        connect_timeout=duration(pool.connect_timeout or CONNECT_TIMEOUT),
        per_connection_buffer_limit_bytes=uint32(CONNECTION_BUFFER_BYTES_MAX),
        circuit_breakers=_circuit_breakers(pool),
    )
    cluster.load_assignment.cluster_name = name
    endpoint = cluster.load_assignment.endpoints.add().lb_endpoints.add().endpoint
    endpoint.address.CopyFrom(address)
    cluster.upstream_bind_config.source_address.CopyFrom(source)
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(any_of(options))
    if pool.tcp_keepalive:
        cluster.upstream_connection_options.tcp_keepalive.CopyFrom(_keepalive(pool))
    return cluster


def _forward_cluster(node: NodeSettings) -> Proto:
    cluster = cluster_pb2.Cluster(
        name=FORWARD,
        alt_stat_name=_stat_name(FORWARD),
        connect_timeout=duration(CONNECT_TIMEOUT),
        per_connection_buffer_limit_bytes=uint32(CONNECTION_BUFFER_BYTES_MAX),
        circuit_breakers=_circuit_breakers(ConnectionPool()),
    )
    discover_by_name(cluster)
    _bind_resolved(cluster, node)
    return cluster


def _bind_resolved(cluster: Proto, node: NodeSettings) -> None:
    """A name may resolve to the address of a pod: the connection then comes from an address that
    nobody trusts, and the pod's inbound listener has its policies hold."""
    if node.isolation != "netns" or not node.passthrough_address:
        return
    _bind(cluster, node.passthrough_address)
    other = cluster.upstream_bind_config.extra_source_addresses.add()
    other.address.address, other.address.port_value = ANY_IPV6, 0


def _bind(cluster: Proto, source: str) -> None:
    cluster.upstream_bind_config.source_address.CopyFrom(
        address_pb2.SocketAddress(address=source, port_value=0)
    )

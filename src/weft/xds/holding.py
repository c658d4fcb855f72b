"""Calls to what was scaled to zero: they are held in the proxy until somebody serves them.

Requests are held by an ext_authz filter in front of the router, which asks the control plane; it
answers when this proxy has endpoints. The filter is off but on routes to what sleeps, so that it
costs nothing otherwise. Connections are held by the TCP proxy: what sleeps has no cluster, and
the TCP proxy asks for one that is missing (on-demand CDS). Asking is what wakes.
"""

from collections.abc import Iterable

from envoy.config.core.v3 import config_source_pb2, grpc_service_pb2
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2

from weft.mesh.model import Destination
from weft.xds.bootstrap import XDS_CLUSTER
from weft.xds.proto import Proto, any_of, duration

HOLD_FILTER = "weft.hold"
DESTINATION_KEY = "destination"
"""Names, in what the control plane is asked, what the request is for."""
HOLD_SECONDS_DEFAULT = 60.0
"""How long a call waits for a workload to be woken. For connections this is all there is."""
HOLD_SECONDS_MAX = 600.0
"""Of requests, when the workload says how long."""
ASK_SECONDS_MAX = HOLD_SECONDS_MAX + 5.0
"""The control plane answers before this; a proxy that hears nothing lets the request go on."""
UNAVAILABLE_STATUS = 503
FIRST_ANSWER_SECONDS_MAX = 0.05
"""Envoy asks for a second missing cluster only once the first was answered, or after this."""
HELD_CONNECTIONS = ("tcp", "tls", "auto")
"""Protocols of which connections, not requests, are held."""


def hold_filter() -> Proto:
    """The HTTP filter, off."""
    config = ext_authz_pb2.ExtAuthz(
        transport_api_version=config_source_pb2.V3,
        grpc_service=grpc_service_pb2.GrpcService(
            envoy_grpc=grpc_service_pb2.GrpcService.EnvoyGrpc(cluster_name=XDS_CLUSTER),
            timeout=duration(ASK_SECONDS_MAX),
        ),
        # When the control plane dies the request goes on: it is served if somebody is awake by
        # then, else it is answered 503 like any without endpoints.
        failure_mode_allow=True,
        stat_prefix="hold",
    )
    config.status_on_error.code = UNAVAILABLE_STATUS
    return hcm_pb2.HttpFilter(name=HOLD_FILTER, typed_config=any_of(config), disabled=True)


def hold_on_route(route: Proto, asleep: frozenset[str]) -> None:
    """Have an Envoy route hold requests to those of its destinations that are asleep."""
    if not asleep or not route.HasField("route"):
        return
    shares = route.route.weighted_clusters.clusters
    for part, name in [(s, s.name) for s in shares] or [(route, route.route.cluster)]:
        if name in asleep:
            check = ext_authz_pb2.CheckSettings(context_extensions={DESTINATION_KEY: name})
            config = ext_authz_pb2.ExtAuthzPerRoute(check_settings=check)
            part.typed_per_filter_config[HOLD_FILTER].CopyFrom(any_of(config))


def asleep(destinations: Iterable[Destination]) -> frozenset[str]:
    """The names of those that calls have to wait for."""
    return frozenset(d.name for d in destinations if d.asleep)


def wakeable(destinations: Iterable[Destination]) -> frozenset[str]:
    """The names of those whose connections may have to wait."""
    return frozenset(d.name for d in destinations if d.wakes and d.protocol in HELD_CONNECTIONS)


def has_no_cluster(destination: Destination) -> bool:
    """Whether a TCP proxy has to ask for it."""
    return destination.asleep and destination.protocol in HELD_CONNECTIONS


def hold_connections(proxy: Proto) -> None:
    """Have a TCP proxy wait for a cluster that is missing."""
    source = config_source_pb2.ConfigSource(
        ads=config_source_pb2.AggregatedConfigSource(),
        resource_api_version=config_source_pb2.V3,
        initial_fetch_timeout=duration(FIRST_ANSWER_SECONDS_MAX),
    )
    proxy.on_demand.CopyFrom(
        tcp_proxy_pb2.TcpProxy.OnDemand(odcds_config=source, timeout=duration(HOLD_SECONDS_DEFAULT))
    )

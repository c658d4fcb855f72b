"""Hosts that are resolved when they are called: Envoy's dynamic forward proxy.

The host comes from the request's Host, or from the server name of a TLS connection. All clusters
and filters share one cache of names.
"""

from collections.abc import Mapping

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_components_pb2
from envoy.extensions.clusters.dynamic_forward_proxy.v3 import cluster_pb2 as forward_pb2
from envoy.extensions.common.dynamic_forward_proxy.v3 import dns_cache_pb2
from envoy.extensions.filters.http.dynamic_forward_proxy.v3 import dynamic_forward_proxy_pb2
from envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3 import (
    sni_dynamic_forward_proxy_pb2 as sni_pb2,
)

from weft.mesh.model import Destination
from weft.xds.proto import Proto, any_of

FORWARD = "forward"
"""The cluster for any host that a request names."""
FORWARD_FILTER = "envoy.filters.http.dynamic_forward_proxy"
SNI_FILTER = "envoy.filters.network.sni_dynamic_forward_proxy"
HTTPS_PORT = 443
_DNS = dns_cache_pb2.DnsCacheConfig(
    name="forward", dns_lookup_family=cluster_pb2.Cluster.V4_PREFERRED
)

ResolvedPorts = Mapping[str, int]
"""Destinations that are resolved when they are called, and the ports of their endpoints."""
NOTHING_RESOLVED: ResolvedPorts = {}


def resolved_ports(destinations: tuple[Destination, ...]) -> ResolvedPorts:
    """The destinations whose hosts are resolved when they are called."""
    return {
        d.name: d.endpoints[0].port if d.endpoints else d.port
        for d in destinations
        if d.discovery == "dynamic"
    }


def forward_filter() -> dynamic_forward_proxy_pb2.FilterConfig:
    """The HTTP filter; it does nothing but on routes that `resolve` enables it for."""
    return dynamic_forward_proxy_pb2.FilterConfig(dns_cache_config=_DNS)


def enable_forward(route: Proto) -> None:
    """Requests on this route go to hosts that are resolved."""
    config = dynamic_forward_proxy_pb2.PerRouteConfig()
    route.typed_per_filter_config[FORWARD_FILTER].CopyFrom(any_of(config))


def sni_filter(port: int) -> Proto:
    """The network filter before a TCP proxy that resolves the connection's server name."""
    config = sni_pb2.FilterConfig(dns_cache_config=_DNS, port_value=port or HTTPS_PORT)
    return listener_components_pb2.Filter(name=SNI_FILTER, typed_config=any_of(config))


def discover_by_name(cluster: Proto, any_certificate: bool = False) -> None:
    """Make a cluster one whose hosts are resolved when they are called. `any_certificate`: what
    certificates must say does not follow from the host that is called."""
    cluster.lb_policy = cluster_pb2.Cluster.CLUSTER_PROVIDED
    cluster.cluster_type.name = "envoy.clusters.dynamic_forward_proxy"
    config = forward_pb2.ClusterConfig(
        dns_cache_config=_DNS, allow_insecure_cluster_options=any_certificate
    )
    cluster.cluster_type.typed_config.CopyFrom(any_of(config))

"""Route tables to RouteConfigurations (RDS)."""

from collections.abc import Mapping

from envoy.config.route.v3 import route_components_pb2 as route_pb2
from envoy.config.route.v3 import route_pb2 as configuration_pb2
from msgspec import Struct

from weft.mesh.model import RouteTable, VirtualHost
from weft.xds.matches import to_address
from weft.xds.proto import Proto, any_of, uint32
from weft.xds.rate_limits import (
    HEADERS_FILTER,
    LOCAL_FILTER,
    local_configuration,
    response_headers,
)
from weft.xds.response_time import REPORT_HEADER
from weft.xds.route_actions import HashKeys, envoy_routes, passthrough_route

PROXY_HEADERS = ("x-envoy-external-address", "x-envoy-internal")
"""Headers that Envoy adds to requests; applications see none of them."""
DIRECT_RESPONSE_BYTES_MAX = 1024 * 1024
"""Istio's limit for `directResponse`; Envoy's own is 4 KiB."""

_ANY_HOST = "*"


class TableFacts(Struct, frozen=True):
    """What other parts of the model mean for a route table."""

    https_hosts: tuple[str, ...] = ()
    """Redirected to HTTPS whatever their routes say."""
    addresses: Mapping[str, str] = {}
    """Service addresses besides the virtual hosts' own: address -> a domain of the virtual host
    that it stands for."""
    measured: bool = False
    """Some destination's answers carry load reports, which are for the proxy only."""


NO_FACTS = TableFacts()


def route_configuration(
    table: RouteTable,
    hash_keys: HashKeys,
    passthrough_cluster: str,
    facts: TableFacts = NO_FACTS,
) -> Proto:
    """The RouteConfiguration of a table.

    `passthrough_cluster` gets requests for unknown hosts, when the table lets them pass.
    """
    https_hosts = facts.https_hosts
    hosts = [_virtual_host(host, hash_keys, https_hosts) for host in table.virtual_hosts]
    known = {domain for host in table.virtual_hosts for domain in host.domains}
    missing = [host for host in dict.fromkeys(https_hosts) if host not in known]
    if missing:
        hosts.append(
            route_pb2.VirtualHost(
                name="https-redirect", domains=missing, require_tls=route_pb2.VirtualHost.ALL
            )
        )
    if _ANY_HOST not in known and _ANY_HOST not in missing:
        fallback = _fallback_host(table, hash_keys, passthrough_cluster, facts.addresses)
        hosts.extend([fallback] if fallback is not None else [])
    result = configuration_pb2.RouteConfiguration(
        name=table.name,
        virtual_hosts=hosts,
        ignore_port_in_host_matching=table.ignore_port,
        request_headers_to_remove=PROXY_HEADERS,
        max_direct_response_body_size_bytes=uint32(DIRECT_RESPONSE_BYTES_MAX),
        response_headers_to_remove=[REPORT_HEADER] if facts.measured else [],
    )
    buckets = local_configuration(table)
    if buckets is not None:
        result.typed_per_filter_config[LOCAL_FILTER].CopyFrom(any_of(buckets))
    headers = response_headers(table)
    if headers is not None:
        result.typed_per_filter_config[HEADERS_FILTER].CopyFrom(any_of(headers))
    return result


def passthrough_configuration(name: str, cluster: str) -> Proto:
    """Routes that send everything to one cluster."""
    host = route_pb2.VirtualHost(
        name=name, domains=[_ANY_HOST], routes=[passthrough_route(cluster)]
    )
    return configuration_pb2.RouteConfiguration(
        name=name, virtual_hosts=[host], request_headers_to_remove=PROXY_HEADERS
    )


def destinations_of(table: RouteTable) -> set[str]:
    """The names of all destinations that a table sends requests to."""
    return {
        part.destination
        for host in table.virtual_hosts
        for route in host.routes
        for part in route.destinations
    }


def _virtual_host(host: VirtualHost, hash_keys: HashKeys, https_hosts: tuple[str, ...]) -> Proto:
    result = route_pb2.VirtualHost(
        name=host.name, domains=host.domains, routes=_routes(host, hash_keys)
    )
    if any(domain in https_hosts or _ANY_HOST in https_hosts for domain in host.domains):
        result.require_tls = route_pb2.VirtualHost.ALL
    return result


def _routes(host: VirtualHost, hash_keys: HashKeys) -> list[Proto]:
    return [built for route in host.routes for built in envoy_routes(route, hash_keys)]


def _fallback_host(
    table: RouteTable, hash_keys: HashKeys, cluster: str, addresses: Mapping[str, str]
) -> Proto | None:
    """Where requests go whose Host no virtual host names: by the address they were sent to."""
    by_domain = {domain: host for host in table.virtual_hosts for domain in host.domains}
    by_address = {
        address: by_domain[domain] for address, domain in addresses.items() if domain in by_domain
    } | {address: host for host in table.virtual_hosts for address in host.addresses}
    result = route_pb2.VirtualHost(name="unknown-host", domains=[_ANY_HOST])
    for address, host in by_address.items():
        routes = _routes(host, hash_keys)
        for route in [*routes, _not_found()]:
            route.match.filter_state.append(to_address(address))
            result.routes.append(route)
    if table.passthrough:
        result.routes.append(passthrough_route(cluster))
    return result if result.routes else None


def _not_found() -> Proto:
    return route_pb2.Route(
        match=route_pb2.RouteMatch(prefix="/"),
        direct_response=route_pb2.DirectResponseAction(status=404),
    )

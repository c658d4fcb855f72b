"""The HTTP connection manager: how Envoy speaks HTTP with those who call.

The same settings everywhere: a proxy that applications do not notice. It neither adds headers of
its own nor believes those that a caller may have made up (X-Forwarded-For as the source address,
x-forwarded-client-cert as an identity).
"""

from envoy.config.core.v3 import base_pb2, protocol_pb2
from envoy.config.listener.v3 import listener_components_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.cors.v3 import cors_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.extensions.filters.http.grpc_web.v3 import grpc_web_pb2
from envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from google.protobuf.wrappers_pb2 import BoolValue

from weft.mesh.model import AdaptiveConcurrency, ClientLimits
from weft.xds import bandwidth, rate_limits
from weft.xds.access import listener_filters
from weft.xds.adaptive_concurrency import adaptive_filters
from weft.xds.external_authorization import authorizer_filters
from weft.xds.forward import FORWARD_FILTER, forward_filter
from weft.xds.holding import hold_filter
from weft.xds.logins import login_filters
from weft.xds.proto import ADS, Proto, any_of, duration
from weft.xds.scoped_routes import select_scope
from weft.xds.sessions import SESSION_FILTER, session_filter
from weft.xds.tokens import tokens_filter

HTTP_CONNECTION_MANAGER = "envoy.filters.network.http_connection_manager"
CORS_FILTER = "envoy.filters.http.cors"
GRPC_WEB_FILTER = "envoy.filters.http.grpc_web"
FAULT_FILTER = "envoy.filters.http.fault"
DRAIN_SECONDS_MAX = 5.0
"""From telling a client that its connection ends until it does; Envoy's default."""
REQUEST_HEADERS_SECONDS_MAX = 10.0
"""From the first byte of a request's headers until the last, for callers from outside; who takes
longer is answered 408 and loses the connection."""
WEBSOCKET_KEY = "d2VmdC13cy1vdmVyLWgyIQ=="
"""Sixteen bytes, as RFC 6455 wants them; it protects clients that a proxy has in front of it."""
_Hcm = hcm_pb2.HttpConnectionManager


def http_connection_manager(
    stat_prefix: str,
    routes: str | route_pb2.RouteConfiguration,
    access_logs: list[Proto],
    *,
    clients: ClientLimits | None = None,
    http3: bool = False,
    facts: Proto | None = None,
    scoped: bool = False,
    authorizers: tuple[str, ...] = (),
    peer_seconds: float = 0.0,
    tracing: Proto | None = None,
    logins: tuple[str, ...] = (),
    passed_on: bool = False,
    adaptive: tuple[AdaptiveConcurrency, ...] = (),
    buckets: str = "",
) -> Proto:
    """The network filter. `routes` is the name of a route configuration or one to embed.

    `clients`: callers come from outside the mesh, so X-Forwarded-For gains their address, and what
    is sent in drops is waited for no longer than this says, headers no longer than
    REQUEST_HEADERS_SECONDS_MAX.
    `http3`: the connections are QUIC.
    `facts`: the HTTP filter that says who calls, where the connection does not.
    `scoped`: the route configuration is divided by host.
    `authorizers`: names of the services that routes may have asked.
    `peer_seconds`: not 0 for calls from other nodes' proxies, whose connections are let go of after
    so long, and whose word for how the caller spoke to them (x-forwarded-proto) is kept.
    `tracing`: how spans are made; without it there are none.
    `logins`: names of the policies that send browsers to a provider, at the edge.
    `passed_on`: another of the mesh's listeners has had the requests, and said what there is to say
    of their callers.
    `adaptive`: limits that routes may follow.
    `buckets`: the gateway's table whose local rate limits are an extension of its name.
    """
    edge = clients is not None
    hcm = _Hcm(
        stat_prefix=stat_prefix,
        http_filters=[
            *([facts] if facts is not None else []),
            *(login_filters(logins) if edge else []),
            *_http_filters(edge, authorizers, adaptive, buckets),
        ],
        access_log=access_logs,
        use_remote_address=BoolValue(value=not (peer_seconds or passed_on)),
        skip_xff_append=not edge,
        internal_address_config=_Hcm.InternalAddressConfig(unix_sockets=False),
        normalize_path=BoolValue(value=True),
        strip_trailing_host_dot=True,
        forward_client_cert_details=_Hcm.SANITIZE,
        server_header_transformation=_Hcm.PASS_THROUGH,
        generate_request_id=BoolValue(value=True),
        preserve_external_request_id=True,
        upgrade_configs=[_Hcm.UpgradeConfig(upgrade_type="websocket")],
        http_protocol_options=protocol_pb2.Http1ProtocolOptions(accept_http_10=True),
        # A stream may be silent for as long as the application likes; routes have time-outs.
        stream_idle_timeout=duration(0),
    )
    if tracing is not None:
        hcm.tracing.CopyFrom(tracing)
    if clients is not None:
        _limit(hcm, clients)
        _allow_websockets_over_streams(hcm)
    if http3:
        hcm.codec_type = _Hcm.HTTP3
        hcm.http3_protocol_options.SetInParent()
    if peer_seconds:
        _let_go_of_peers(hcm, peer_seconds)
    _route_by(hcm, routes, scoped)
    return listener_components_pb2.Filter(name=HTTP_CONNECTION_MANAGER, typed_config=any_of(hcm))


def _limit(hcm: Proto, clients: ClientLimits) -> None:
    """How long callers from outside are waited for."""
    hcm.request_headers_timeout.CopyFrom(duration(REQUEST_HEADERS_SECONDS_MAX))
    hcm.request_timeout.CopyFrom(duration(clients.request_seconds_max))
    idle = hcm.common_http_protocol_options.idle_timeout
    idle.CopyFrom(duration(clients.idle_seconds_max))


def _let_go_of_peers(hcm: Proto, seconds: float) -> None:
    options = hcm.common_http_protocol_options
    options.max_connection_duration.CopyFrom(duration(seconds))
    hcm.drain_timeout.CopyFrom(duration(min(seconds / 3, DRAIN_SECONDS_MAX)))


def _route_by(hcm: Proto, routes: str | route_pb2.RouteConfiguration, scoped: bool) -> None:
    if scoped and isinstance(routes, str):
        select_scope(hcm, routes)
    elif isinstance(routes, str):
        hcm.rds.route_config_name = routes
        hcm.rds.config_source.CopyFrom(ADS)
    else:
        hcm.route_config.CopyFrom(routes)


def _allow_websockets_over_streams(hcm: Proto) -> None:
    """Browsers open WebSockets as streams of HTTP/2 and 3 (RFC 8441, 9220) when they may. They then
    send no key, which servers of HTTP/1.1 insist on: the proxy adds one, for it is their client."""
    hcm.http2_protocol_options.allow_connect = True
    hcm.http3_protocol_options.allow_extended_connect = True
    mutations = header_mutation_pb2.HeaderMutation()
    key = mutations.mutations.request_mutations.add().append
    key.header.key, key.header.value = "sec-websocket-key", WEBSOCKET_KEY
    key.append_action = base_pb2.HeaderValueOption.ADD_IF_ABSENT
    add_key = hcm_pb2.HttpFilter(name="websocket-key", typed_config=any_of(mutations))
    (upgrade,) = hcm.upgrade_configs
    upgrade.filters.extend([add_key, *hcm.http_filters])


def _http_filters(
    edge: bool,
    authorizers: tuple[str, ...],
    adaptive: tuple[AdaptiveConcurrency, ...],
    buckets: str,
) -> list[Proto]:
    """Filters that only some routes need are disabled here (they then cost nothing) and enabled
    by those routes, so that using one never changes, and thereby drains, a listener."""
    first: tuple[tuple[str, Proto], ...] = (
        *listener_filters(),
        (rate_limits.HEADERS_FILTER, header_mutation_pb2.HeaderMutation()),
        (CORS_FILTER, cors_pb2.Cors()),
        (FAULT_FILTER, fault_pb2.HTTPFault()),
    )
    then: tuple[tuple[str, Proto], ...] = (
        *rate_limits.filters(),
        *bandwidth.filters(),
        (FORWARD_FILTER, forward_filter()),
        (SESSION_FILTER, session_filter()),
    )
    filters = [tokens_filter(), *authorizer_filters(authorizers)]
    filters += map(_turned_off, first)
    filters.append(rate_limits.local_filter(buckets))
    filters += map(_turned_off, then)
    filters.append(hold_filter())
    if edge:
        # It touches calls of gRPC-web only, and routes cannot turn it on.
        web = any_of(grpc_web_pb2.GrpcWeb())
        filters.append(hcm_pb2.HttpFilter(name=GRPC_WEB_FILTER, typed_config=web))
    filters += adaptive_filters(adaptive)  # last: delays by faults are no latency
    router = router_pb2.Router(
        suppress_envoy_headers=True,
        dynamic_stats=BoolValue(value=False),
    )
    filters.append(
        hcm_pb2.HttpFilter(name="envoy.filters.http.router", typed_config=any_of(router))
    )
    return filters


def _turned_off(named: tuple[str, Proto]) -> Proto:
    name, config = named
    return hcm_pb2.HttpFilter(name=name, typed_config=any_of(config), disabled=True)

"""One route of the model to Envoy routes: what happens to a request that matches."""

from collections.abc import Mapping

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2 as route_pb2
from envoy.type.matcher.v3 import regex_pb2

from weft.mesh.model import (
    HashKey,
    HeaderOperations,
    HttpMatch,
    HttpRoute,
    Mirror,
    Redirect,
    Rewrite,
    WeightedDestination,
)
from weft.xds.adaptive_concurrency import follow_latency
from weft.xds.bandwidth import limit_bandwidth
from weft.xds.cors import cors_policy
from weft.xds.external_authorization import ask_always
from weft.xds.faults import fraction, http_fault
from weft.xds.forward import FORWARD, enable_forward
from weft.xds.headers import headers_to_add, headers_to_remove, host_header
from weft.xds.http_connection_manager import CORS_FILTER, FAULT_FILTER
from weft.xds.logins import PREFLIGHT_FILTER, ask_for_login
from weft.xds.matches import SAFE_METHODS, regex, route_match
from weft.xds.proto import Proto, any_of, duration, uint32
from weft.xds.rate_limits import limit_route
from weft.xds.retries import differs_for_safe_methods, retry_policy
from weft.xds.sessions import keep_session

PASSTHROUGH_ROUTE = "passthrough"

HashKeys = Mapping[str, HashKey]
"""Destination name -> what its consistent hashing hashes."""

_NO_BACK_END = 503
_REDIRECT_CODES = {
    301: route_pb2.RedirectAction.MOVED_PERMANENTLY,
    302: route_pb2.RedirectAction.FOUND,
    303: route_pb2.RedirectAction.SEE_OTHER,
    307: route_pb2.RedirectAction.TEMPORARY_REDIRECT,
    308: route_pb2.RedirectAction.PERMANENT_REDIRECT,
}


def envoy_routes(
    route: HttpRoute, hash_keys: HashKeys, resolved: frozenset[str] = frozenset()
) -> list[Proto]:
    """An Envoy route per match; two where requests with safe methods are retried differently."""
    general = _route(route, hash_keys, safe=False)
    safe = None
    if route.destinations and differs_for_safe_methods(route.retry):
        safe = _route(route, hash_keys, safe=True)
    if any(part.destination in resolved for part in route.destinations):
        for each in (general, safe):
            if each is not None:
                enable_forward(each)
    result = []
    for match in route.matches:
        if safe is None:
            result.append(_with_match(general, match))
        elif match.method is not None and match.method.kind == "exact":
            chosen = safe if match.method.value in SAFE_METHODS else general
            result.append(_with_match(chosen, match))
        else:
            result.append(_with_match(safe, match, SAFE_METHODS))
            result.append(_with_match(general, match))
    return result


def passthrough_route(cluster: str) -> Proto:
    """Everything to the cluster, without a time-out."""
    action = route_pb2.RouteAction(cluster=cluster, timeout=duration(0))
    route = route_pb2.Route(
        name=PASSTHROUGH_ROUTE, match=route_pb2.RouteMatch(prefix="/"), route=action
    )
    if cluster == FORWARD:
        enable_forward(route)
    return route


def _with_match(route: Proto, match: HttpMatch, methods: tuple[str, ...] = ()) -> Proto:
    result = route_pb2.Route()
    result.CopyFrom(route)
    result.match.CopyFrom(route_match(match, methods))
    return result


def _route(route: HttpRoute, hash_keys: HashKeys, safe: bool) -> Proto:
    result = route_pb2.Route(
        name=route.name,
        request_headers_to_add=headers_to_add(route.request_headers),
        request_headers_to_remove=headers_to_remove(route.request_headers),
        response_headers_to_add=headers_to_add(route.response_headers),
        response_headers_to_remove=headers_to_remove(route.response_headers),
    )
    if route.redirect is not None:
        result.redirect.CopyFrom(_redirect(route.redirect))
    elif route.direct_response is not None:
        answer = route.direct_response
        result.direct_response.CopyFrom(_direct_response(answer.status, answer.body))
    elif any(part.weight > 0 for part in route.destinations):
        result.route.CopyFrom(_forward(route, hash_keys, safe))
    else:
        result.direct_response.CopyFrom(_direct_response(_NO_BACK_END, ""))
    fault = http_fault(route.fault)
    if fault is not None:
        result.typed_per_filter_config[FAULT_FILTER].CopyFrom(any_of(fault))
    if route.cors is not None:
        filter_ = PREFLIGHT_FILTER if route.login is not None else CORS_FILTER
        result.typed_per_filter_config[filter_].CopyFrom(any_of(cors_policy(route.cors)))
    limit_route(result, route.rate_limits)
    if route.login is not None:
        ask_for_login(result, route.login)
    ask_always(result, route.asks)
    if route.bandwidth is not None:
        limit_bandwidth(result, route.bandwidth)
    if route.adaptive is not None:
        follow_latency(result, route.adaptive)
    if route.session is not None:
        keep_session(result, route.session)
    return result


def _direct_response(status: int, body: str) -> Proto:
    action = route_pb2.DirectResponseAction(status=status)
    if body:
        action.body.CopyFrom(base_pb2.DataSource(inline_string=body))
    return action


def _redirect(redirect: Redirect) -> Proto:
    action = route_pb2.RedirectAction(
        host_redirect=redirect.host,
        port_redirect=redirect.port,
        response_code=_REDIRECT_CODES.get(redirect.code, route_pb2.RedirectAction.FOUND),
    )
    if redirect.scheme:
        action.scheme_redirect = redirect.scheme
    if redirect.path:
        action.path_redirect = redirect.path
    elif redirect.prefix_rewrite:
        action.prefix_rewrite = redirect.prefix_rewrite
    elif redirect.regex:
        action.regex_rewrite.CopyFrom(_substitution(redirect.regex, redirect.substitution))
    return action


def _forward(route: HttpRoute, hash_keys: HashKeys, safe: bool) -> Proto:
    # Envoy's own default is 15 seconds; a mesh must not cut what the application lets run.
    action = route_pb2.RouteAction(timeout=duration(route.timeout or 0))
    if route.idle_timeout:
        action.idle_timeout.CopyFrom(duration(route.idle_timeout))
    if route.stream_duration_max:
        longest = duration(route.stream_duration_max)
        action.max_stream_duration.max_stream_duration.CopyFrom(longest)
    _destinations(action, [part for part in route.destinations if part.weight > 0])
    retry = retry_policy(route.retry, safe)
    if retry is not None:
        action.retry_policy.CopyFrom(retry)
    host = host_header(route.request_headers)
    if host:
        action.host_rewrite_literal = host
    if route.rewrite is not None:
        _rewrite(action, route.rewrite)
    action.request_mirror_policies.extend(_mirror(mirror) for mirror in route.mirrors)
    keys = (hash_keys.get(part.destination) for part in route.destinations)
    action.hash_policy.extend(_hash_policy(key) for key in dict.fromkeys(keys) if key is not None)
    return action


def _destinations(action: Proto, parts: list[WeightedDestination]) -> None:
    """A single plain destination needs no weights, which cost Envoy time on every request."""
    plain = HeaderOperations()
    if len(parts) == 1 and parts[0].request_headers == parts[0].response_headers == plain:
        action.cluster = parts[0].destination
    else:
        action.weighted_clusters.clusters.extend(_weight(part) for part in parts)


def _weight(part: WeightedDestination) -> Proto:
    return route_pb2.WeightedCluster.ClusterWeight(
        name=part.destination,
        weight=uint32(part.weight),
        request_headers_to_add=headers_to_add(part.request_headers),
        request_headers_to_remove=headers_to_remove(part.request_headers),
        response_headers_to_add=headers_to_add(part.response_headers),
        response_headers_to_remove=headers_to_remove(part.response_headers),
        host_rewrite_literal=host_header(part.request_headers),
    )


def _rewrite(action: Proto, rewrite: Rewrite) -> None:
    if rewrite.authority:
        action.host_rewrite_literal = rewrite.authority
    if rewrite.regex:
        action.regex_rewrite.CopyFrom(_substitution(rewrite.regex, rewrite.substitution))
    elif rewrite.prefix is not None:
        action.prefix_rewrite = rewrite.prefix


def _substitution(pattern: str, substitution: str) -> Proto:
    return regex_pb2.RegexMatchAndSubstitute(pattern=regex(pattern), substitution=substitution)


def _mirror(mirror: Mirror) -> Proto:
    policy = route_pb2.RouteAction.RequestMirrorPolicy(cluster=mirror.destination)
    policy.runtime_fraction.default_value.CopyFrom(fraction(mirror.percent))
    return policy


def _hash_policy(key: HashKey) -> Proto:
    policy = route_pb2.RouteAction.HashPolicy
    if key.kind == "header":
        return policy(header=policy.Header(header_name=key.name))
    if key.kind == "query":
        return policy(query_parameter=policy.QueryParameter(name=key.name))
    if key.kind == "source_ip":
        return policy(connection_properties=policy.ConnectionProperties(source_ip=True))
    cookie = policy.Cookie(name=key.name, path=key.cookie_path)
    if key.cookie_ttl is not None:
        cookie.ttl.CopyFrom(duration(key.cookie_ttl))
    for name, value in key.cookie_attributes:
        cookie.attributes.add(name=name, value=value)
    return policy(cookie=cookie)

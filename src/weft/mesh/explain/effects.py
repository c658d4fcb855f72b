"""What the fields of routes and destinations mean to a request, a line for each.

A field without a line here is shown with its name and value, so nothing is left out.
"""

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from weft.mesh.explain.callers import Origin
from weft.mesh.explain.matching import in_words, named_mismatch, value_holds
from weft.mesh.explain.paths import query_parameters, without_query
from weft.mesh.explain.request import Request
from weft.mesh.model import (
    Access,
    AdaptiveConcurrency,
    Authentication,
    Authorizer,
    Bandwidth,
    ConnectionPool,
    Cors,
    Destination,
    Fault,
    HeaderOperations,
    HealthCheck,
    HttpMatch,
    HttpRoute,
    LoadBalancer,
    Login,
    Mirror,
    OutlierDetection,
    RateLimit,
    RetryPolicy,
    Rewrite,
    Session,
    Tunnel,
    UpstreamTls,
)

ALL_PERCENT = 100.0
FIELDS_SHOWN_ELSEWHERE = frozenset(
    {"name", "matches", "destinations", "redirect", "direct_response", "source"}
)
"""Of a route: what the rest of the explanation says."""
IDENTITY_FIELDS = frozenset(
    {"name", "host", "port", "subset", "service", "namespace", "source", "endpoints", "protocol"}
)
"""Of a destination."""
SECRET_WORDS = ("pem", "key")


class Effect(Struct, frozen=True):
    """One thing that is done."""

    what: str
    text: str


def route_effects(
    route: HttpRoute, match: HttpMatch, request: Request, origin: Origin
) -> Iterator[Effect]:
    """Everything that a route does to this request, in the order in which it is done."""
    if match.percent < ALL_PERCENT:
        text = f"{_number(match.percent)} % of such requests take it, by chance"
        yield Effect("chance", text)
    for limit in route.rate_limits:
        yield Effect("rate limit", _rate_limit(limit, request, origin))
    if route.cors is not None:
        text = _cors(route.cors, request) if route.destinations else "without effect on this answer"
        yield Effect("cors", text)
    yield from _described(route, _ROUTE, FIELDS_SHOWN_ELSEWHERE | {"rate_limits", "cors"})


def destination_effects(destination: Destination, requests: bool = False) -> Iterator[Effect]:
    """How requests, or connections, to a destination are spread, limited, watched, protected."""
    left_out = IDENTITY_FIELDS | {"tunnel"} if requests else IDENTITY_FIELDS
    yield from _described(destination, _DESTINATION, left_out)


def preflight_answered(route: HttpRoute, request: Request) -> bool:
    """Whether the proxy itself answers a preflight (Fetch standard, section 3.2). On routes
    without a back end the rules for other origins have no effect."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    if route.cors is None or request.method != "OPTIONS" or not route.destinations:
        return False
    if "origin" not in headers or not headers.get("access-control-request-method"):
        return False
    known = any(value_holds(origin, headers["origin"]) for origin in route.cors.origins)
    return known or not route.cors.forward_unmatched


def _described(
    value: Struct, table: Mapping[str, Callable[[Any], Iterable[Effect]]], left_out: frozenset[str]
) -> Iterator[Effect]:
    """The fields that have not their default, by the table; what it lacks as it is."""
    given = [f.name for f in fields(value) if f.name not in left_out]
    for name in [*(n for n in table if n in given), *(n for n in given if n not in table)]:
        found = getattr(value, name)
        if found is None or found in ((), "", 0, False):
            continue
        yield from table[name](found) if name in table else _plainly(name, found)


def _plainly(name: str, value: Any) -> Iterator[Effect]:
    yield Effect(name.replace("_", " "), _text(name, value))


def _text(name: str, value: Any) -> str:
    if any(word in name.split("_") for word in SECRET_WORDS):
        return "(not shown)"
    if isinstance(value, Struct):
        shown = ((f.name, getattr(value, f.name), f.default) for f in fields(value))
        given = [(n, v) for n, v, default in shown if v not in (default, None, (), "")]
        return ", ".join(f"{n.replace('_', ' ')} {_text(n, v)}" for n, v in given) or "yes"
    if isinstance(value, tuple):
        return "; ".join(_text(name, v) for v in value)
    return "yes" if value is True else str(msgspec.to_builtins(value))


def _number(value: float) -> str:
    return f"{value:g}"


def _seconds(value: float) -> str:
    return f"{value * 1000:g} ms" if value < 1 else f"{value:g} s"


# --- routes


def _fault(fault: Fault) -> Iterator[Effect]:
    if fault.delay and fault.delay_percent:
        part = f"{_number(fault.delay_percent)} % of requests wait {_seconds(fault.delay)}"
        yield Effect("fault", part)
    if fault.abort_status and fault.abort_percent:
        text = f"{_number(fault.abort_percent)} % of requests are answered {fault.abort_status}"
        yield Effect("fault", text)
    if fault.abort_grpc_status and fault.abort_percent:
        percent = _number(fault.abort_percent)
        text = f"{percent} % of requests get gRPC status {fault.abort_grpc_status}"
        yield Effect("fault", text)


def _rewrite(rewrite: Rewrite) -> Iterator[Effect]:
    if rewrite.regex:
        text = f"`{rewrite.regex}` in the path becomes `{rewrite.substitution}`"
        yield Effect("rewrite", text)
    elif rewrite.prefix:
        yield Effect("rewrite", f"the matched part of the path becomes `{rewrite.prefix}`")
    if rewrite.authority:
        yield Effect("rewrite", f"Host becomes `{rewrite.authority}`")


def _timeout(seconds: float) -> Iterator[Effect]:
    yield Effect("timeout", f"{_seconds(seconds)} for the whole request, retries included")


def _retry(retry: RetryPolicy) -> Iterator[Effect]:
    if not retry.attempts:
        return
    words = [*retry.conditions, *map(str, retry.status_codes)]
    text = f"up to {retry.attempts} more on {', '.join(words)}" if words else "none"
    if retry.safe_method_conditions:
        safe = ", ".join(retry.safe_method_conditions)
        text += f"; for GET, HEAD and OPTIONS on {safe} too"
    if retry.per_try_timeout:
        text += f"; {_seconds(retry.per_try_timeout)} for each try"
    if retry.backoff_base:
        text += f"; back-off from {_seconds(retry.backoff_base)}"
    if retry.reset_headers:
        names = " or ".join(f"`{name}`" for name, _ in retry.reset_headers)
        text += f"; at the time that header {names} of the answer names"
    if not retry.previous_hosts:
        text += "; another endpoint is preferred"
    if retry.retriable_headers:
        named = ", ".join(f"`{h.name}` {in_words(h.match)}" for h in retry.retriable_headers)
        text += f"; answers with header {named} too"
    if retry.remote_localities:
        text += "; other localities as well"
    yield Effect("retries", text)


def _mirrors(mirrors: tuple[Mirror, ...]) -> Iterator[Effect]:
    for mirror in mirrors:
        percent = _number(mirror.percent)
        yield Effect("mirror", f"{percent} % of requests are copied to `{mirror.destination}`")


def header_effects(what: str, operations: HeaderOperations) -> Iterator[Effect]:
    """Changes to headers."""
    parts = [f"set `{h.name}: {h.value}`" for h in operations.set]
    parts += [f"add `{h.name}: {h.value}`" for h in operations.add]
    parts += [f"remove `{name}`" for name in operations.remove]
    if parts:
        yield Effect(what, ", ".join(parts))


def _cors(cors: Cors, request: Request) -> str:
    origin = next((v for n, v in request.headers.items() if n.lower() == "origin"), None)
    origins = ", ".join(in_words(o) for o in cors.origins) or "none"
    text = f"pages of origin {origins} may read answers"
    if origin is not None:
        known = any(value_holds(o, origin) for o in cors.origins)
        text += f"; `{origin}` is {'one' if known else 'none'} of them"
    return text


def _rate_limit(limit: RateLimit, request: Request, origin: Origin) -> str:
    where = "of all proxies together" if limit.everywhere else "in each proxy"
    text = f"RateLimitPolicy `{limit.name}`: {limit.requests} per {_seconds(limit.per)} {where}"
    if limit.keys:
        text += f", counted by {', '.join(k.name or k.kind.replace('_', ' ') for k in limit.keys)}"
    if reason := _uncounted(limit, request, origin):
        return f"{text}; not this request: {reason}"
    if limit.client_network and not origin.address:
        text += f"; for callers of {limit.client_network} only, and this one's address is not known"
    text += "; more are only counted" if limit.shadow else "; more are answered 429"
    return f"{text}, all when counters cannot be reached" if limit.fail_closed else text


def _uncounted(limit: RateLimit, request: Request, origin: Origin) -> str:
    """Why a limit does not count a request; empty when it does."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    path = without_query(request.path)
    if limit.path is not None and not value_holds(limit.path, path):
        return f"path `{path}` is not {in_words(limit.path)}"
    if limit.methods and request.method not in limit.methods:
        return f"method `{request.method}` is none of {', '.join(limit.methods)}"
    for header in limit.headers:
        if reason := named_mismatch("header", header, headers, header.name.lower()):
            return reason
    principal, caller = origin.principal, origin.workload
    if limit.source_principal and limit.source_principal != principal:
        return f"it is for {limit.source_principal}"
    namespace = caller.namespace if caller is not None else ""
    if limit.source_namespace and limit.source_namespace != namespace:
        return f"it is for callers of {limit.source_namespace}"
    if limit.client_network and origin.address and not _within(limit, origin.address):
        return f"it is for callers of {limit.client_network}"
    parameters = query_parameters(request.path)
    for parameter in limit.query:
        if reason := named_mismatch("query parameter", parameter, parameters, parameter.name):
            return reason
    missing = [k for k in limit.keys
               if (k.kind == "header" and k.name.lower() not in headers)
               or (k.kind == "query" and k.name not in parameters)]  # fmt: skip
    return f"{missing[0].kind} `{missing[0].name}` is absent" if missing else ""


def _within(limit: RateLimit, address: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(limit.client_network)


def _login(login: Login) -> Iterator[Effect]:
    """What callers from outside must show; never what is right."""
    parts = []
    if login.api_keys is not None:
        places = (*login.api_keys.headers, *login.api_keys.queries, *login.api_keys.cookies)
        parts.append(f"an API key in {' or '.join(places)}")
    if login.users:
        parts.append("a user name and a password")
    if login.oidc is not None:
        parts.append(f"a session of {login.oidc.authorization_url}")
    asked = "nobody gets in: it lacks something" if login.closed else " and ".join(parts)
    yield Effect("login", f"AuthenticationPolicy {login.name}: {asked}")


def _asks(authorizers: tuple[Authorizer, ...]) -> Iterator[Effect]:
    for each in authorizers:
        how = "gRPC" if each.grpc else "HTTP"
        yield Effect("asks", f"`{each.host}:{each.port}` over {how} whether a request may pass")


def _bandwidth(limit: Bandwidth) -> Iterator[Effect]:
    pairs = ((limit.request, "of requests"), (limit.response, "of answers"))
    parts = [f"{rate} KiB/s {what}" for rate, what in pairs if rate]
    if parts:
        yield Effect("bandwidth", f"at most {' and '.join(parts)}, counted by each proxy")


def _adaptive(limit: AdaptiveConcurrency) -> Iterator[Effect]:
    text = f"BackendPolicy {limit.name}: as many requests at one time as leave the latency"
    text += f" within {limit.headroom_percent:g} % of that without load, at most {limit.limit_max}"
    yield Effect("concurrency", f"{text}; counted by each calling pod; more are answered 503")


def _session(session: Session) -> Iterator[Effect]:
    what = f"{session.kind} `{session.name}`"
    yield Effect("session", f"requests with a {what} that the proxy gave out keep their endpoint")


_ROUTE: Mapping[str, Callable[[Any], Iterable[Effect]]] = {
    "fault": _fault,
    "rewrite": _rewrite,
    "request_headers": lambda o: header_effects("request headers", o),
    "response_headers": lambda o: header_effects("answer headers", o),
    "mirrors": _mirrors,
    "timeout": _timeout,
    "retry": _retry,
    "bandwidth": _bandwidth,
    "adaptive": _adaptive,
    "session": _session,
    "login": _login,
    "asks": _asks,
}


# --- destinations


def _balancer(balancer: LoadBalancer) -> Iterator[Effect]:
    text = balancer.algorithm.replace("_", " ")
    if balancer.hash_key is not None:
        key = balancer.hash_key
        text += f" by {key.kind.replace('_', ' ')}" + (f" `{key.name}`" if key.name else "")
    if balancer.warm_up is not None:
        text += f"; new endpoints warm up for {_seconds(balancer.warm_up.duration)}"
    yield Effect("load balancing", text)
    if balancer.locality is not None:
        yield Effect("locality", _text("locality", balancer.locality))


_POOL_ELSEWHERE = ("shared", "retry_budget_min")
_POOL = {
    "connections_max": "{} connections",
    "pending_requests_max": "{} requests waiting for a connection",
    "requests_max": "{} requests at one time",
    "retries_max": "{} retries at one time",
    "requests_per_connection_max": "{} requests for each connection",
    "streams_per_connection_max": "{} requests at one time for each connection",
    "retry_budget_percent": "retries for {} % of the requests",
}


def _pool(pool: ConnectionPool) -> Iterator[Effect]:
    default = ConnectionPool()
    parts = [
        text.format(_number(value))
        for name, text in _POOL.items()
        if (value := getattr(pool, name)) is not None
    ]
    if parts:
        whose = "of all callers of a proxy" if pool.shared else "of each calling workload"
        limits = ", ".join(parts)
        yield Effect("circuit breaker", f"at most {limits} {whose}; more are answered 503")
    others = [
        f"{f.name.replace('_', ' ')} {_text(f.name, value)}"
        for f in fields(pool)
        if f.name not in (*_POOL, *_POOL_ELSEWHERE)
        and (value := getattr(pool, f.name)) != getattr(default, f.name)
    ]
    if others:
        yield Effect("connections", ", ".join(others))


def _outlier(outlier: OutlierDetection) -> Iterator[Effect]:
    counts = (
        (outlier.consecutive_5xx, "answers of 5xx"),
        (outlier.consecutive_gateway_errors, "gateway errors"),
        (outlier.consecutive_local_origin_failures, "failed connections"),
    )
    causes = [f"{count} {word} in a row" for count, word in counts if count]
    if outlier.success_rate is not None:
        causes.append(f"success {outlier.success_rate.deviations:g} deviations below the others'")
    if outlier.failure_percentage is not None:
        causes.append(f"{outlier.failure_percentage.percent} % of failures")
    if causes:
        text = f"ejected after {' or '.join(causes)}, for {_seconds(outlier.base_ejection_time)}"
        yield Effect("outliers", f"{text} or more; at most {outlier.ejection_percent_max} %")


def _health_check(check: HealthCheck) -> Iterator[Effect]:
    where = f" {check.path}" if check.kind == "http" else ""
    text = f"{check.kind}{where} every {_seconds(check.interval)}"
    limits = f"{check.unhealthy_threshold} failures take an endpoint out"
    yield Effect("health check", f"{text}; {limits}, {check.healthy_threshold} successes bring it"
                 " back")  # fmt: skip


def _tls(tls: UpstreamTls) -> Iterator[Effect]:
    text = f"{tls.mode} TLS" + (f", server name `{tls.sni}`" if tls.sni else "")
    if tls.insecure_skip_verify:
        text += ", certificates of endpoints are not checked"
    yield Effect("tls", text)


def _tunnel(tunnel: Tunnel) -> Iterator[Effect]:
    method = "POST" if tunnel.post else "CONNECT"
    text = f"each connection begins with `{method} {tunnel.target}`: the endpoints are HTTP proxies"
    yield Effect("tunnel", f"{text}, which call {tunnel.target}")


def _discovery(kind: str) -> Iterator[Effect]:
    if kind == "gateway":
        yield Effect("endpoints", "the egress gateway of this same proxy; what it does follows")
    elif kind == "dynamic":
        yield Effect("endpoints", "the host that the caller names is resolved when it calls")
    elif kind == "dns":
        yield Effect("endpoints", "their names are resolved by DNS")
    elif kind == "logical_dns":
        yield Effect("endpoints", "connections go to the first address that DNS gives")
    elif kind == "original_dst":
        yield Effect("endpoints", "the address that the caller chose")


def _access(access: tuple[Access, ...]) -> Iterator[Effect]:
    found = {p.name: p for group in access for p in group.policies}
    words = [f"{p.name} ({p.action}{', tried only' if p.dry_run else ''})" for p in found.values()]
    yield Effect("policies", ", ".join(words))


def _authentication(authentication: Authentication) -> Iterator[Effect]:
    issuers = ", ".join(issuer.issuer for issuer in authentication.issuers)
    by = ", ".join(authentication.policies)
    text = f"of {issuers}; a request with another one is answered 401, one without passes"
    text = f"RequestAuthentication {by}: {text}" if by else text
    yield Effect("tokens", text)


_DESTINATION: Mapping[str, Callable[[Any], Iterable[Effect]]] = {
    "discovery": _discovery,
    "load_balancer": _balancer,
    "pool": _pool,
    "outlier": _outlier,
    "health_check": _health_check,
    "through_inbound": lambda _: [
        Effect("endpoints", "through the pod's own listener, where callers have no identity")
    ],
    "panic_percent": lambda p: [Effect("panic", f"below {p} % healthy endpoints all are used")],
    "tls": _tls,
    "tunnel": _tunnel,
    "access": _access,
    "authentication": _authentication,
}

"""RateLimitPolicies: which routes count requests, and how many they let through."""

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.diagnostics import Diagnostic
from weft.api.weft import policy_v1alpha1 as weft
from weft.mesh import findings as f
from weft.mesh.findings import Findings
from weft.mesh.model import (
    Bandwidth,
    GatewayListener,
    HttpRoute,
    NamedMatch,
    RateLimit,
    RateLimitKey,
    RouteTable,
    StringMatch,
    VirtualHost,
)
from weft.mesh.names import SERVICE_SUFFIX, covers
from weft.mesh.values import regex_problem

_HEADER_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
"""RFC 9110 section 5.6.2; Envoy would refuse the whole table otherwise."""
SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0}
_KEYS: dict[str, RateLimitKey] = {
    "sourcePrincipal": RateLimitKey("source_principal"),
    "sourceNamespace": RateLimitKey("source_namespace"),
    "clientAddress": RateLimitKey("client_address"),
    "path": RateLimitKey("path"),
}
Applies = Callable[[str, VirtualHost, HttpRoute], bool]
"""Whether a policy holds for a route of a virtual host of the table with this name."""


class Limited(Struct, frozen=True):
    """Route tables with their limits."""

    tables: tuple[RouteTable, ...]
    shared: tuple[RateLimit, ...] = ()
    """The limits that all proxies count together."""
    findings: tuple[Diagnostic, ...] = ()


def with_rate_limits(
    tables: tuple[RouteTable, ...],
    gateways: tuple[GatewayListener, ...],
    policies: Sequence[weft.RateLimitPolicy],
) -> Limited:
    """Route tables in which every route names the limits that hold for it, in the order of the
    policies' namespaces and names."""
    report = Findings()
    shared: list[RateLimit] = []
    for policy in policies:
        target = policy.spec.target_ref
        limits = tuple(_limits(policy, report))
        change = _Change(limits, _bandwidth(policy))
        if target is None or change == _Change():
            continue
        applies = applies_to(policy.metadata.namespace, target, gateways)
        limited = tuple(_table(table, change, applies) for table in tables)
        if limited == tables:
            report.add(
                f.LIMIT_WITHOUT_ROUTES, policy, "spec.targetRef",
                target=target.kind or "Service", name=target.name,
            )  # fmt: skip
        else:
            shared.extend(limit for limit in limits if limit.everywhere)
        tables = limited
    return Limited(tables, tuple(shared), report.all())


class _Change(Struct, frozen=True):
    """What a policy does to the routes that it holds for."""

    limits: tuple[RateLimit, ...] = ()
    bandwidth: Bandwidth | None = None

    def to(self, route: HttpRoute) -> HttpRoute:
        """The route with it. Of several limits on bytes the first policy's holds."""
        return replace(
            route,
            rate_limits=route.rate_limits + self.limits,
            bandwidth=route.bandwidth or self.bandwidth,
        )


def _bandwidth(policy: weft.RateLimitPolicy) -> Bandwidth | None:
    wanted = policy.spec.bandwidth
    if wanted is None:
        return None
    made = Bandwidth(wanted.request_kib_per_second or 0, wanted.response_kib_per_second or 0)
    return made if made != Bandwidth() else None


def applies_to(
    namespace: str, target: weft.PolicyTarget, gateways: Iterable[GatewayListener]
) -> Applies:
    """The routes that a policy of a namespace is for."""
    if target.kind == "Gateway":
        return _through_gateway(gateways, namespace, target.name)
    if target.kind in ("HTTPRoute", "GRPCRoute"):
        return _by_route(f"{target.kind} {namespace}/{target.name}")
    return _to_service(namespace, target.name)


def _by_route(source: str) -> Applies:
    def applies(_table: str, _host: VirtualHost, route: HttpRoute) -> bool:
        return route.source == source

    return applies


def _to_service(namespace: str, name: str) -> Applies:
    full = f"{name}.{namespace}{SERVICE_SUFFIX}"

    def applies(_table: str, _host: VirtualHost, route: HttpRoute) -> bool:
        hosts = (host_of(part.destination) for part in route.destinations)
        return any(host == full or host.endswith(f".{full}") for host in hosts)

    return applies


def _through_gateway(gateways: Iterable[GatewayListener], namespace: str, name: str) -> Applies:
    served: dict[str, set[str]] = {}
    for listener in gateways:
        for server in listener.servers:
            if server.route_table and server.name.startswith(f"{namespace}/{name}/"):
                served.setdefault(server.route_table, set()).update(server.hosts)

    def applies(table: str, host: VirtualHost, _route: HttpRoute) -> bool:
        patterns = served.get(table, ())
        return any(p == "*" or covers(p, domain) for p in patterns for domain in host.domains)

    return applies


def host_of(destination: str) -> str:
    """The host in a destination's name, `outbound|80|v1|host` or with `@namespace` at its end."""
    return destination.rpartition("|")[2].partition("@")[0]


def _table(table: RouteTable, change: _Change, applies: Applies) -> RouteTable:
    hosts = tuple(_virtual_host(table.name, h, change, applies) for h in table.virtual_hosts)
    same = all(a is b for a, b in zip(hosts, table.virtual_hosts, strict=True))
    return table if same else replace(table, virtual_hosts=hosts)


def _virtual_host(table: str, host: VirtualHost, change: _Change, applies: Applies) -> VirtualHost:
    routes = tuple(
        change.to(route) if applies(table, host, route) else route for route in host.routes
    )
    same = all(a is b for a, b in zip(routes, host.routes, strict=True))
    return host if same else replace(host, routes=routes)


def _limits(policy: weft.RateLimitPolicy, report: Findings) -> Iterable[RateLimit]:
    owner = f"{policy.metadata.namespace}/{policy.metadata.name}"
    for index, rule in enumerate(policy.spec.rules):
        match = rule.match or weft.RateLimitMatch()
        if problem := _problem(rule, match):
            path = f"spec.rules[{index}]"
            report.add(f.VALUE_INVALID, policy, path, problem=problem, part="rule")
            continue
        amount = rule.limit or weft.RateLimitAmount()
        requests = amount.requests or 1
        source = match.source or weft.RateLimitSource()
        yield RateLimit(
            name=f"{owner}/{rule.name or f'#{index}'}",
            requests=requests,
            per=SECONDS.get(amount.per, 1.0),
            burst=amount.burst or requests,
            everywhere=policy.spec.scope == "global",
            fail_closed=policy.spec.failure_mode == "closed",
            path=text_match(match.path),
            methods=match.methods,
            headers=tuple(
                NamedMatch(name.lower(), text_match(text) or StringMatch("present"))
                for name, text in sorted(match.headers.items())
            ),
            query=tuple(
                NamedMatch(name, text_match(text) or StringMatch("present"))
                for name, text in sorted(match.query_params.items())
            ),
            source_principal=source.principal,
            source_namespace=source.namespace,
            client_network=_network(match.client_cidr),
            keys=tuple(_key(key) for key in rule.key if key.type),
            shadow=bool(rule.shadow),
        )


def _problem(rule: weft.RateLimitRule, match: weft.RateLimitMatch) -> str:
    """Why a rule cannot hold; what the API server let through is sound but for expressions."""
    if rule.limit is None or not rule.limit.requests or rule.limit.per not in SECONDS:
        return "`limit` needs `requests` and `per`"
    if match.client_cidr and not _network(match.client_cidr):
        return f"`{match.client_cidr}` is no network"
    named = [*match.headers, *(key.name for key in rule.key if key.type == "header")]
    for name in named:
        if not _HEADER_NAME.fullmatch(name):
            return f"`{name}` is no header name"
    if any(key.type == "query" and not key.name for key in rule.key):
        return "a key of type `query` needs a name"
    texts = [match.path, *match.headers.values(), *match.query_params.values()]
    for text in texts:
        if text is not None and text.regex and (problem := regex_problem(text.regex)):
            return f"`{text.regex}` is no valid RE2 expression ({problem})"
    return ""


def text_match(text: weft.TextMatch | None) -> StringMatch | None:
    if text is None:
        return None
    if text.exact:
        return StringMatch("exact", text.exact)
    if text.prefix:
        return StringMatch("prefix", text.prefix)
    return StringMatch("regex", text.regex) if text.regex else None


def _key(key: weft.RateLimitKey) -> RateLimitKey:
    if key.type == "query":
        return RateLimitKey("query", key.name)
    return _KEYS.get(key.type) or RateLimitKey("header", key.name.lower())


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text)) if text else ""
    except ValueError:
        return ""

"""BackendPolicies: how long requests to a service may take, and when they are sent again."""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from weft.api.diagnostics import Diagnostic
from weft.api.weft import policy_v1alpha1 as weft
from weft.mesh import findings as f
from weft.mesh.backend_policies import targets_of
from weft.mesh.findings import Findings
from weft.mesh.istio_routes import DEFAULT_RETRY, RETRY_CONDITIONS
from weft.mesh.model import (
    AdaptiveConcurrency,
    HttpRoute,
    NamedMatch,
    RetryPolicy,
    RouteTable,
    StringMatch,
    VirtualHost,
)
from weft.mesh.names import service_host
from weft.mesh.rate_limits import host_of, text_match
from weft.mesh.values import regex_problem, seconds


class _Change(Struct, frozen=True):
    """What a policy says of the routes to its service; None is nothing."""

    retry: RetryPolicy | None = None
    timeout: float | None = None
    idle_timeout: float | None = None
    stream_duration_max: float | None = None
    adaptive: AdaptiveConcurrency | None = None

    def to(self, route: HttpRoute) -> HttpRoute:
        """The route with it, where the route itself says nothing."""
        unset = route.retry == DEFAULT_RETRY and self.retry is not None
        return replace(
            route,
            retry=self.retry if unset else route.retry,
            timeout=self.timeout if route.timeout is None else route.timeout,
            idle_timeout=self.idle_timeout,
            stream_duration_max=self.stream_duration_max,
            adaptive=self.adaptive,
        )


_RESET_FORMATS: Mapping[str, Literal["seconds", "unix_timestamp"]] = {
    "": "seconds",
    "seconds": "seconds",
    "unixTimestamp": "unix_timestamp",
}
_Policies = dict[str, _Change]
"""By host."""


class Changed(Struct, frozen=True):
    """Route tables with what the policies of their destinations say."""

    tables: tuple[RouteTable, ...]
    findings: tuple[Diagnostic, ...] = ()


def with_backend_routes(
    tables: tuple[RouteTable, ...], policies: Sequence[weft.BackendPolicy]
) -> Changed:
    """Routes all of whose destinations are of one service, as the service's policy says."""
    report = Findings()
    found = {
        service_host(name, namespace): _change(policy, report)
        for (namespace, name), policy in targets_of(policies, Findings()).items()
        if policy.spec.retry or policy.spec.timeouts or policy.spec.adaptive_concurrency
    }
    if not found:
        return Changed(tables)
    return Changed(tuple(_table(table, found) for table in tables), report.all())


def _table(table: RouteTable, policies: _Policies) -> RouteTable:
    hosts = tuple(_virtual_host(host, policies) for host in table.virtual_hosts)
    same = all(a is b for a, b in zip(hosts, table.virtual_hosts, strict=True))
    return table if same else replace(table, virtual_hosts=hosts)


def _virtual_host(host: VirtualHost, policies: _Policies) -> VirtualHost:
    routes = tuple(_route(route, policies) for route in host.routes)
    same = all(a is b for a, b in zip(routes, host.routes, strict=True))
    return host if same else replace(host, routes=routes)


def _route(route: HttpRoute, policies: _Policies) -> HttpRoute:
    hosts = {host_of(part.destination) for part in route.destinations}
    change = policies.get(hosts.pop()) if len(hosts) == 1 else None
    return route if change is None else change.to(route)


def _change(policy: weft.BackendPolicy, report: Findings) -> _Change:
    retry, times = policy.spec.retry, policy.spec.timeouts or weft.BackendTimeouts()

    def duration(text: str, field: str) -> float | None:
        def invalid(problem: str) -> None:
            path = f"spec.timeouts.{field}"
            report.add(f.VALUE_INVALID, policy, path, problem=problem, part="value")

        return seconds(text, None, invalid)

    return _Change(
        retry=None if retry is None else _retry(policy, retry, report),
        timeout=duration(times.request, "request"),
        idle_timeout=duration(times.idle, "idle"),
        stream_duration_max=duration(times.max_stream, "maxStream"),
        adaptive=_adaptive(policy, report),
    )


def _adaptive(policy: weft.BackendPolicy, report: Findings) -> AdaptiveConcurrency | None:
    wanted = policy.spec.adaptive_concurrency
    if wanted is None:
        return None

    def duration(text: str, field: str, default: float) -> float:
        def invalid(problem: str) -> None:
            path = f"spec.adaptiveConcurrency.{field}"
            report.add(f.VALUE_INVALID, policy, path, problem=problem, part="value")

        return seconds(text, default, invalid) or default

    usual = AdaptiveConcurrency(f"{policy.metadata.namespace}/{policy.metadata.name}")
    most = wanted.max_concurrency or usual.limit_max
    headroom = wanted.headroom
    return replace(
        usual,
        percentile=float(wanted.percentile or usual.percentile),
        interval=duration(wanted.update_interval, "updateInterval", usual.interval),
        limit_max=most,
        limit_min=min(wanted.min_concurrency or usual.limit_min, most),
        baseline_interval=duration(
            wanted.baseline_interval, "baselineInterval", usual.baseline_interval
        ),
        baseline_requests=wanted.baseline_requests or usual.baseline_requests,
        headroom_percent=usual.headroom_percent if headroom is None else float(headroom),
    )


def _retry(policy: weft.BackendPolicy, wanted: weft.BackendRetry, report: Findings) -> RetryPolicy:
    def duration(text: str, field: str) -> float | None:
        def invalid(problem: str) -> None:
            path = f"spec.retry.{field}"
            report.add(f.VALUE_INVALID, policy, path, problem=problem, part="value")

        return seconds(text, None, invalid)

    for index, word in enumerate(wanted.retry_on):
        if word not in RETRY_CONDITIONS:
            path = f"spec.retry.retryOn[{index}]"
            hint = f.suggest(word, sorted(RETRY_CONDITIONS), "there are")
            report.add(f.RETRY_CONDITION_UNKNOWN, policy, path, hint, word=word)
    headers = []
    for name, text in sorted(wanted.retriable_headers.items()):
        if text.regex and (problem := regex_problem(text.regex)):
            path = f"spec.retry.retriableHeaders[{name}].regex"
            report.add(f.REGEX_INVALID, policy, path, regex=text.regex, problem=problem)
        else:
            match = text_match(text) or StringMatch("present")
            headers.append(NamedMatch(name.lower(), match))
    given = wanted.retry_on or wanted.status_codes or wanted.retriable_headers
    usual = DEFAULT_RETRY
    return RetryPolicy(
        attempts=usual.attempts if wanted.attempts is None else wanted.attempts,
        conditions=tuple(word for word in wanted.retry_on if word in RETRY_CONDITIONS)
        if given
        else usual.conditions,
        status_codes=wanted.status_codes if given else usual.status_codes,
        retriable_headers=tuple(headers),
        safe_method_conditions=() if given else usual.safe_method_conditions,
        per_try_timeout=duration(wanted.per_try_timeout, "perTryTimeout"),
        backoff_base=duration(wanted.backoff, "backoff"),
        backoff_max=duration(wanted.max_backoff, "maxBackoff"),
        reset_headers=tuple(
            (each.header.lower(), _RESET_FORMATS[each.format])
            for each in wanted.retry_after
            if each.header
        ),
        reset_max=duration(wanted.max_retry_after, "maxRetryAfter"),
    )

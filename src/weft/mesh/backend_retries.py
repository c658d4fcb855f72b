"""BackendPolicies: when failed requests to a service are sent again."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.diagnostics import Diagnostic
from weft.api.weft import policy_v1alpha1 as weft
from weft.mesh import findings as f
from weft.mesh.backend_policies import targets_of
from weft.mesh.findings import Findings
from weft.mesh.istio_routes import DEFAULT_RETRY, RETRY_CONDITIONS
from weft.mesh.model import HttpRoute, NamedMatch, RetryPolicy, RouteTable, StringMatch, VirtualHost
from weft.mesh.names import service_host
from weft.mesh.rate_limits import host_of, text_match
from weft.mesh.values import regex_problem, seconds

_Policies = dict[str, RetryPolicy]
"""By host."""


class Retried(Struct, frozen=True):
    """Route tables with the retries of their destinations."""

    tables: tuple[RouteTable, ...]
    findings: tuple[Diagnostic, ...] = ()


def with_backend_retries(
    tables: tuple[RouteTable, ...], policies: Sequence[weft.BackendPolicy]
) -> Retried:
    """Routes that say nothing about retries, and all of whose destinations are of one service,
    retry as the service's policy says."""
    report = Findings()
    found = {
        service_host(name, namespace): _read(policy, policy.spec.retry, report)
        for (namespace, name), policy in targets_of(policies, Findings()).items()
        if policy.spec.retry is not None
    }
    if not found:
        return Retried(tables)
    return Retried(tuple(_table(table, found) for table in tables), report.all())


def _table(table: RouteTable, policies: _Policies) -> RouteTable:
    hosts = tuple(_virtual_host(host, policies) for host in table.virtual_hosts)
    same = all(a is b for a, b in zip(hosts, table.virtual_hosts, strict=True))
    return table if same else replace(table, virtual_hosts=hosts)


def _virtual_host(host: VirtualHost, policies: _Policies) -> VirtualHost:
    routes = tuple(_route(route, policies) for route in host.routes)
    same = all(a is b for a, b in zip(routes, host.routes, strict=True))
    return host if same else replace(host, routes=routes)


def _route(route: HttpRoute, policies: _Policies) -> HttpRoute:
    if route.retry != DEFAULT_RETRY:
        return route
    hosts = {host_of(part.destination) for part in route.destinations}
    policy = policies.get(hosts.pop()) if len(hosts) == 1 else None
    return route if policy is None else replace(route, retry=policy)


def _read(policy: weft.BackendPolicy, wanted: weft.BackendRetry, report: Findings) -> RetryPolicy:
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
    )

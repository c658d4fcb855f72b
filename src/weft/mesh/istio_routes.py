"""The HTTP routes of VirtualServices, in mesh words."""

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from weft.api.istio import networking_v1 as istio
from weft.mesh import findings as f
from weft.mesh.directory import Directory, Reference
from weft.mesh.findings import Findings
from weft.mesh.istio_matches import Rule, http_matches
from weft.mesh.model import (
    Cors,
    DirectResponse,
    Fault,
    Header,
    HeaderOperations,
    HttpRoute,
    Mirror,
    Redirect,
    RetryPolicy,
    Rewrite,
    StringMatch,
    WeightedDestination,
)
from weft.mesh.names import nearest
from weft.mesh.values import grpc_status, regex_problem, seconds

DEFAULT_RETRY = RetryPolicy(
    attempts=2,
    conditions=(
        "connect-failure",
        "refused-stream",
        "unavailable",
        "cancelled",
        "reset-before-request",
    ),
    status_codes=(503,),
    safe_method_conditions=("reset",),
)
"""Istio's default, and a second try elsewhere for reads that a dying back end had begun."""
RETRY_CONDITIONS = frozenset(
    {
        "5xx", "gateway-error", "reset", "reset-before-request", "connect-failure",
        "envoy-ratelimited", "retriable-4xx", "refused-stream", "retriable-status-codes",
        "retriable-headers", "http3-post-connect-failure", "cancelled", "deadline-exceeded",
        "internal", "resource-exhausted", "unavailable",
    }
)  # fmt: skip
REDIRECT_CODES = (301, 302, 303, 307, 308)
DURATION_LEAST = 0.001


class Place(Struct, frozen=True):
    """Where routes are used."""

    gateway: str
    """`mesh` or `namespace/name`."""
    port: int
    client: str = ""
    """Callers of this namespace only, which has rules of its own; "" is everyone."""


def source(obj: istio.VirtualService) -> str:
    """How findings and explanations name the object."""
    return f"VirtualService {obj.metadata.namespace}/{obj.metadata.name}"


def http_routes(
    obj: istio.VirtualService, place: Place, directory: Directory
) -> tuple[HttpRoute, ...]:
    """The routes of an object that apply at a place, in order. What is wrong is reported, and only
    that is left out."""

    return directory.remembered(obj, place, partial(own_http_routes(place), obj))


def own_http_routes(
    place: Place,
) -> Callable[[istio.VirtualService, Directory], tuple[HttpRoute, ...]]:
    """The same for one place, to be remembered for many objects at a time."""

    def make(obj: istio.VirtualService, directory: Directory) -> tuple[HttpRoute, ...]:
        made = (_route(rule, place, directory) for rule in directory.delegates.rules(obj))
        return tuple(route for route in made if route is not None)

    return make


def for_callers(routes: Iterable[HttpRoute], namespaces: tuple[str, ...]) -> tuple[HttpRoute, ...]:
    """The same routes, for callers of these namespaces only."""
    if not namespaces:
        return tuple(routes)
    narrowed = []
    for route in routes:
        matches = tuple(
            replace(m, source_namespaces=common)
            for m in route.matches
            if (common := _common(m.source_namespaces, namespaces))
        )
        if matches:
            narrowed.append(replace(route, matches=matches))
    return tuple(narrowed)


def _common(have: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(ns for ns in wanted if ns in have) if have else wanted


class _Rule:
    """One `spec.http` entry while it is read."""

    def __init__(self, written: Rule, place: Place, directory: Directory) -> None:
        self.obj = written.obj
        self.route = written.route
        self.path = written.path
        self.name = written.name
        self.place = place
        self.directory = directory
        self.report: Findings = directory.report

    def invalid(self, path: str, problem: str, part: str, hint: str = "") -> None:
        self.report.add(
            f.VALUE_INVALID, self.obj, f"{self.path}.{path}", hint, problem=problem, part=part
        )

    def unsupported(self, field: str, consequence: str) -> None:
        self.report.add(
            f.NOT_IN_FORCE,
            self.obj,
            f"{self.path}.{field}",
            field=field,
            consequence=consequence,
        )

    def seconds(self, text: str, path: str) -> float | None:
        return seconds(text, None, lambda p: self.invalid(path, p, "value"))

    def reference(self, path: str) -> Reference:
        return Reference(
            self.obj,
            f"{self.path}.{path}",
            self.obj.metadata.namespace,
            self.place.port,
            self.place.client,
        )


def _route(written: Rule, place: Place, directory: Directory) -> HttpRoute | None:
    rule = _Rule(written, place, directory)
    obj, route = written.obj, written.route
    matches = http_matches(written, place.gateway, place.port, rule.report)
    for index, match in enumerate(route.match):
        if match.stat_prefix:
            where = f"match[{index}].statPrefix"
            rule.unsupported(where, "requests are counted by caller and destination")
    if not matches:
        return None
    base = HttpRoute(name=rule.name, matches=matches, source=source(obj), cors=_cors(rule))
    if route.redirect is not None:
        return _with_headers(rule, _redirected(rule, base, route.redirect))
    if route.direct_response is not None:
        return _with_headers(rule, _answered(rule, base, route.direct_response))
    return _forwarded(rule, base)


def _forwarded(rule: _Rule, base: HttpRoute) -> HttpRoute | None:
    route = rule.route
    destinations, problems = _destinations(rule)
    if not destinations:
        return None
    if len(problems) == len(destinations):
        body = "".join(f"weft: {p} ({base.source})\n" for p in dict.fromkeys(problems))
        return replace(base, direct_response=DirectResponse(503, body))
    made = replace(
        base,
        destinations=destinations,
        rewrite=_rewrite(rule),
        timeout=rule.seconds(route.timeout, "timeout") or None,
        retry=_retry(rule),
        fault=_fault(rule),
        mirrors=_mirrors(rule),
    )
    return _with_headers(rule, made)


def _destinations(rule: _Rule) -> tuple[tuple[WeightedDestination, ...], list[str]]:
    shares = rule.route.route
    if not shares:
        rule.report.add(f.ACTION_MISSING, rule.obj, rule.path)
        return (), []
    made: list[WeightedDestination] = []
    problems: list[str] = []
    for index, share in enumerate(shares):
        path = f"route[{index}]"
        if share.destination is None or not share.destination.host:
            rule.report.add(f.DESTINATION_MISSING, rule.obj, f"{rule.path}.{path}")
            continue
        weight = share.weight if len(shares) > 1 else 1
        target = rule.directory.target(share.destination, rule.reference(f"{path}.destination"))
        if not weight:
            continue
        if target.problem:
            problems.append(target.problem)
        headers = share.headers or istio.Headers()
        made.append(
            WeightedDestination(
                destination=target.name,
                weight=weight,
                request_headers=_operations(rule, headers.request, f"{path}.headers.request"),
                response_headers=_operations(rule, headers.response, f"{path}.headers.response"),
            )
        )
    if not made and any(s.destination for s in shares):
        rule.report.add(f.WEIGHTS_ZERO, rule.obj, f"{rule.path}.route")
    return tuple(made), problems


def _with_headers(rule: _Rule, made: HttpRoute) -> HttpRoute:
    headers = rule.route.headers
    if headers is None:
        return made
    made = replace(
        made,
        request_headers=_operations(rule, headers.request, "headers.request"),
        response_headers=_operations(rule, headers.response, "headers.response"),
    )
    host = _host_header(headers.request)
    if host and made.destinations:
        rewrite = made.rewrite or Rewrite()
        if not rewrite.authority:
            made = replace(made, rewrite=replace(rewrite, authority=host))
    return made


def _host_header(operations: istio.HeaderOperations | None) -> str:
    """Setting Host is a rewrite of the authority: proxies refuse it as a header."""
    if operations is None:
        return ""
    return next((v for k, v in operations.set.items() if k.lower() in ("host", ":authority")), "")


def _operations(
    rule: _Rule, operations: istio.HeaderOperations | None, path: str
) -> HeaderOperations:
    if operations is None:
        return HeaderOperations()

    def headers(values: Mapping[str, str], kind: str) -> tuple[Header, ...]:
        return tuple(
            Header(name, values[name])
            for name in sorted(values)
            if _header_allowed(rule, name, f"{path}.{kind}", kind == "set")
        )

    return HeaderOperations(
        set=headers(operations.set, "set"),
        add=headers(operations.add, "add"),
        remove=tuple(
            n for n in operations.remove if _header_allowed(rule, n, f"{path}.remove", False)
        ),
    )


def _header_allowed(rule: _Rule, name: str, path: str, setting: bool) -> bool:
    lower = name.lower()
    if lower in ("host", ":authority"):
        if not setting:
            rule.invalid(path, f"`{name}` can only be set", "header", "use `rewrite.authority`")
        return False
    if not name or lower.startswith(":"):
        rule.invalid(path, f"`{name}` cannot be changed", "header")
        return False
    return True


def _redirected(rule: _Rule, base: HttpRoute, wanted: istio.HTTPRedirect) -> HttpRoute:
    port = wanted.port or 0
    if wanted.derive_port == "FROM_REQUEST_PORT":
        port = rule.place.port
    code = wanted.redirect_code or 301
    if code not in REDIRECT_CODES:
        known = ", ".join(map(str, REDIRECT_CODES))
        rule.invalid("redirect.redirectCode", f"{code} is none of {known}", "value")
        code = 301
    redirect = Redirect(
        scheme=wanted.scheme,
        host=wanted.authority,
        port=port,
        path=wanted.uri,
        prefix_rewrite=wanted.prefix_rewrite,
        code=code,
    )
    return replace(base, redirect=redirect)


def _answered(rule: _Rule, base: HttpRoute, wanted: istio.HTTPDirectResponse) -> HttpRoute:
    status = wanted.status or 0
    if not 200 <= status <= 599:
        rule.invalid("directResponse.status", f"{status} is not between 200 and 599", "value")
        status = 500
    body = wanted.body.string if wanted.body else ""
    if wanted.body and wanted.body.bytes:
        try:
            body = base64.b64decode(wanted.body.bytes, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            rule.invalid("directResponse.body.bytes", str(error), "body")
    return replace(base, direct_response=DirectResponse(status, body))


def _rewrite(rule: _Rule) -> Rewrite | None:
    wanted = rule.route.rewrite
    if wanted is None:
        return None
    expression = wanted.uri_regex_rewrite
    if expression is not None and expression.match:
        if problem := regex_problem(expression.match):
            rule.invalid(
                "rewrite.uriRegexRewrite.match",
                f"`{expression.match}` is no valid RE2 expression ({problem})",
                "rewrite",
            )
            return Rewrite(authority=wanted.authority)
        return Rewrite(
            authority=wanted.authority,
            regex=expression.match,
            substitution=expression.rewrite,
        )
    return Rewrite(prefix=wanted.uri or None, authority=wanted.authority)


def _retry(rule: _Rule) -> RetryPolicy | None:
    wanted = rule.route.retries
    if wanted is None:
        return DEFAULT_RETRY
    if wanted.attempts == 0:
        return None
    words = [w.strip() for w in wanted.retry_on.split(",") if w.strip()]
    codes = tuple(int(w) for w in words if w.isdigit() and 100 <= int(w) <= 599)
    conditions = []
    for word in words:
        if word in RETRY_CONDITIONS:
            conditions.append(word)
        elif not (word.isdigit() and 100 <= int(word) <= 599):
            near = nearest(word, RETRY_CONDITIONS)
            rule.invalid(
                "retries.retryOn",
                f"`{word}` is no retry condition",
                "condition",
                f"did you mean `{near}`?" if near else "",
            )
    usual = not (conditions or codes)
    per_try = rule.seconds(wanted.per_try_timeout, "retries.perTryTimeout")
    return RetryPolicy(
        attempts=wanted.attempts if wanted.attempts is not None else DEFAULT_RETRY.attempts,
        conditions=DEFAULT_RETRY.conditions if usual else tuple(conditions),
        status_codes=DEFAULT_RETRY.status_codes if usual else codes,
        per_try_timeout=per_try or None,
        backoff_base=rule.seconds(wanted.backoff, "retries.backoff") or None,
        previous_hosts=wanted.retry_ignore_previous_hosts is False,
        remote_localities=bool(wanted.retry_remote_localities),
        safe_method_conditions=DEFAULT_RETRY.safe_method_conditions if usual else (),
    )


def _fault(rule: _Rule) -> Fault | None:
    wanted = rule.route.fault
    if wanted is None:
        return None
    made = Fault()
    if wanted.delay is not None:
        delay = seconds(
            wanted.delay.fixed_delay,
            0.0,
            lambda p: rule.invalid("fault.delay.fixedDelay", p, "delay"),
            DURATION_LEAST,
        )
        percent = _percent(wanted.delay.percentage, wanted.delay.percent)
        made = replace(made, delay=delay or 0.0, delay_percent=percent if delay else 0.0)
        if wanted.delay.exponential_delay:
            rule.unsupported("fault.delay.exponentialDelay", "requests are not delayed by it")
    if wanted.abort is not None:
        made = _with_abort(rule, made, wanted.abort)
    return None if made == Fault() else made


def _with_abort(rule: _Rule, made: Fault, wanted: istio.FaultAbort) -> Fault:
    percent = _percent(wanted.percentage, wanted.percent)
    if wanted.http_status:
        return replace(made, abort_status=wanted.http_status, abort_percent=percent)
    if not wanted.grpc_status:
        rule.unsupported("fault.abort.http2Error", "no request is aborted by it")
        return made
    status = grpc_status(wanted.grpc_status)
    if status is None:
        problem = f"`{wanted.grpc_status}` is no gRPC status"
        rule.invalid("fault.abort.grpcStatus", problem, "abort", "e.g. `UNAVAILABLE`")
        return made
    return replace(made, abort_grpc_status=status, abort_percent=percent)


def _cors(rule: _Rule) -> Cors | None:
    wanted = rule.route.cors_policy
    if wanted is None:
        return None
    origins = [StringMatch("exact", origin) for origin in wanted.allow_origin]
    for index, origin in enumerate(wanted.allow_origins):
        if origin.regex is not None and (problem := regex_problem(origin.regex)):
            rule.invalid(f"corsPolicy.allowOrigins[{index}].regex", problem, "origin")
        elif origin.regex is not None:
            origins.append(StringMatch("regex", origin.regex))
        elif origin.prefix is not None:
            origins.append(StringMatch("prefix", origin.prefix))
        elif origin.exact is not None:
            any_origin = origin.exact == "*"
            origins.append(StringMatch("regex" if any_origin else "exact",
                                       ".*" if any_origin else origin.exact))  # fmt: skip
    return Cors(
        origins=tuple(origins),
        methods=wanted.allow_methods,
        headers=wanted.allow_headers,
        expose=wanted.expose_headers,
        max_age=rule.seconds(wanted.max_age, "corsPolicy.maxAge"),
        credentials=wanted.allow_credentials,
        forward_unmatched=wanted.unmatched_preflights != "IGNORE",
    )


def _percent(value: istio.PercentValue | None, whole: int | None) -> float:
    if value is not None:
        return value.value or 0.0
    return 100.0 if whole is None else float(whole)


def _mirrors(rule: _Rule) -> tuple[Mirror, ...]:
    route = rule.route
    wanted = [
        (m.destination, f"mirrors[{i}].destination", _percent(m.percentage, None))
        for i, m in enumerate(route.mirrors)
    ]
    if route.mirror is not None:
        whole = (
            route.mirror_percent if route.mirror_percent is not None else route.mirror_percent_old
        )
        wanted.insert(0, (route.mirror, "mirror", _percent(route.mirror_percentage, whole)))
    made = []
    for destination, path, percent in wanted:
        if destination is None:
            rule.report.add(f.DESTINATION_MISSING, rule.obj, f"{rule.path}.{path}")
            continue
        target = rule.directory.target(destination, rule.reference(path))
        if not target.problem and percent > 0:
            made.append(Mirror(target.name, percent))
    return tuple(made)

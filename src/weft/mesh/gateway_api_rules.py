"""Rules of HTTPRoutes and GRPCRoutes as routes of the mesh, in the order of precedence."""

import re
from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.gateway import v1 as gw
from weft.mesh.gateway_api_filters import Step, apply_filters, backend_headers, backend_problem
from weft.mesh.gateway_api_refs import Backend, BackendReference, References
from weft.mesh.istio_routes import DEFAULT_RETRY
from weft.mesh.model import (
    DirectResponse,
    HttpMatch,
    HttpRoute,
    NamedMatch,
    RetryPolicy,
    StringMatch,
    WeightedDestination,
)
from weft.mesh.values import regex_problem, seconds

HttpLike = gw.HTTPRoute | gw.GRPCRoute
NO_BACK_END = 500
"""What the specification answers for back ends that cannot be resolved."""
PERCENT = 100.0
_ANY_SEGMENT = "[^/]+"
_PATH_RANK = {"exact": 0, "regex": 1, "prefix": 2, "present": 3}


class Ranked(Struct, frozen=True):
    """A route with one match, and its place: lower keys are tried first."""

    key: tuple[int, ...]
    route: HttpRoute


class Rules(Struct, frozen=True):
    """The rules of an object, and what is wrong with them."""

    ranked: tuple[Ranked, ...] = ()
    unresolved: tuple[tuple[str, str], ...] = ()
    """(reason, message) of references."""
    unsupported: tuple[str, ...] = ()
    """Messages about rules that are left out."""


def source(obj: HttpLike) -> str:
    """How explanations name the object."""
    return f"{type(obj).__name__} {obj.metadata.namespace}/{obj.metadata.name}"


def http_rules(obj: HttpLike, port: int, references: References) -> Rules:
    """The rules as they apply at a port of a Gateway (or of a Service)."""
    ranked: list[Ranked] = []
    unresolved: list[tuple[str, str]] = []
    unsupported: list[str] = []
    rules: Sequence[gw.HTTPRouteRule | gw.GRPCRouteRule] = obj.spec.rules
    for index, rule in enumerate(rules):
        reading = _Reading(obj, rule, index, port, references)
        made, problem = reading.routes()
        unresolved += reading.unresolved
        unsupported += [problem] if problem else []
        ranked += made
    return Rules(tuple(ranked), tuple(unresolved), tuple(unsupported))


class _Reading:
    """One rule while it is read."""

    def __init__(
        self,
        obj: HttpLike,
        rule: gw.HTTPRouteRule | gw.GRPCRouteRule,
        index: int,
        port: int,
        references: References,
    ) -> None:
        self.obj, self.rule, self.index, self.port = obj, rule, index, port
        self.references = references
        self.namespace = obj.metadata.namespace
        self.kind = type(obj).__name__
        self.refs: Sequence[gw.HTTPBackendRef | gw.GRPCBackendRef] = rule.backend_refs
        self.unresolved: list[tuple[str, str]] = []

    def routes(self) -> tuple[list[Ranked], str]:
        """A route for each match; or what in the rule cannot be done."""
        matches = [_match(m) for m in self.rule.matches] or [HttpMatch()]
        for match in matches:
            if problem := _problem(match):
                return [], f"spec.rules[{self.index}]: {problem}"
        if problem := backend_problem(step for ref in self.refs for step in ref.filters):
            return [], f"spec.rules[{self.index}].backendRefs: {problem}"
        made: list[Ranked] = []
        backends = [self._backend(ref) for ref in self.refs]
        for match in matches:
            step = Step(self._base(match), match, self.port)
            step = apply_filters(step, self.rule.filters, self._backend)
            if step.problem:
                return [], f"spec.rules[{self.index}].filters: {step.problem}"
            routes = [step.route] if step.ends else self._forward(step.route, backends)
            made += [Ranked(_rank(match), route) for route in routes]
        return made, ""

    def _base(self, match: HttpMatch) -> HttpRoute:
        meta = self.obj.metadata
        label = self.rule.name or f"rules[{self.index}]"
        name = f"{meta.namespace}/{meta.name}/{label}"
        return HttpRoute(name=name, matches=(match,), source=source(self.obj))

    def _backend(self, ref: BackendReference) -> Backend:
        found = self.references.backend(ref, self.kind, self.namespace)
        if found.reason:
            self.unresolved.append((found.reason, found.message))
        return found

    def _forward(self, base: HttpRoute, backends: Sequence[Backend]) -> list[HttpRoute]:
        """To the back ends. The share of those that cannot be resolved is answered 500."""
        pairs = list(zip(self.refs, backends, strict=True))
        good = [(r, b) for r, b in pairs if b.destination and r.weight]
        bad = sum(r.weight for r, b in pairs if not b.destination)
        body = "".join(f"weft: {b.message} ({base.source})\n" for b in backends if b.message)
        failing = replace(
            base, destinations=(), mirrors=(), rewrite=None,
            direct_response=DirectResponse(NO_BACK_END, body),
        )  # fmt: skip
        if not good:
            return [failing]
        shares = tuple(
            backend_headers(WeightedDestination(b.destination, r.weight), r.filters)
            for r, b in good
        )
        retry, timeout = _retry(self.rule), _timeouts(self.rule)
        if timeout[1] is not None and retry is not None:
            retry = replace(retry, per_try_timeout=timeout[1])
        limit = timeout[0]
        if retry is None and timeout[1] is not None:
            limit = min(timeout[0] or timeout[1], timeout[1])
        forward = replace(base, destinations=shares, retry=retry, timeout=limit)
        if not bad:
            return [forward]
        percent = PERCENT * bad / (bad + sum(r.weight for r, _ in good))
        some = tuple(replace(m, percent=percent) for m in base.matches)
        return [replace(failing, matches=some), forward]


def _retry(rule: gw.HTTPRouteRule | gw.GRPCRouteRule) -> RetryPolicy | None:
    wanted = rule.retry if isinstance(rule, gw.HTTPRouteRule) else None
    if wanted is None:
        return DEFAULT_RETRY
    if wanted.attempts == 0:
        return None
    return RetryPolicy(
        attempts=wanted.attempts or 1,
        conditions=("connect-failure", "refused-stream", "reset-before-request"),
        status_codes=wanted.codes,
        backoff_base=_seconds(wanted.backoff),
    )


def _timeouts(rule: gw.HTTPRouteRule | gw.GRPCRouteRule) -> tuple[float | None, float | None]:
    """(whole request, one try) in seconds; None is none."""
    if not isinstance(rule, gw.HTTPRouteRule):
        return None, None
    return _seconds(rule.timeouts.request), _seconds(rule.timeouts.backend_request)


def _seconds(text: str) -> float | None:
    """None when absent, zero or no duration, which validation refuses."""
    return seconds(text, None, lambda _: None) or None


# --- matches


def _match(match: gw.HTTPRouteMatch | gw.GRPCRouteMatch) -> HttpMatch:
    headers: Iterable[gw.HTTPHeaderMatch | gw.GRPCHeaderMatch] = match.headers
    named = _named((h.name.lower(), h.value, h.type) for h in headers)
    if isinstance(match, gw.GRPCRouteMatch):
        return HttpMatch(path=_grpc_path(match.method), headers=named)
    kinds = {"Exact": "exact", "PathPrefix": "prefix"}
    kind, value = kinds.get(match.path.type, "regex"), match.path.value or "/"
    if kind == "prefix":
        value = value.rstrip("/") or "/"
    query = _named((q.name, q.value, q.type) for q in match.query_params)
    return HttpMatch(
        path=StringMatch(kind, value),  # type: ignore[arg-type]
        path_segments=kind == "prefix" and value != "/",
        method=StringMatch("exact", match.method) if match.method else None,
        headers=named,
        query=query,
    )


def _named(conditions: Iterable[tuple[str, str, str]]) -> tuple[NamedMatch, ...]:
    """Of several conditions on one name only the first counts."""
    found: dict[str, NamedMatch] = {}
    for name, value, kind in conditions:
        match = StringMatch("regex" if kind == "RegularExpression" else "exact", value)
        found.setdefault(name, NamedMatch(name, match))
    return tuple(found.values())


def _grpc_path(method: gw.GRPCMethodMatch | None) -> StringMatch | None:
    if method is None or not (method.service or method.method):
        return None
    if method.type == "RegularExpression":
        service, name = method.service or _ANY_SEGMENT, method.method or _ANY_SEGMENT
        return StringMatch("regex", f"/{service}/{name}")
    if method.service and method.method:
        return StringMatch("exact", f"/{method.service}/{method.method}")
    if method.service:
        return StringMatch("prefix", f"/{method.service}/")
    return StringMatch("regex", f"/{_ANY_SEGMENT}/{re.escape(method.method)}")


def _problem(match: HttpMatch) -> str:
    """Paths and expressions that a proxy would refuse, and with them everything else."""
    if match.path is not None and match.path_segments and set("?#") & set(match.path.value):
        return f"path `{match.path.value}` has a query or fragment"
    texts = [match.path, *(n.match for n in match.headers), *(n.match for n in match.query)]
    for text in texts:
        if text is not None and text.kind == "regex" and (problem := regex_problem(text.value)):
            return f"`{text.value}` is no valid RE2 expression ({problem})"
    return ""


def _rank(match: HttpMatch) -> tuple[int, ...]:
    """Exact path, then expressions, then the longest prefix; then method, headers, parameters."""
    path = match.path or StringMatch("present")
    length = len(path.value) if path.kind != "present" else 0
    return (
        _PATH_RANK[path.kind],
        -length,
        0 if match.method else 1,
        -len(match.headers),
        -len(match.query),
    )

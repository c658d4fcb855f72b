"""Rules of HTTPRoutes and GRPCRoutes as routes of the mesh, in the order of precedence."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from weft.api.gateway import v1 as gw
from weft.mesh.gateway_api_filters import (
    Step,
    apply_filters,
    backend_headers,
    backend_problem,
    is_header_filter,
)
from weft.mesh.gateway_api_objects import MADE_FROM, Derived, Route
from weft.mesh.gateway_api_refs import Backend, BackendReference
from weft.mesh.gateway_api_sessions import read_session
from weft.mesh.istio_routes import DEFAULT_RETRY
from weft.mesh.model import (
    NOWHERE,
    DirectResponse,
    HttpMatch,
    HttpRoute,
    NamedMatch,
    RetryPolicy,
    Session,
    StringMatch,
    WeightedDestination,
)
from weft.mesh.values import regex_problem, seconds

HttpLike = gw.HTTPRoute | gw.GRPCRoute
ConnectionRoute = gw.TLSRoute | gw.TCPRoute | gw.UDPRoute
NO_BACK_END = 500
"""What the specification answers for back ends that cannot be resolved."""
NO_GRPC_BACK_END = 503
"""The same where the answer has to mean `unavailable` to gRPC."""
PARENT = "parent"
"""Destination of rules without back ends in the mesh: the Service that was called, whichever of the
route's parents that is (GEP-1426)."""
NOTHING_ATTACHED = HttpRoute(name="no-route", direct_response=DirectResponse(404))
"""What a listener without a route for a host answers: its requests are not another listener's."""
CONNECTION_ERRORS = ("connect-failure", "refused-stream", "reset")
"""What is retried wherever a rule has `retry`: also tries that broke or took too long."""
PERCENT = 100.0
GRPC_PROTOCOLS = ("http2", "grpc")
OWN_POLICIES = (
    "RateLimitPolicy, AuthenticationPolicy and BackendPolicy name what they are for in `targetRef`"
)
_ANY_SEGMENT = "[^/]+"
_PATH_RANK = {"exact": 0, "regex": 1, "prefix": 2, "present": 3}


class Ranked(Struct, frozen=True):
    """A route with one match, and its place: lower keys are tried first."""

    key: tuple[int, ...]
    route: HttpRoute


class Rules(Struct, frozen=True):
    """The rules of an object as they apply at one place, and what is wrong with them."""

    ranked: tuple[Ranked, ...] = ()
    """Of HTTPRoutes and GRPCRoutes."""
    shares: tuple[WeightedDestination, ...] = ()
    """Of other routes: where connections or datagrams go; NOWHERE has the share of back ends
    that cannot be resolved."""
    unresolved: tuple[tuple[str, str], ...] = ()
    """(reason, message) of references."""
    unsupported: tuple[str, ...] = ()
    """Messages about rules that are left out."""
    services: frozenset[tuple[str, str]] = frozenset()
    """(host, port's name) of the Services that it leads to."""
    derived: tuple[Derived, ...] = ()
    """Destinations of its own."""
    closed: tuple[str, ...] = ()
    """Messages about rules of which no request may pass, for somebody cannot be asked."""
    count: int = 0
    """How many rules an HTTPRoute or GRPCRoute has."""

    @property
    def accepted(self) -> bool:
        """Whether anything is left of the rules."""
        return bool(self.ranked) or not self.unsupported


Lookup = Callable[[BackendReference], Backend]


def source(obj: Route) -> str:
    """How explanations name the object."""
    own = f"{type(obj).__name__} {obj.metadata.namespace}/{obj.metadata.name}"
    return obj.metadata.annotations.get(MADE_FROM, own) if not obj.metadata.uid else own


def http_rules(obj: HttpLike, port: int, lookup: Lookup, in_mesh: bool) -> Rules:
    """The rules as they apply at a port of a Gateway, or of a Service (`in_mesh`)."""
    seen = _Seen(lookup)
    ranked: list[Ranked] = []
    unsupported: list[str] = []
    closed: list[str] = []
    rules: Sequence[gw.HTTPRouteRule | gw.GRPCRouteRule] = obj.spec.rules
    for index, rule in enumerate(rules):
        reading = _Reading(obj, rule, index, port, seen, in_mesh=in_mesh)
        made, problem = reading.routes()
        unsupported += [problem] if problem else []
        closed += [reading.refusal] if reading.refusal else []
        ranked += made
    return seen.rules(
        ranked=tuple(ranked), unsupported=tuple(unsupported), closed=tuple(closed), count=len(rules)
    )


def connection_rules(obj: ConnectionRoute, lookup: Lookup) -> Rules:
    """Back ends of the first rule; routes of this kind have no more."""
    seen = _Seen(lookup)
    refs = obj.spec.rules[0].backend_refs if obj.spec.rules else ()
    found = [(seen.backend(ref), ref.weight) for ref in refs]
    shares = tuple(WeightedDestination(b.destination, weight) for b, weight in found if weight)
    return seen.rules(shares=shares or (WeightedDestination(NOWHERE),))


class _Seen:
    """Back ends that a route names, and what was found out about them."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._found: list[Backend] = []

    def backend(self, ref: BackendReference, grpc: bool = False) -> Backend:
        """`grpc`: it must speak gRPC."""
        found = self._lookup(ref)
        if grpc and found.destination and found.protocol not in GRPC_PROTOCOLS:
            port = f"port {ref.port} of Service `{ref.name}`"
            text = f"{port} is not declared as gRPC: set its `appProtocol: grpc`"
            found = Backend(reason="UnsupportedProtocol", message=text)
        self._found.append(found)
        return found

    def extension(self, ref: gw.LocalObjectReference) -> Backend:
        """A filter that only implementations have; weft has none."""
        what = f"{ref.kind} `{ref.name}` of group `{ref.group}`"
        found = Backend(reason="InvalidKind", message=f"{what} is no filter: {OWN_POLICIES}")
        self._found.append(found)
        return found

    def rules(self, **more: Any) -> Rules:
        derived = {b.derived.name: b.derived for b in self._found if b.derived is not None}
        return Rules(
            unresolved=tuple((b.reason, b.message) for b in self._found if b.reason),
            services=frozenset((b.service, b.port_name) for b in self._found if b.service),
            derived=tuple(derived.values()),
            **more,
        )


class _Reading:
    """One rule while it is read."""

    def __init__(
        self,
        obj: HttpLike,
        rule: gw.HTTPRouteRule | gw.GRPCRouteRule,
        index: int,
        port: int,
        seen: _Seen,
        *,
        in_mesh: bool,
    ) -> None:
        self.obj, self.rule, self.index, self.port = obj, rule, index, port
        self.seen, self.in_mesh = seen, in_mesh
        self.refusal = ""
        """Why no request of the rule may pass."""
        self.session: Session | None = None
        self.refs: Sequence[gw.HTTPBackendRef | gw.GRPCBackendRef] = rule.backend_refs

    def routes(self) -> tuple[list[Ranked], str]:
        """A route for each match; or what in the rule cannot be done."""
        matches = [_match(m) for m in self.rule.matches] or [HttpMatch()]
        for match in matches:
            if problem := _problem(match):
                return [], f"spec.rules[{self.index}]: {problem}"
        session, problem = read_session(self.rule, self.obj)
        if problem:
            return [], f"spec.rules[{self.index}].sessionPersistence: {problem}"
        self.session = session
        if problem := backend_problem(step for ref in self.refs for step in ref.filters):
            return [], f"spec.rules[{self.index}].backendRefs: {problem}"
        made: list[Ranked] = []
        backends = [self.seen.backend(ref) for ref in self.refs]
        for match in matches:
            step = Step(self._base(match), match, self.port)
            step = apply_filters(step, self.rule.filters, self.seen)
            if step.problem:
                return [], f"spec.rules[{self.index}].filters: {step.problem}"
            if step.refusal:
                self.refusal = f"spec.rules[{self.index}].filters: {step.refusal}"
            routes, problem = ([step.route], "") if step.ends else self._forward(step, backends)
            if problem:
                return [], f"spec.rules[{self.index}].backendRefs: {problem}"
            made += [Ranked(_rank(match), route) for route in routes]
        return made, ""

    def _base(self, match: HttpMatch) -> HttpRoute:
        meta = self.obj.metadata
        label = self.rule.name or f"rules[{self.index}]"
        name = f"{meta.namespace}/{meta.name}/{label}"
        return HttpRoute(name=name, matches=(match,), source=source(self.obj))

    def _forward(self, step: Step, backends: Sequence[Backend]) -> tuple[list[HttpRoute], str]:
        """To the back ends. The share of those that cannot be resolved is answered 500 (503, which
        callers of gRPC see as unavailable), and one whose filters change more than headers is a
        route of its own."""
        base = replace(self._limited(step.route), session=self.session)
        if self.in_mesh and not self.refs:
            return [replace(base, destinations=(WeightedDestination(PARENT),))], ""
        pairs = list(zip(self.refs, backends, strict=True))
        good = [(r, b) for r, b in pairs if b.destination and r.weight]
        plain = [(r, b) for r, b in good if all(map(is_header_filter, r.filters))]
        parts: list[tuple[int, HttpRoute]] = []
        bad = sum(r.weight for r, b in pairs if not b.destination)
        if bad or not good:
            parts.append((bad or 1, self._failing(step.route, backends)))
        for ref, backend in good:
            if (ref, backend) in plain:
                continue
            share = WeightedDestination(backend.destination)
            route = replace(base, destinations=(backend_headers(share, ref.filters),))
            others = [f for f in ref.filters if not is_header_filter(f)]
            special = apply_filters(replace(step, route=route), others, self.seen)
            if special.problem:
                return [], special.problem
            done = special.route
            parts.append((ref.weight, replace(done, destinations=()) if special.ends else done))
        if plain:
            shares = tuple(
                backend_headers(WeightedDestination(b.destination, r.weight), r.filters)
                for r, b in plain
            )
            weight = sum(r.weight for r, _ in plain)
            parts.append((weight, replace(base, destinations=shares)))
        return _by_chance(parts), ""

    def _failing(self, base: HttpRoute, backends: Sequence[Backend]) -> HttpRoute:
        grpc = isinstance(self.obj, gw.GRPCRoute)
        body = "".join(f"weft: {b.message} ({base.source})\n" for b in backends if b.message)
        return replace(
            base, destinations=(), mirrors=(), rewrite=None,
            direct_response=DirectResponse(NO_GRPC_BACK_END if grpc else NO_BACK_END, body),
        )  # fmt: skip

    def _limited(self, base: HttpRoute) -> HttpRoute:
        """With the rule's time-outs and retries."""
        retry, (whole, one_try) = _retry(self.rule), _timeouts(self.rule)
        if one_try is not None and retry is not None:
            retry = replace(retry, per_try_timeout=one_try)
        elif one_try is not None:
            whole = min(whole or one_try, one_try)
        return replace(base, retry=retry, timeout=whole)


def _by_chance(parts: Sequence[tuple[int, HttpRoute]]) -> list[HttpRoute]:
    """Routes with the same match, each for its share of the requests. All of them look at the same
    number drawn for a request, so each holds below the sum of the shares so far."""
    total = sum(weight for weight, _ in parts)
    made: list[HttpRoute] = []
    below = 0
    for weight, route in parts[:-1]:
        below += weight
        percent = PERCENT * below / total
        some = tuple(replace(match, percent=percent) for match in route.matches)
        made.append(replace(route, matches=some))
    return [*made, parts[-1][1]]


def _retry(rule: gw.HTTPRouteRule | gw.GRPCRouteRule) -> RetryPolicy | None:
    wanted = rule.retry if isinstance(rule, gw.HTTPRouteRule) else None
    if wanted is None:
        return DEFAULT_RETRY
    if wanted.attempts == 0:
        return None
    return RetryPolicy(
        attempts=wanted.attempts or 1,
        conditions=CONNECTION_ERRORS,
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

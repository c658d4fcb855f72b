"""The walk itself: connection, virtual host, route, and what the route does."""

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from weft.mesh.explain import connections, virtual_hosts
from weft.mesh.explain.access import Arrival, Verdict, judge, policies_for
from weft.mesh.explain.connections import Met
from weft.mesh.explain.effects import Effect, preflight_answered, route_effects
from weft.mesh.explain.matching import mismatch
from weft.mesh.explain.paths import normalised
from weft.mesh.explain.request import Request
from weft.mesh.explain.rewriting import Sent, location, sent
from weft.mesh.model import (
    GATEWAY_ACCOUNT,
    NOWHERE,
    AccessPolicy,
    Destination,
    Endpoint,
    GatewayListener,
    HttpMatch,
    HttpRoute,
    MeshModel,
    TcpRoute,
    UdpRoute,
    WeightedDestination,
    Workload,
)

Outcome = Literal[
    "routed",
    "redirected",
    "answered",
    "passed through",
    "not found",
    "unavailable",
    "denied",
    "closed",
]
ALL_PERCENT = 100.0
NOT_FOUND = 404
REFUSED = 502
NO_ENDPOINT = 503
FORBIDDEN = 403


class Share(Struct, frozen=True):
    """A part of the traffic, where it goes, and what arrives there."""

    destination: Destination
    percent: float
    healthy: tuple[Endpoint, ...]
    """Endpoints that get new requests."""
    draining: tuple[Endpoint, ...] = ()
    sent: Sent | None = None
    """The request as an endpoint gets it; None for connections."""
    part: WeightedDestination = WeightedDestination("")
    verdicts: tuple[tuple[str, Verdict], ...] = ()
    """(address, what policies say about calls to it) of the healthy endpoints."""

    @property
    def denied(self) -> str:
        """Why no endpoint lets the request in; empty when one may."""
        found = [verdict for _, verdict in self.verdicts]
        return found[0].reason if found and all(v.allowed is False for v in found) else ""

    def serves(self, caller: Workload | None) -> bool:
        """Whether the proxy has an endpoint to try; names are resolved when the time comes, and
        only callers inside the mesh choose an address."""
        if self.destination.discovery == "original_dst":
            return caller is not None
        return bool(self.healthy) or self.destination.discovery == "dns"


class Considered(Struct, frozen=True):
    """A route that was looked at, and why it was not taken; the reason is empty for the taken."""

    route: str
    source: str
    reason: str = ""


class Explanation(Struct, frozen=True):
    """What happens to a request, and why."""

    outcome: Outcome
    reason: str
    """One sentence."""
    met: Met | None = None
    """The connection; None when no listener takes it."""
    table: str = ""
    virtual_host: str = ""
    host_reason: str = ""
    considered: tuple[Considered, ...] = ()
    route: HttpRoute | None = None
    match: HttpMatch | None = None
    """The condition of the route that holds."""
    tcp: TcpRoute | None = None
    udp: UdpRoute | None = None
    effects: tuple[Effect, ...] = ()
    """What the route does to the request."""
    shares: tuple[Share, ...] = ()
    status: int = 0
    """Of an answer that no back end gives."""
    location: str = ""
    """Of a redirect."""
    verdict: Verdict = Verdict(True)
    """What the policies of a Gateway say."""
    hint: str = ""
    others: "Explanation | None" = None
    """What happens to the rest, when the route takes some of the requests by chance."""


class _Walk(Struct, frozen=True):
    """What does not change on the way."""

    model: MeshModel
    request: Request
    caller: Workload | None
    """None for callers from outside."""
    access: tuple[AccessPolicy, ...] = ()
    """Of the route table: they hold for requests that have a route."""


def explain_from_workload(model: MeshModel, caller: Workload, request: Request) -> Explanation:
    """A call of a workload of the mesh."""
    met = connections.from_workload(model, caller, request)
    return _met(_Walk(model, request, caller), met)


def explain_from_gateway(
    model: MeshModel, listener: GatewayListener, request: Request
) -> Explanation:
    """A request from outside, to a port of a Gateway."""
    return _met(_Walk(model, request, None), connections.from_outside(listener, request))


def _met(walk: _Walk, met: Met) -> Explanation:
    if met.outcome in ("closed", "passed through"):
        outcome: Outcome = "closed" if met.outcome == "closed" else "passed through"
        return Explanation(outcome, met.reason, met)
    if met.route is not None:
        parts = met.route.destinations
        return _connection(walk, Explanation("routed", "", met, tcp=met.route), parts)
    if met.datagrams is not None:
        target = met.datagrams.destination
        parts = (WeightedDestination(target),)
        return _connection(walk, Explanation("routed", "", met, udp=met.datagrams), parts)
    path = normalised(walk.request.path)
    return _http(replace(walk, request=replace(walk.request, path=path)), met)


def _connection(
    walk: _Walk, so_far: Explanation, parts: tuple[WeightedDestination, ...]
) -> Explanation:
    """Bytes, or datagrams: policies hold before the first of them."""
    shares = tuple(
        replace(share, verdicts=_of_bytes(walk.caller, share))
        for share in _shares(walk.model, parts)
    )
    route = so_far.tcp or so_far.udp
    what = "the connection" if so_far.tcp is not None else "the datagrams"
    reason = f"{route.source if route is not None else ''} takes {what}"
    so_far = replace(so_far, reason=reason, shares=shares)
    if shares and all(share.denied for share in shares):
        return replace(so_far, outcome="denied", reason=shares[0].denied)
    total = sum(part.weight for part in parts)
    lost = sum(part.weight for part in parts if part.destination == NOWHERE)
    if lost:
        text = f"{100 * lost / total:.3g} %, whose back end does not exist"
        so_far = replace(so_far, effects=(Effect("closed", text),))
    if any(share.serves(walk.caller) for share in shares):
        return so_far
    return replace(so_far, outcome="unavailable", reason=_no_endpoint(shares))


def _of_bytes(caller: Workload | None, share: Share) -> tuple[tuple[str, Verdict], ...]:
    if caller is None or share.destination.name not in caller.denied:
        return ()
    names = dict.fromkeys(p.name for group in share.destination.access for p in group.policies)
    verdict = Verdict(False, f"AuthorizationPolicy {', '.join(names)} does not let the caller in")
    return tuple((e.address, verdict) for e in share.healthy)


def _http(walk: _Walk, met: Met) -> Explanation:
    model, request = walk.model, walk.request
    table = next((t for t in model.route_tables if t.name == met.table), None)
    if table is None:
        return Explanation("closed", f"there is no route table `{met.table}`", met)
    so_far = Explanation("not found", "", met, table.name)
    found = virtual_hosts.find(model, table, request)
    if found is None:
        near = virtual_hosts.likely(table, request)
        reason = f"table `{table.name}` has no host `{request.authority}`"
        hint = f"did you mean `{near}`?" if near else ""
        if table.passthrough and table.unknown.mode == "refuse" and not table.unknown.proxy:
            reason = f"{reason}, and the caller may reach nothing else"
            return replace(so_far, reason=reason, hint=hint, status=REFUSED)
        if table.passthrough:
            return replace(so_far, outcome="passed through", reason=reason, hint=hint)
        return replace(so_far, reason=reason, hint=hint, status=NOT_FOUND)
    so_far = replace(so_far, host_reason=found.reason)
    if found.https or found.host is None:
        return replace(
            so_far,
            outcome="redirected",
            reason="the Gateway redirects all requests for the host to HTTPS",
            virtual_host=found.host.name if found.host is not None else "https-redirect",
            status=301,
            location=f"https://{request.authority}{request.path}",
        )
    walk = replace(walk, access=table.access)
    return _routed(walk, replace(so_far, virtual_host=found.host.name), found.host.routes)


def _routed(walk: _Walk, so_far: Explanation, routes: Sequence[HttpRoute]) -> Explanation:
    considered: list[Considered] = []
    for number, route in enumerate(routes):
        reasons = []
        for match in route.matches:
            reason = mismatch(match, walk.request, walk.caller)
            if not reason:
                others = None
                if match.percent < ALL_PERCENT:
                    others = _routed(walk, so_far, routes[number + 1 :])
                considered.append(Considered(route.name, route.source))
                so_far = replace(so_far, considered=tuple(considered), route=route, match=match)
                return replace(_taken(walk, so_far, route, match), others=others)
            reasons.append(reason)
        considered.append(Considered(route.name, route.source, "; ".join(dict.fromkeys(reasons))))
    reason = f"no route of `{so_far.virtual_host}` matches"
    return replace(so_far, reason=reason, considered=tuple(considered), status=NOT_FOUND)


def _taken(walk: _Walk, so_far: Explanation, route: HttpRoute, match: HttpMatch) -> Explanation:
    request = walk.request
    effects = tuple(route_effects(route, match, request, walk.caller))
    reason = f"route `{route.name}` of {route.source} matches"
    so_far = replace(so_far, effects=effects, reason=reason)
    if walk.access:
        verdict = judge(walk.access, arrival(walk, None))
        so_far = replace(so_far, verdict=verdict)
        if verdict.allowed is False:
            return replace(so_far, outcome="denied", reason=verdict.reason, status=FORBIDDEN)
    if (answer := _answer(route, match, request, so_far)) is not None:
        return answer
    shares = tuple(
        _judged(walk, replace(share, sent=sent(request, route, match, share.part)))
        for share in _shares(walk.model, route.destinations)
    )
    so_far = replace(so_far, shares=shares)
    if shares and all(share.denied for share in shares):
        return replace(so_far, outcome="denied", reason=shares[0].denied, status=FORBIDDEN)
    if any(share.serves(walk.caller) for share in shares):
        return replace(so_far, outcome="routed")
    return replace(so_far, outcome="unavailable", reason=_no_endpoint(shares), status=NO_ENDPOINT)


def _judged(walk: _Walk, share: Share) -> Share:
    """With what the policies of each endpoint say."""
    access = share.destination.access
    if not access:
        return share
    verdicts = tuple(
        (e.address, judge(policies_for(access, e.address, e.port), arrival(walk, share.sent, e)))
        for e in share.healthy
    )
    return replace(share, verdicts=verdicts)


def arrival(walk: _Walk, seen: Sent | None, endpoint: Endpoint | None = None) -> Arrival:
    """The request as policies see it: at an endpoint, or in front of the routes."""
    request, caller = walk.request, walk.caller
    gateway = f"spiffe://{walk.model.trust_domain}/{GATEWAY_ACCOUNT}"
    headers = {n.lower(): v for n, v in request.headers.items()}
    return Arrival(
        principal=caller.principal if caller is not None else gateway,
        source=caller.address if caller is not None else "",
        host=seen.host if seen is not None else request.authority,
        method=request.method,
        path=seen.path if seen is not None else request.path,
        headers=seen.headers if seen is not None else headers,
        address=endpoint.address if endpoint is not None else "",
        port=endpoint.port if endpoint is not None else 0,
    )


def _answer(
    route: HttpRoute, match: HttpMatch, request: Request, so_far: Explanation
) -> Explanation | None:
    """What the proxy itself answers; None when a back end does."""
    reason, fault = so_far.reason, route.fault
    if preflight_answered(route, request):
        reason = f"{reason}; the proxy answers preflights"
        return replace(so_far, outcome="answered", reason=reason, status=200)
    if fault is not None and fault.abort_status and fault.abort_percent >= ALL_PERCENT:
        reason = f"{reason} and aborts every request"
        return replace(so_far, outcome="answered", reason=reason, status=fault.abort_status)
    if route.redirect is not None:
        to, code = location(route.redirect, request, match), route.redirect.code
        return replace(so_far, outcome="redirected", status=code, location=to)
    if route.direct_response is not None:
        if body := route.direct_response.body.strip():
            reason = f"{reason} and answers: {body}"
        status = route.direct_response.status
        return replace(so_far, outcome="answered", reason=reason, status=status)
    return None


def _no_endpoint(shares: tuple[Share, ...]) -> str:
    names = ", ".join(dict.fromkeys(s.destination.host for s in shares))
    return f"no endpoint of {names} is ready" if names else "the route has no destination"


def _shares(model: MeshModel, parts: tuple[WeightedDestination, ...]) -> Iterable[Share]:
    known = {d.name: d for d in model.destinations}
    total = sum(part.weight for part in parts) or 1
    for part in parts:
        destination = known.get(part.destination)
        if destination is not None and part.weight:
            healthy = [e for e in destination.endpoints if e.health == "HEALTHY"]
            first = min((e.fallback for e in healthy), default=0)
            yield Share(
                destination,
                100 * part.weight / total,
                tuple(e for e in healthy if e.fallback == first),
                tuple(e for e in destination.endpoints if e.health == "DRAINING"),
                part=part,
            )

"""The walk itself: connection, virtual host, route, and what the route does."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from weft.mesh.explain import connections, virtual_hosts
from weft.mesh.explain.access import (
    Arrival,
    Verdict,
    judge,
    judge_connection,
    judge_inbound,
    policies_for,
)
from weft.mesh.explain.callers import Origin
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
    ServiceListener,
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
WITHIN_THE_PROXY = "::"
"""Of callers at egress gateways: who they are is known there, their address is not, and blocks of
addresses in policies do not have them."""
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
    onward: "Explanation | None" = None
    """What an egress gateway does with it."""

    @property
    def denied(self) -> str:
        """Why no endpoint lets the request in; empty when one may."""
        found = [verdict for _, verdict in self.verdicts]
        return found[0].reason if found and all(v.allowed is False for v in found) else ""

    @property
    def status(self) -> int:
        """Of the refusal, where the caller is answered at all."""
        return FORBIDDEN if self.sent is not None else 0

    def serves(self, caller: Workload | None) -> bool:
        """Whether the proxy has an endpoint to try; names are resolved when the time comes, and
        only callers inside the mesh choose an address."""
        if self.destination.discovery == "original_dst":
            return caller is not None
        if self.onward is not None:
            return self.onward.outcome not in ("unavailable", "closed", "denied")
        return bool(self.healthy) or self.destination.discovery in (
            "dns",
            "logical_dns",
            "dynamic",
        )


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
    origin: Origin
    access: tuple[AccessPolicy, ...] = ()
    """Of the route table: they hold for requests that have a route."""
    at_gateway: bool = False
    """Egress gateways lead nowhere but out: no second one follows."""

    @property
    def caller(self) -> Workload | None:
        """None for callers from outside."""
        return self.origin.workload


def explain_from_workload(model: MeshModel, caller: Workload, request: Request) -> Explanation:
    """A call of a workload of the mesh."""
    met = connections.from_workload(model, caller, request)
    origin = Origin(caller, caller.principal, caller.address, caller.node)
    return _met(_Walk(model, request, origin), met)


def explain_from_gateway(
    model: MeshModel, listener: GatewayListener, request: Request, source: str = "", node: str = ""
) -> Explanation:
    """A request from outside, from the address `source` ("": unknown), to a port of a Gateway on
    a node ("": any)."""
    gateway = f"spiffe://{model.trust_domain}/{GATEWAY_ACCOUNT}"
    origin = Origin(None, gateway, source, node)
    return _met(_Walk(model, request, origin), connections.from_outside(listener, request))


def explain_to_service(
    model: MeshModel, listener: ServiceListener, request: Request, source: str = "", node: str = ""
) -> Explanation:
    """A request from outside to a port of a node for a Service or pod: nobody knows who calls."""
    met = connections.to_service(listener, request, source)
    return _met(_Walk(model, request, Origin(None, "", source, node)), met)


def _met(walk: _Walk, met: Met) -> Explanation:
    if met.outcome in ("closed", "passed through"):
        outcome: Outcome = "closed" if met.outcome == "closed" else "passed through"
        return _past_the_door(walk, Explanation(outcome, met.reason, met), by_bytes=True)
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
    shares = tuple(_shares(walk, parts, _connected))
    route = so_far.tcp or so_far.udp
    what = "the connection" if so_far.tcp is not None else "the datagrams"
    reason = f"{route.source if route is not None else ''} takes {what}"
    so_far = replace(so_far, reason=reason, shares=shares)
    if shares and all(share.denied for share in shares):
        refused = shares[0]
        return replace(so_far, outcome="denied", reason=refused.denied, status=refused.status)
    total = sum(part.weight for part in parts)
    lost = sum(part.weight for part in parts if part.destination in (NOWHERE, ""))
    tunnels = {s.destination.tunnel for s in shares if s.percent} | ({None} if lost else set())
    if len(tunnels) > 1:
        reason = "its shares have different tunnels: bytes for one target must not get to another"
        return replace(so_far, outcome="closed", reason=reason)
    if lost:
        why = "whose back end does not exist"
        if by := next((part.closed_by for part in parts if part.closed_by), ""):
            why = (
                f"whose back end wants an identity of its callers (PeerAuthentication {by}, STRICT)"
            )
        elif walk.caller is None and so_far.udp is not None:
            why += ", or wants an identity of its callers (PeerAuthentication STRICT)"
        text = f"{100 * lost / total:.3g} %, {why}"
        so_far = replace(so_far, effects=(Effect("closed", text),))
    if any(share.serves(walk.caller) for share in shares):
        return so_far
    if lost and not shares:
        return replace(so_far, outcome="unavailable", reason=f"there is nobody to take it: {why}")
    ended = next((s.onward for s in shares if s.onward is not None), None)
    if ended is not None:
        return replace(so_far, outcome=ended.outcome, reason=ended.reason, status=ended.status)
    return replace(so_far, outcome="unavailable", reason=_no_endpoint(shares))


def _connected(walk: _Walk, share: Share) -> Share | None:
    """A share of a connection; one that nothing goes to is shown when policies are the reason."""
    verdict = Verdict(True)
    if share.destination.access:
        origin = walk.origin
        verdict = judge_connection(share.destination, origin.principal, _address(walk))
    denied = verdict.allowed is False
    if walk.caller is not None:
        denied = share.destination.name in walk.caller.denied
    if not share.part.weight and not denied:
        return None
    if verdict.reason and (denied or verdict.allowed):
        share = replace(share, verdicts=tuple((e.address, verdict) for e in share.healthy))
    elif share.destination.through_inbound:
        share = _at_the_pod(walk, share)
    if share.destination.discovery == "gateway":
        share = replace(share, onward=_onward(walk, share))
    return share


def _address(walk: _Walk) -> str:
    """The caller's address, as policies on bytes know it: of pods only."""
    return walk.origin.address if walk.caller is not None else ""


def _at_the_pod(walk: _Walk, share: Share) -> Share:
    """Calls that come to a pod's own listener: nobody knows there who makes them."""
    pods = {w.uid: w for w in walk.model.workloads}
    verdicts = []
    seen: Sent | None = None
    for endpoint in share.healthy:
        pod = pods.get(endpoint.pod_uid)
        if pod is None:
            continue
        seen, verdict = _at_the_door(walk, pod, endpoint)
        if verdict.reason:
            verdicts.append((endpoint.address, verdict))
    return replace(share, verdicts=tuple(verdicts), sent=seen)


def _at_the_door(walk: _Walk, pod: Workload, endpoint: Endpoint) -> tuple[Sent | None, Verdict]:
    """What the pod's own listener sees of the request, if it looks into it, and says."""
    looked_into = any(p.protocol in ("http", "http2", "grpc", "auto") for p in pod.inbound)
    seen = None
    if walk.request.speaks_http and looked_into:
        headers = {n.lower(): v for n, v in walk.request.headers.items()}
        seen = Sent(walk.request.authority, normalised(walk.request.path), headers)
    nobody = arrival(replace(walk, origin=Origin()), seen, endpoint)
    return seen, judge_inbound(pod, endpoint.port, nobody, seen is not None)


def _past_the_door(walk: _Walk, so_far: Explanation, *, by_bytes: bool) -> Explanation:
    """What the caller's proxy lets pass as it is, where it leads to a pod's own address: the pod
    judges it as somebody's whom nobody knows."""
    request = walk.request
    if so_far.outcome != "passed through" or walk.caller is None or request.scheme == "udp":
        return so_far
    address = request.target or request.host
    pods = (w for w in walk.model.workloads if w.address == address and not w.proxy_address)
    pod = next(pods, None)
    if pod is None:
        return so_far
    seen, verdict = _at_the_door(walk, pod, Endpoint(address, request.port))
    own = f"{address} is the own address of pod {pod.namespace}/{pod.name}, where a call has no"
    if verdict.allowed is not False:
        doubt = f"; {verdict.reason}" if verdict.allowed is None else ""
        return replace(so_far, reason=f"{so_far.reason}; {own} identity{doubt}")
    status = FORBIDDEN if seen is not None and not _closed(pod, request.port) else 0
    if not (status or by_bytes):
        status = NO_ENDPOINT  # the caller's proxy answers for the connection that it lost
    reason = f"{own} identity: {verdict.reason}"
    return replace(so_far, outcome="denied", reason=reason, status=status)


def _closed(pod: Workload, port: int) -> bool:
    """Whether connections to the port are ended before a request is read."""
    return next((d for d in pod.door.ports if d.port == port), pod.door).requests_closed


def _onward(walk: _Walk, share: Share) -> Explanation:
    """The second step of a call that goes through an egress gateway."""
    if walk.at_gateway:
        return Explanation("closed", "an egress gateway does not lead to another")
    request = walk.request
    if share.sent is not None:
        headers = {**share.sent.headers, "host": share.sent.host}
        request = replace(request, path=share.sent.path, headers=headers)
    met = connections.to_egress_gateway(walk.model, share.destination.port, request)
    origin = replace(walk.origin, workload=None, address=WITHIN_THE_PROXY)
    return _met(_Walk(walk.model, request, origin, at_gateway=True), met)


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
            passed = replace(so_far, outcome="passed through", reason=reason, hint=hint)
            return _past_the_door(walk, passed, by_bytes=False)
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
    so_far = replace(so_far, virtual_host=found.host.name)
    return _strict(_routed(walk, so_far, found.host.routes))


def _strict(found: Explanation) -> Explanation:
    """The refusal that stands in tables for callers from outside, in the words of its cause."""
    route = found.route
    if route is None or not route.closed_by:
        return found
    reason = f"{found.reason}, and what it leads to wants an identity of its callers "
    reason += (
        f"(PeerAuthentication {route.closed_by}, STRICT), which those from outside do not have"
    )
    return replace(found, outcome="denied", reason=reason)


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
    effects = tuple(route_effects(route, match, request, walk.origin))
    reason = f"route `{route.name}` of {route.source} matches"
    so_far = replace(so_far, effects=effects, reason=reason)
    if walk.access:
        verdict = judge(walk.access, arrival(walk, None))
        so_far = replace(so_far, verdict=verdict)
        if verdict.allowed is False:
            return replace(so_far, outcome="denied", reason=verdict.reason, status=FORBIDDEN)
    if (answer := _answer(route, match, request, so_far)) is not None:
        return answer

    def arriving(walk: _Walk, share: Share) -> Share | None:
        if not share.part.weight:
            return None
        return _judged(walk, replace(share, sent=sent(request, route, match, share.part)))

    shares = tuple(_shares(walk, route.destinations, arriving))
    so_far = replace(so_far, shares=shares)
    if shares and all(share.denied for share in shares):
        return replace(so_far, outcome="denied", reason=shares[0].denied, status=FORBIDDEN)
    if any(share.serves(walk.caller) for share in shares):
        return replace(so_far, outcome="routed")
    ended = next((s.onward for s in shares if s.onward is not None), None)
    if ended is not None:
        outcome, reason = ended.outcome, f"the egress gateway: {ended.reason}"
        return replace(so_far, outcome=outcome, reason=reason, status=ended.status)
    return replace(so_far, outcome="unavailable", reason=_no_endpoint(shares), status=NO_ENDPOINT)


def _judged(walk: _Walk, share: Share) -> Share:
    """With what the policies of each endpoint say."""
    access = share.destination.access
    if share.destination.discovery == "gateway":
        share = replace(share, onward=_onward(walk, share))
    if not access:
        return share
    verdicts = tuple(
        (e.address, judge(policies_for(access, e.address, e.port), arrival(walk, share.sent, e)))
        for e in share.healthy
    )
    return replace(share, verdicts=verdicts)


def arrival(walk: _Walk, seen: Sent | None, endpoint: Endpoint | None = None) -> Arrival:
    """The request as policies see it: at an endpoint, or in front of the routes."""
    request, origin = walk.request, walk.origin
    headers = {n.lower(): v for n, v in request.headers.items()}
    return Arrival(
        principal=origin.principal,
        source=origin.address,
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


def _shares(
    walk: _Walk,
    parts: tuple[WeightedDestination, ...],
    completed: Callable[[_Walk, Share], Share | None],
) -> Iterable[Share]:
    known = {d.name: d for d in walk.model.destinations}
    total = sum(part.weight for part in parts) or 1
    for part in parts:
        destination = known.get(part.destination)
        if destination is None:
            continue
        if destination.node_local and walk.origin.node:
            own = tuple(e for e in destination.endpoints if e.node == walk.origin.node)
            destination = replace(destination, endpoints=own)
        healthy = [e for e in destination.endpoints if e.health == "HEALTHY"]
        first = min((e.fallback for e in healthy), default=0)
        share = completed(
            walk,
            Share(
                destination,
                100 * part.weight / total,
                tuple(e for e in healthy if e.fallback == first),
                tuple(e for e in destination.endpoints if e.health == "DRAINING"),
                part=part,
            ),
        )
        if share is not None:
            yield share

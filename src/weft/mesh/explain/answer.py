"""An explanation as a document: for people by `weft.views.why`, for programs as JSON."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.mesh.caller_limits import caller_of, own_name, per_caller
from weft.mesh.explain.callers import NoCaller, Outside, Pods, find_caller
from weft.mesh.explain.effects import Effect, destination_effects, header_effects
from weft.mesh.explain.openings import Opening, meet, openings, outside_address
from weft.mesh.explain.places import Place, Places
from weft.mesh.explain.request import Request
from weft.mesh.explain.transport import travels
from weft.mesh.explain.walk import (
    Considered,
    Explanation,
    Share,
    explain_from_gateway,
    explain_from_workload,
    explain_to_service,
)
from weft.mesh.model import (
    GATEWAY_ACCOUNT,
    Destination,
    Endpoint,
    GatewayServer,
    MeshModel,
    NodeSettings,
    Workload,
)

PODS_SHOWN_MAX = 5
Resolve = Callable[[str, str], str]
"""(host, caller's namespace) -> the address that DNS gives; "" when the mesh has none."""
Health = Mapping[tuple[str, str], str]
"""(cluster, `address:port`) -> what Envoy says of an endpoint, in words."""
ResourceNames = tuple[tuple[str, str], ...]
"""(type in people's words, name)."""


class Candidate(Struct, frozen=True, rename="camel"):
    """A route that was looked at."""

    route: str
    taken: bool
    reason: str
    """Why it was not taken."""
    place: Place


class EndpointRow(Struct, frozen=True, rename="camel", omit_defaults=True):
    """An endpoint of a destination."""

    address: str
    weight: int
    health: str
    """As the objects say."""
    envoy: str = ""
    """As the proxy says, when it was asked."""
    pod: str = ""
    node: str = ""
    locality: str = ""
    access: str = ""
    """What policies say about this request to it; empty when there are none."""
    travels: str = ""
    """How the call gets there, where there are several nodes."""
    takes_over: int = 0
    """Above 0: for those with lower numbers, when they are unhealthy."""


class ShareRow(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A part of the traffic and where it goes."""

    cluster: str
    host: str
    port: int
    percent: float
    protocol: str
    subset: str = ""
    places: tuple[Place, ...] = ()
    arrives_as: str = ""
    """The request as an endpoint gets it."""
    effects: tuple[Effect, ...] = ()
    endpoints: tuple[EndpointRow, ...] = ()
    onward: "Onward | None" = None


class NodeRow(Struct, frozen=True, rename="camel", omit_defaults=True):
    """How far a node's proxy has what the answer rests on."""

    node: str
    state: str
    """acknowledged, pending, refused or disconnected."""
    details: tuple[str, ...] = ()


class Onward(Struct, frozen=True, rename="camel", omit_defaults=True):
    """What an egress gateway does with a share."""

    outcome: str
    summary: str
    status: int = 0
    steps: tuple[Effect, ...] = ()
    considered: tuple[Candidate, ...] = ()
    effects: tuple[Effect, ...] = ()
    shares: tuple[ShareRow, ...] = ()


class Answer(Struct, frozen=True, rename="camel", omit_defaults=True):
    """What happens to a request, and why."""

    request: str
    caller: str
    outcome: str
    summary: str
    status: int = 0
    location: str = ""
    steps: tuple[Effect, ...] = ()
    considered: tuple[Candidate, ...] = ()
    effects: tuple[Effect, ...] = ()
    shares: tuple[ShareRow, ...] = ()
    nodes: tuple[NodeRow, ...] = ()
    hint: str = ""


class Question(Struct, frozen=True):
    """Who calls, where that is looked for, and the request."""

    caller: str
    namespace: str
    request: Request


class Explained(Struct, frozen=True):
    """An answer, the nodes it holds for, and the proxy's resources that it rests on."""

    answer: Answer
    nodes: tuple[str, ...]
    resources: ResourceNames


class _Facts(Struct, frozen=True):
    """What the rows of an answer are made from besides the walk."""

    request: Request
    places: Places
    pods: Mapping[str, str]
    """Names by uid."""
    health: Health
    caller: str
    """`namespace/workload`; empty for callers from outside."""
    callers: tuple[str, ...] = ()
    """The nodes that they call from; empty is any."""
    nodes: Mapping[str, str] = {}
    identity: str = ""
    """Of the caller."""

    def cluster(self, destination: Destination) -> str:
        """The proxy's name of a destination: one with limits is there once for each caller."""
        if self.caller and per_caller(destination.pool):
            return own_name(destination.name, self.caller)
        return destination.name


class _Asked(Struct, frozen=True):
    """The walk of a question, and who was found to call."""

    found: Explanation
    request: Request
    shown: str
    """Who calls, in words."""
    who: str = ""
    """`namespace/workload`; empty for callers from outside."""
    identity: str = ""
    nodes: tuple[str, ...] = ()
    """From which it calls; empty is any."""


def explain(
    model: MeshModel,
    places: Places,
    question: Question,
    resolve: Resolve,
    health: Health | None = None,
    *,
    nodes: Sequence[NodeSettings] = (),
) -> Explained | NoCaller:
    """The answer, or who is not there. `nodes`: where they listen for callers from outside."""
    asked = _asked(model, question, resolve, nodes)
    if isinstance(asked, NoCaller):
        return asked
    facts = _Facts(
        asked.request,
        places,
        {w.uid: w.name for w in model.workloads},
        health or {},
        asked.who,
        asked.nodes,
        dict(model.nodes),
        asked.identity,
    )
    answer = _answer(asked.found, facts, asked.shown)
    return Explained(answer, asked.nodes, tuple(_resources(asked.found, facts)))


def _asked(
    model: MeshModel, question: Question, resolve: Resolve, nodes: Sequence[NodeSettings]
) -> _Asked | NoCaller:
    request, source = question.request, outside_address(question.caller)
    if source is not None:
        pod = next((w for w in model.workloads if source and w.address == source), None)
        if pod is not None:
            return _from_pods(model, Pods((pod,)), request, resolve)
        met = meet(openings(model, nodes), request)
        return met if isinstance(met, NoCaller) else _from_outside(model, met, request, source)
    caller = find_caller(model, question.caller, question.namespace, request)
    if isinstance(caller, Pods):
        return _from_pods(model, caller, request, resolve)
    if isinstance(caller, NoCaller):
        return caller
    found = explain_from_gateway(model, caller.listener, request)
    identity = f"spiffe://{model.trust_domain}/{GATEWAY_ACCOUNT}"
    return _Asked(found, request, _outside_text(caller), identity=identity)


def _from_pods(model: MeshModel, caller: Pods, request: Request, resolve: Resolve) -> _Asked:
    first: Workload = caller.workloads[0]
    request = replace(request, address=resolve(request.host, first.namespace))
    found = explain_from_workload(model, first, request)
    nodes = tuple(sorted({w.node for w in caller.workloads}))
    shown, who = _pods_text(caller), caller_of(first)
    return _Asked(found, request, shown, who, first.principal, nodes)


def _from_outside(
    model: MeshModel, met: tuple[Opening, ...], request: Request, source: str
) -> _Asked:
    first, identity = met[0], ""
    nodes = tuple(sorted({each.node for each in met}))
    node = nodes[0] if len(nodes) == 1 else ""
    request = replace(request, address=first.address)
    if first.gateway is not None:
        found = explain_from_gateway(model, first.gateway, request, source, node)
        identity = f"spiffe://{model.trust_domain}/{GATEWAY_ACCOUNT}"
    elif first.service is not None:
        own = replace(model, route_tables=(*model.route_tables, *first.tables))
        found = explain_to_service(own, first.service, request, source, node)
    where = f"{first.place} on {', '.join(nodes)}: {first.what}"
    return _Asked(found, request, f"{source or 'somebody'} outside the mesh, at {where}",
                  identity=identity, nodes=nodes)  # fmt: skip


def _answer(found: Explanation, facts: _Facts, caller: str) -> Answer:
    ways = [found] if found.others is None else [found, found.others]
    return Answer(
        request=facts.request.text,
        caller=caller,
        outcome=found.outcome,
        summary=_summary(found),
        status=found.status,
        location=found.location,
        steps=tuple(_steps(found, facts.request, caller)),
        considered=tuple(_candidate(c, facts.places) for each in ways for c in each.considered),
        effects=found.effects,
        shares=tuple(_share(s, facts) for each in ways for s in each.shares),
        hint=_hint(found, facts.request),
    )


def _hint(found: Explanation, request: Request) -> str:
    if found.outcome != "passed through" or request.target:
        return found.hint
    unknown = f"there is no `{request.host}` in the cluster's DNS"
    return f"{unknown}; {found.hint}" if found.hint else unknown


def _pods_text(caller: Pods) -> str:
    first, count = caller.workloads[0], len(caller.workloads)
    who = first.workload or first.name
    pods = f"pod {first.name}" if count == 1 else f"{count} pods"
    nodes = ", ".join(sorted({w.node for w in caller.workloads}))
    return f"{first.namespace}/{who}, {pods} on {nodes}, as {first.principal}"


def _outside_text(caller: Outside) -> str:
    gateway = f"Gateway {caller.gateway}" if caller.gateway else "Gateways"
    return f"outside of the mesh, at port {caller.listener.port} of {gateway}"


def _summary(found: Explanation) -> str:
    if found.others is not None and found.match is not None:
        some, others = _summary(replace(found, others=None)), _summary(found.others)
        return f"{some} for {found.match.percent:.3g} % of the requests; else it {others}"
    if found.outcome == "routed":
        parts = [
            f"{_target(s)}" + (f" ({s.percent:.3g} %)" if len(found.shares) > 1 else "")
            for s in found.shares
        ]
        return f"goes to {' or '.join(parts)}"
    if found.outcome == "redirected":
        return f"is redirected ({found.status}) to {found.location}: {found.reason}"
    if found.outcome == "answered":
        return f"is answered {found.status} by the proxy: {found.reason}"
    if found.outcome == "not found":
        return f"is answered {found.status}: {found.reason}"
    if found.outcome in ("unavailable", "denied"):
        what = f"is answered {found.status}" if found.status else "is closed"
        return f"{what}: {found.reason}"
    if found.outcome == "passed through":
        return f"passes through as it is: {found.reason}"
    return f"is closed: {found.reason}"


def _target(share: Share) -> str:
    destination = share.destination
    subset = f" subset {destination.subset}" if destination.subset else ""
    text = f"{destination.host} port {destination.port}{subset}"
    if share.onward is not None and share.onward.outcome == "routed":
        text += f", from there to {' or '.join(_target(each) for each in share.onward.shares)}"
    return text


def _steps(found: Explanation, request: Request, caller: str) -> Iterable[Effect]:
    if caller:
        yield Effect("caller", caller)
    if caller and request.address and request.address != request.host:
        yield Effect("address", f"`{request.host}` is {request.address}")
    if found.met is not None:
        listener = f"listener `{found.met.listener}`: " if found.met.listener else ""
        yield Effect("connection", f"{listener}{found.met.reason}")
        if found.met.server is not None:
            yield from _server(found.met.server)
    if found.verdict.reason:
        yield Effect("policies", found.verdict.reason)
    if found.host_reason:
        yield Effect("host", f"{found.host_reason}; virtual host `{found.virtual_host}`")


def _server(server: GatewayServer) -> Iterable[Effect]:
    """What a Gateway server does before any request is read."""
    if server.tls is None:
        return
    certificate = server.tls.secret or server.tls.certificate_file
    named = "the gateway's own certificate" if server.tls.mesh else f"certificate `{certificate}`"
    text = f"ends here, with {named}"
    if server.tls.clients is not None:
        must = "must" if server.tls.clients.required else "may"
        text += f"; clients {must} show one"
    yield Effect("tls", text + ("; HTTP/3 is offered" if server.http3 else ""))


def _candidate(considered: Considered, places: Places) -> Candidate:
    return Candidate(
        considered.route,
        not considered.reason,
        considered.reason,
        places.of_route(considered.source, considered.route),
    )


def _share(share: Share, facts: _Facts) -> ShareRow:
    destination = share.destination
    arrives = ""
    if share.sent is not None:
        arrives = f"{facts.request.method} {share.sent.path}, Host {share.sent.host}"
    own = (
        *header_effects("request headers", share.part.request_headers),
        *header_effects("answer headers", share.part.response_headers),
    )
    return ShareRow(
        cluster=facts.cluster(destination),
        host=destination.host,
        port=destination.port,
        percent=share.percent,
        protocol=destination.protocol,
        subset=destination.subset,
        places=facts.places.of_objects(destination.source),
        arrives_as=arrives,
        effects=(
            *own,
            *destination_effects(destination, requests=share.sent is not None),
            *_unready(destination, facts),
        ),
        endpoints=tuple(_endpoint(e, share, facts) for e in destination.endpoints),
        onward=_onward(share.onward, facts) if share.onward is not None else None,
    )


def _onward(found: Explanation, facts: _Facts) -> Onward:
    ways = [found] if found.others is None else [found, found.others]
    return Onward(
        outcome=found.outcome,
        summary=_summary(found),
        status=found.status,
        steps=tuple(_steps(found, facts.request, "")),
        considered=tuple(_candidate(c, facts.places) for each in ways for c in each.considered),
        effects=found.effects,
        shares=tuple(_share(s, facts) for each in ways for s in each.shares),
    )


def _unready(destination: Destination, facts: _Facts) -> Iterable[Effect]:
    """Who might have answered, where nobody does."""
    if any(e.health == "HEALTHY" for e in destination.endpoints):
        return
    found = facts.places.unready(destination.service, destination.namespace)
    if found:
        shown = ", ".join(found[:PODS_SHOWN_MAX])
        more = f" and {len(found) - PODS_SHOWN_MAX} more" if len(found) > PODS_SHOWN_MAX else ""
        yield Effect("not ready", f"{shown}{more}; `weft describe pod/{found[0]}` says why")


def _endpoint(endpoint: Endpoint, share: Share, facts: _Facts) -> EndpointRow:
    address = f"{endpoint.address}:{endpoint.port}"
    verdict = dict(share.verdicts).get(endpoint.address)
    return EndpointRow(
        address=address,
        weight=endpoint.weight,
        health=endpoint.health.lower(),
        envoy=facts.health.get((facts.cluster(share.destination), address), ""),
        pod=facts.pods.get(endpoint.pod_uid, endpoint.workload),
        node=endpoint.node,
        locality=endpoint.locality,
        access=verdict.reason if verdict is not None else "",
        travels=travels(endpoint, share.destination, facts.callers, facts.nodes, facts.identity),
        takes_over=endpoint.fallback,
    )


def _resources(found: Explanation, facts: _Facts) -> Iterable[tuple[str, str]]:
    if found.met is not None and found.met.listener:
        yield "listeners", found.met.listener
    if found.table:
        yield "routes", found.table
    for share in (*found.shares, *(found.others.shares if found.others else ())):
        cluster = facts.cluster(share.destination)
        yield "clusters", cluster
        if share.destination.discovery == "endpoints":
            yield "endpoints", cluster
        if share.onward is not None:
            yield from _resources(share.onward, facts)

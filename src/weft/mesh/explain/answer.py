"""An explanation as a document: for people by `weft.views.why`, for programs as JSON."""

from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from weft.mesh.explain.callers import NoCaller, Outside, Pods, find_caller
from weft.mesh.explain.effects import Effect, destination_effects, header_effects
from weft.mesh.explain.places import Place, Places
from weft.mesh.explain.request import Request
from weft.mesh.explain.walk import (
    Considered,
    Explanation,
    Share,
    explain_from_gateway,
    explain_from_workload,
)
from weft.mesh.model import Endpoint, MeshModel

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


class NodeRow(Struct, frozen=True, rename="camel", omit_defaults=True):
    """How far a node's proxy has what the answer rests on."""

    node: str
    state: str
    """acknowledged, pending, refused or disconnected."""
    details: tuple[str, ...] = ()


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


def explain(
    model: MeshModel,
    places: Places,
    question: Question,
    resolve: Resolve,
    health: Health | None = None,
) -> Explained | NoCaller:
    """The answer, or who is not there."""
    request = question.request
    caller = find_caller(model, question.caller, question.namespace, request.port)
    if isinstance(caller, NoCaller):
        return caller
    if isinstance(caller, Outside):
        found = explain_from_gateway(model, caller.port, request)
        shown = _outside_text(caller)
        nodes: tuple[str, ...] = ()
    else:
        first = caller.workloads[0]
        request = replace(request, address=resolve(request.host, first.namespace))
        found = explain_from_workload(model, first, request)
        shown = _pods_text(caller)
        nodes = tuple(sorted({w.node for w in caller.workloads}))
    pods = {w.uid: w.name for w in model.workloads}
    ways = [found] if found.others is None else [found, found.others]
    answer = Answer(
        request=request.text,
        caller=shown,
        outcome=found.outcome,
        summary=_summary(found),
        status=found.status,
        location=found.location,
        steps=tuple(_steps(found, request, shown)),
        considered=tuple(_candidate(c, places) for each in ways for c in each.considered),
        effects=found.effects,
        shares=tuple(
            _share(s, request, places, pods, health or {}) for each in ways for s in each.shares
        ),
        hint=_hint(found, request),
    )
    return Explained(answer, nodes, tuple(_resources(found)))


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
    return f"outside of the mesh, at port {caller.port} of {gateway}"


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
    if found.outcome == "unavailable":
        what = f"is answered {found.status}" if found.status else "is closed"
        return f"{what}: {found.reason}"
    if found.outcome == "passed through":
        return f"passes to the address that the caller chose: {found.reason}"
    return f"is closed: {found.reason}"


def _target(share: Share) -> str:
    destination = share.destination
    subset = f" subset {destination.subset}" if destination.subset else ""
    return f"{destination.host} port {destination.port}{subset}"


def _steps(found: Explanation, request: Request, caller: str) -> Iterable[Effect]:
    yield Effect("caller", caller)
    if request.address and request.address != request.host:
        yield Effect("address", f"`{request.host}` is {request.address}")
    if found.met is not None:
        listener = f"listener `{found.met.listener}`: " if found.met.listener else ""
        yield Effect("connection", f"{listener}{found.met.reason}")
    if found.host_reason:
        yield Effect("host", f"{found.host_reason}; virtual host `{found.virtual_host}`")


def _candidate(considered: Considered, places: Places) -> Candidate:
    return Candidate(
        considered.route,
        not considered.reason,
        considered.reason,
        places.of_route(considered.source, considered.route),
    )


def _share(
    share: Share, request: Request, places: Places, pods: Mapping[str, str], health: Health
) -> ShareRow:
    destination = share.destination
    arrives = ""
    if share.sent is not None:
        arrives = f"{request.method} {share.sent.path}, Host {share.sent.host}"
    own = (
        *header_effects("request headers", share.part.request_headers),
        *header_effects("answer headers", share.part.response_headers),
    )
    return ShareRow(
        cluster=destination.name,
        host=destination.host,
        port=destination.port,
        percent=share.percent,
        protocol=destination.protocol,
        subset=destination.subset,
        places=places.of_objects(destination.source),
        arrives_as=arrives,
        effects=(*own, *destination_effects(destination)),
        endpoints=tuple(
            _endpoint(e, destination.name, pods, health) for e in destination.endpoints
        ),
    )


def _endpoint(
    endpoint: Endpoint, cluster: str, pods: Mapping[str, str], health: Health
) -> EndpointRow:
    address = f"{endpoint.address}:{endpoint.port}"
    return EndpointRow(
        address=address,
        weight=endpoint.weight,
        health=endpoint.health.lower(),
        envoy=health.get((cluster, address), ""),
        pod=pods.get(endpoint.pod_uid, endpoint.workload),
        node=endpoint.node,
        locality=endpoint.locality,
    )


def _resources(found: Explanation) -> Iterable[tuple[str, str]]:
    if found.met is not None and found.met.listener:
        yield "listeners", found.met.listener
    if found.table:
        yield "routes", found.table
    for share in (*found.shares, *(found.others.shares if found.others else ())):
        yield "clusters", share.destination.name
        if share.destination.discovery == "endpoints":
            yield "endpoints", share.destination.name

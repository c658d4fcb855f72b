"""Why a request goes where it goes: the walk that the proxy makes, over the same model."""

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from weft.mesh.model import (
    Destination,
    Endpoint,
    HttpMatch,
    HttpRoute,
    MeshModel,
    NamedMatch,
    RouteTable,
    StringMatch,
    TcpRoute,
    VirtualHost,
    WeightedDestination,
    Workload,
)
from weft.mesh.names import covers, specificity

DEFAULT_PORTS = {"http": 80, "https": 443}
"""Ports that clients leave out of Host."""
Outcome = Literal["routed", "redirected", "answered", "passed through", "not found", "closed"]


class Request(Struct, frozen=True):
    """A request as its caller makes it."""

    host: str
    """Host header or address, without the port."""
    port: int = 80
    method: str = "GET"
    path: str = "/"
    """With the query, if any."""
    headers: Mapping[str, str] = {}
    scheme: str = "http"


class Share(Struct, frozen=True):
    """A part of the traffic and where it goes."""

    destination: Destination
    percent: float
    healthy: tuple[Endpoint, ...]
    """Endpoints that get new requests."""
    draining: tuple[Endpoint, ...] = ()


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
    steps: tuple[str, ...] = ()
    """What led there, in order."""
    table: str = ""
    virtual_host: str = ""
    considered: tuple[Considered, ...] = ()
    route: HttpRoute | None = None
    shares: tuple[Share, ...] = ()
    status: int = 0
    """Of an answer that no back end gives."""


def explain_from_workload(model: MeshModel, caller: Workload, request: Request) -> Explanation:
    """A call of a workload of the mesh."""
    steps = [f"the caller is {caller.namespace}/{caller.workload} ({caller.principal})"]
    own = set(caller.labels)
    for route in caller.tcp:
        if (
            own.issuperset(route.source_labels)
            and not route.http_table
            and _connection_matches(route, request)
        ):
            return _connection(model, route, steps)
    wanted = 0 if caller.proxy_address else request.port
    port = next((p for p in caller.outbound if p.port == wanted), None)
    if port is None:
        return Explanation(
            "passed through",
            f"no service speaks HTTP on port {request.port}",
            (*steps, "the connection goes to the address it was made to"),
        )
    table = next((t for t in model.route_tables if t.name == port.route_table), None)
    if table is None:
        return Explanation("closed", f"there is no route table `{port.route_table}`", tuple(steps))
    steps.append(f"port {request.port} is routed by table `{table.name}`")
    return _http(model, table, request, caller, steps)


def explain_from_gateway(model: MeshModel, gateway_port: int, request: Request) -> Explanation:
    """A request from outside, to a port of a Gateway."""
    listener = next((g for g in model.gateways if g.port == gateway_port), None)
    if listener is None:
        ports = ", ".join(str(g.port) for g in model.gateways) or "none"
        return Explanation(
            "closed", f"no Gateway in force has port {gateway_port} (open ports: {ports})"
        )
    servers = [s for s in listener.servers if any(covers(h, request.host) for h in s.hosts)]
    if not servers:
        return Explanation(
            "closed" if listener.protocol != "http" else "not found",
            f"no server of port {gateway_port} has host `{request.host}`",
            status=404 if listener.protocol == "http" else 0,
        )
    server = max(
        servers, key=lambda s: max(specificity(h) for h in s.hosts if covers(h, request.host))
    )
    steps = [f"gateway server {server.name} has the host"]
    if server.tcp is not None:
        return _connection(model, server.tcp, steps)
    table = next((t for t in model.route_tables if t.name == server.route_table), None)
    if table is None:
        return Explanation("closed", f"there is no route table `{server.route_table}`")
    return _http(model, table, request, None, steps)


def mismatch(match: HttpMatch, request: Request, caller: Workload | None) -> str:
    """Why a match does not hold for a request; empty when it does. A gateway's callers are None."""
    path, _, query = request.path.partition("?")
    if match.source_namespaces and (
        caller is None or caller.namespace not in match.source_namespaces
    ):
        return f"it is for callers of {', '.join(match.source_namespaces)}"
    labels = () if caller is None else caller.labels
    if missing := [f"{k}={v}" for k, v in match.source_labels if (k, v) not in labels]:
        return f"it is for callers with label {', '.join(missing)}"
    for label, wanted, value in (
        ("path", match.path, path),
        ("method", match.method, request.method),
        ("authority", match.authority, request.host),
        ("scheme", match.scheme, request.scheme),
    ):
        fold = match.ignore_path_case and label == "path"
        if wanted is not None and not _holds(wanted, value, fold):
            return f"{label} `{value}` is not {_text(wanted)}"
    if match.path_segments and match.path is not None:
        rest = path.removeprefix(match.path.value)
        if rest and not rest.startswith("/"):
            return f"path `{path}` is not `{match.path.value}` or below it"
    headers = {k.lower(): v for k, v in request.headers.items()}
    parameters = _query(query)
    for header in match.headers:
        if reason := _named_mismatch("header", header, headers):
            return reason
    for parameter in match.query:
        if reason := _named_mismatch("query parameter", parameter, parameters):
            return reason
    return ""


def _http(
    model: MeshModel, table: RouteTable, request: Request, caller: Workload | None, steps: list[str]
) -> Explanation:
    found = _virtual_host(table, request)
    if found is None:
        if table.passthrough:
            return Explanation(
                "passed through",
                f"table `{table.name}` has no host `{request.host}`",
                (*steps, "the request goes to the address it was made to"),
                table.name,
            )
        reason = f"table `{table.name}` has no host `{request.host}`"
        return Explanation("not found", reason, tuple(steps), table.name, status=404)
    host, why = found
    steps.append(f"{why} is virtual host `{host.name}`")
    considered: list[Considered] = []
    taken: HttpRoute | None = None
    for route in host.routes:
        reasons = [mismatch(m, request, caller) for m in route.matches]
        taken = route if "" in reasons else None
        reason = "" if taken else "; ".join(reasons)
        considered.append(Considered(route.name, route.source, reason))
        if taken:
            break
    so_far = Explanation(
        "not found",
        f"no route of `{host.name}` matches",
        tuple(steps),
        table.name,
        host.name,
        tuple(considered),
        status=404,
    )
    return _taken(model, taken, so_far, steps) if taken else so_far


def _taken(
    model: MeshModel, route: HttpRoute, so_far: Explanation, steps: list[str]
) -> Explanation:
    outcome: Outcome = "routed"
    status = 0
    reason = f"route `{route.name}` of {route.source} matches"
    if route.redirect is not None:
        outcome, status = "redirected", route.redirect.code
    elif route.direct_response is not None:
        outcome, status = "answered", route.direct_response.status
        if body := route.direct_response.body.strip():
            reason = f"{reason} and answers: {body}"
    return replace(
        so_far,
        outcome=outcome,
        reason=reason,
        steps=(*steps, *_effects(route)),
        route=route,
        shares=_shares(model, route.destinations),
        status=status,
    )


def _effects(route: HttpRoute) -> Iterable[str]:
    if route.fault is not None:
        fault = route.fault
        if fault.delay:
            yield f"{fault.delay_percent:g} % of requests are delayed by {fault.delay:g} s"
        if fault.abort_status:
            yield f"{fault.abort_percent:g} % of requests are answered {fault.abort_status}"
    if route.rewrite is not None:
        parts = (route.rewrite.prefix, route.rewrite.regex, route.rewrite.authority)
        yield f"path or host is rewritten: {', '.join(p for p in parts if p)}"
    if route.timeout:
        yield f"the request may take {route.timeout:g} s"
    if route.retry is not None and route.retry.attempts:
        words = (*route.retry.conditions, *map(str, route.retry.status_codes))
        yield f"it is tried again up to {route.retry.attempts} times on {', '.join(words)}"
    for mirror in route.mirrors:
        yield f"{mirror.percent:g} % of requests are copied to `{mirror.destination}`"


def _connection(model: MeshModel, route: TcpRoute, steps: list[str]) -> Explanation:
    return Explanation(
        "routed",
        f"{route.source} takes connections to port {route.port} as bytes",
        tuple(steps),
        shares=_shares(model, route.destinations),
    )


def _connection_matches(route: TcpRoute, request: Request) -> bool:
    if route.port != request.port:
        return False
    if route.sni_hosts:
        return any(covers(h, request.host) for h in route.sni_hosts)
    return request.host in route.addresses


def _shares(model: MeshModel, destinations: tuple[WeightedDestination, ...]) -> tuple[Share, ...]:
    known = {d.name: d for d in model.destinations}
    total = sum(d.weight for d in destinations) or 1
    return tuple(
        Share(
            found,
            100 * share.weight / total,
            tuple(e for e in found.endpoints if e.health == "HEALTHY"),
            tuple(e for e in found.endpoints if e.health == "DRAINING"),
        )
        for share in destinations
        if (found := known.get(share.destination)) is not None
    )


def _virtual_host(table: RouteTable, request: Request) -> tuple[VirtualHost, str] | None:
    """As the proxy looks it up: exact, then the longest wildcard, then by address."""
    host = request.host.lower()
    bare = table.ignore_port or request.port == DEFAULT_PORTS.get(request.scheme)
    name = host if bare else f"{host}:{request.port}"
    best: tuple[tuple[bool, int], VirtualHost, str] | None = None
    for virtual_host in table.virtual_hosts:
        for domain in virtual_host.domains:
            if covers(domain, name):
                rank = specificity(domain)
                if best is None or rank > best[0]:
                    best = (rank, virtual_host, domain)
    if best is not None:
        return best[1], f"domain `{best[2]}`"
    by_address = (v for v in table.virtual_hosts if host in v.addresses)
    owner = next(by_address, None)
    return (owner, f"address {host}") if owner is not None else None


def _holds(match: StringMatch, value: str, fold: bool = False) -> bool:
    wanted = match.value
    if fold and match.kind != "regex":
        wanted, value = wanted.lower(), value.lower()
    if match.kind == "exact":
        return value == wanted
    if match.kind == "prefix":
        return value.startswith(wanted)
    if match.kind == "present":
        return True
    return re.fullmatch(wanted, value) is not None


def _named_mismatch(label: str, wanted: NamedMatch, values: Mapping[str, str]) -> str:
    value = values.get(wanted.name)
    held = value is not None and _holds(wanted.match, value)
    if held != wanted.invert:
        return ""
    if wanted.invert:
        return f"{label} `{wanted.name}` is {_text(wanted.match)}, which it must not be"
    if value is None:
        return f"{label} `{wanted.name}` is absent"
    return f"{label} `{wanted.name}` is `{value}`, not {_text(wanted.match)}"


def _text(match: StringMatch) -> str:
    return "present" if match.kind == "present" else f"{match.kind} `{match.value}`"


def _query(query: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in query.split("&") if part)
    found: dict[str, str] = {}
    for key, _, value in pairs:
        found.setdefault(key, value)
    return found

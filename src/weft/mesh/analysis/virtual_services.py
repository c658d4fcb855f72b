"""VirtualServices beside Gateways, hosts and one another."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from weft.api.istio import networking_v1 as istio
from weft.mesh import findings as f
from weft.mesh.analysis import catalogue as c
from weft.mesh.analysis.matching import everything
from weft.mesh.analysis.world import Known, World, oldest_first
from weft.mesh.findings import Findings
from weft.mesh.istio_matches import MESH, applies, full_gateway
from weft.mesh.istio_routes import source
from weft.mesh.mesh_index import in_mesh
from weft.mesh.model import AppProtocol
from weft.mesh.names import covers, intersection
from weft.mesh.protocols import BYTES, HTTP

_Servers = Sequence[tuple[str, str]]
"""(namespace of the VirtualService or "", host pattern)."""
_L4 = istio.TLSRoute | istio.TCPRoute
_L4Match = istio.TLSMatchAttributes | istio.L4MatchAttributes
_RULES: tuple[tuple[str, frozenset[AppProtocol], str], ...] = (
    ("http", HTTP, "HTTP"),
    ("tls", frozenset({"tls", "auto"}), "TLS"),
    ("tcp", BYTES, "TCP"),
)


# --- gateways


def match_gateways(world: World, report: Findings) -> None:
    """Matches that name a gateway which the object itself is not bound to."""
    for obj in world.list(istio.VirtualService):
        if not obj.spec.hosts:
            continue  # a delegate: its gateways are those of who delegates
        own = set(obj.spec.gateways) or {MESH}
        for path, _, gateways in _conditions(obj):
            for name in gateways:
                if name not in own:
                    hint = f.suggest(name, own, "the object is bound to")
                    report.add(f.GATEWAY_UNKNOWN, obj, f"{path}.gateways", hint, gateway=name)


def hosts_at_gateways(world: World, report: Findings) -> None:
    """Hosts of which no gateway of the object knows."""
    for obj in world.list(istio.VirtualService):
        names = [n for n in obj.spec.gateways if n != MESH]
        found = [world.gateways.get(full_gateway(n, obj.metadata.namespace)) for n in names]
        gateways = [g for g in found if g is not None]
        if not gateways or len(gateways) < len(names):
            continue
        served = [pair for gateway in gateways for pair in _served(gateway)]
        missed = [i for i, host in enumerate(obj.spec.hosts) if not _serves(served, host, obj)]
        if len(missed) == len(obj.spec.hosts):
            continue  # reported as a whole
        for index in missed:
            host = obj.spec.hosts[index]
            if MESH in obj.spec.gateways and world.find(host, obj.metadata.namespace):
                continue  # meant for calls inside the mesh
            shown = f.quoted(dict.fromkeys(pattern for _, pattern in served))
            report.add(c.GATEWAY_HOST_MISSED, obj, f"spec.hosts[{index}]", host=host, served=shown)


def _served(gateway: istio.Gateway) -> Iterator[tuple[str, str]]:
    for server in gateway.spec.servers:
        for written in server.hosts:
            left, _, host = written.lower().rpartition("/")
            yield {".": gateway.metadata.namespace, "*": ""}.get(left, left), host


def _serves(served: _Servers, host: str, obj: istio.VirtualService) -> bool:
    own = obj.metadata.namespace
    return any(
        space in ("", own) and intersection(pattern, host.lower()) is not None
        for space, pattern in served
    )


def shadowed_at_gateways(world: World, report: Findings) -> None:
    """Objects behind an older one that answers everything for the same host and gateway."""
    taken: dict[tuple[str, str], istio.VirtualService] = {}
    for obj in oldest_first(world.list(istio.VirtualService)):
        for name in dict.fromkeys(obj.spec.gateways):
            gateway = full_gateway(name, obj.metadata.namespace)
            if name == MESH or gateway not in world.gateways:
                continue
            for index, host in enumerate(obj.spec.hosts):
                key = (gateway, host.lower())
                if (owner := taken.get(key)) is not None and obj.spec.http:
                    report.add(
                        c.SHADOWED_BY_OTHER,
                        obj,
                        f"spec.hosts[{index}]",
                        host=host,
                        gateway=gateway,
                        other=source(owner),
                    )
                elif _answers_everything(obj, gateway):
                    taken[key] = obj


def _answers_everything(obj: istio.VirtualService, gateway: str) -> bool:
    own = obj.metadata.namespace
    return any(
        not route.match or any(everything(m) or _only_here(m, own, gateway) for m in route.match)
        for route in obj.spec.http
    )


def _only_here(match: istio.HTTPMatchRequest, namespace: str, gateway: str) -> bool:
    """Whether a match asks for nothing but this gateway."""
    return applies(match.gateways, namespace, gateway) and everything(_without_gateways(match))


def _without_gateways(match: istio.HTTPMatchRequest) -> istio.HTTPMatchRequest:
    fields = {n: getattr(match, n) for n in match.__struct_fields__}
    return istio.HTTPMatchRequest(**(fields | {"gateways": ()}))


def bypassed_rules(world: World, report: Findings) -> None:
    """Routes of gateways to hosts whose subsets are chosen by rules that hold in the mesh only."""
    choosing = _choosing_subsets(world)
    if not choosing:
        return
    for obj in world.list(istio.VirtualService):
        if not obj.spec.gateways or MESH in obj.spec.gateways:
            continue
        for index, route in enumerate(obj.spec.http):
            for number, share in enumerate(route.route):
                target = share.destination
                if target is None or target.subset:
                    continue
                other = choosing.get(world.full(target.host, obj.metadata.namespace))
                if other is not None and other is not obj:
                    report.add(
                        c.MESH_RULES_BYPASSED,
                        obj,
                        f"spec.http[{index}].route[{number}].destination",
                        host=target.host,
                        other=source(other),
                    )


def _choosing_subsets(world: World) -> Mapping[str, istio.VirtualService]:
    """Hosts with rules for calls inside the mesh alone that name subsets."""
    found: dict[str, istio.VirtualService] = {}
    for obj in world.list(istio.VirtualService):
        if any(g != MESH for g in obj.spec.gateways):
            continue
        shares = (s for route in obj.spec.http for s in route.route)
        if any(s.destination is not None and s.destination.subset for s in shares):
            for host in obj.spec.hosts:
                found.setdefault(world.full(host, obj.metadata.namespace), obj)
    return found


# --- hosts


def destinations(world: World, report: Findings) -> None:
    """Destinations of rules that the build does not come to read, because the object is in force
    nowhere: all mistakes are told at once."""
    codes = {f.HOST_UNKNOWN.code, f.PORT_UNKNOWN.code, f.SUBSET_UNKNOWN.code}
    told = {(d.namespace, d.name, d.path) for d in world.built.diagnostics if d.code in codes}
    for obj in world.list(istio.VirtualService):
        own = Findings()
        for path, wanted in _destinations(obj):
            _destination(world, obj, path, wanted, own)
        meta = obj.metadata
        report.extend(d for d in own.all() if (meta.namespace, meta.name, d.path) not in told)


def _destination(
    world: World,
    obj: istio.VirtualService,
    path: str,
    wanted: istio.Destination,
    report: Findings,
) -> None:
    own = obj.metadata.namespace
    known = world.find(wanted.host, own)
    if known is None:
        hint = f.suggest_host(wanted.host, own, world.hosts)
        report.add(f.HOST_UNKNOWN, obj, f"{path}.host", hint, host=wanted.host)
        return
    number = wanted.port.number if wanted.port else None
    if number is not None and known.protocol(number) is None:
        ports = f.quoted(n for n, _ in known.ports) or "none"
        report.add(
            f.PORT_UNKNOWN, obj, f"{path}.port.number", host=known.host, port=number, ports=ports
        )
    names = world.subsets.get(world.full(wanted.host, own), frozenset())
    if wanted.subset and wanted.subset not in names:
        hint = f.suggest(wanted.subset, names, "there are")
        hint = hint or f"add a DestinationRule for `{known.host}` with this subset"
        report.add(
            f.SUBSET_UNKNOWN, obj, f"{path}.subset", hint, subset=wanted.subset, host=known.host
        )


def _destinations(obj: istio.VirtualService) -> Iterator[tuple[str, istio.Destination]]:
    for field in ("http", "tls", "tcp"):
        routes: Sequence[istio.HTTPRoute | _L4] = getattr(obj.spec, field)
        for index, route in enumerate(routes):
            shares: Sequence[istio.HTTPRouteDestination | istio.RouteDestination] = route.route
            for number, share in enumerate(shares):
                if share.destination is not None and share.destination.host:
                    yield f"spec.{field}[{index}].route[{number}].destination", share.destination


def rules_without_ports(world: World, report: Findings) -> None:
    """Rules of a kind that no port of the host carries."""
    for obj in world.list(istio.VirtualService):
        if any(g != MESH for g in obj.spec.gateways):
            continue
        for host in obj.spec.hosts:
            known = world.find(host, obj.metadata.namespace)
            if known is None or not known.ports:
                continue
            for field, protocols, what in _RULES:
                carried = any(protocol in protocols for _, protocol in known.ports)
                if getattr(obj.spec, field) and not carried:
                    report.add(
                        c.RULES_WITHOUT_PORTS,
                        obj,
                        f"spec.{field}",
                        host=host,
                        what=what,
                        ports=f.quoted(f"{number} ({p})" for number, p in known.ports),
                    )


def match_ports(world: World, report: Findings) -> None:
    """Matches on ports that nothing of the object has."""
    for obj in world.list(istio.VirtualService):
        known = [world.find(host, obj.metadata.namespace) for host in obj.spec.hosts]
        ports = _ports(world, obj, [k for k in known if k is not None])
        unknown = in_mesh(obj) and None in known
        if not ports or unknown:
            continue
        for path, port, _ in _conditions(obj):
            if port is not None and port not in ports:
                report.add(
                    c.MATCH_PORT_UNKNOWN,
                    obj,
                    f"{path}.port",
                    hosts=f.quoted(obj.spec.hosts),
                    port=port,
                    ports=f.quoted(sorted(ports)),
                )


def _ports(world: World, obj: istio.VirtualService, known: Iterable[Known]) -> set[int]:
    ports = {number for each in known for number, _ in each.ports} if in_mesh(obj) else set()
    for name in obj.spec.gateways:
        gateway = world.gateways.get(full_gateway(name, obj.metadata.namespace))
        if gateway is not None:
            ports |= {s.port.number or 0 for s in gateway.spec.servers if s.port is not None}
        elif name != MESH:
            return set()  # whoever it is, its ports are not known
    return ports


def overlaps(world: World, report: Findings) -> None:
    """Wildcards inside the mesh, and objects for hosts that they cover."""
    wild = [
        (obj, index, host.lower())
        for obj in world.list(istio.VirtualService)
        if in_mesh(obj)
        for index, host in enumerate(obj.spec.hosts)
        if host.startswith("*.")
    ]
    if not wild:
        return
    exact: dict[str, istio.VirtualService] = {}
    for obj in oldest_first(world.list(istio.VirtualService)):
        for host in obj.spec.hosts if in_mesh(obj) else ():
            exact.setdefault(world.full(host, obj.metadata.namespace), obj)
    for obj, index, pattern in wild:
        for host, other in exact.items():
            if other is not obj and host != pattern and covers(pattern, host):
                path = f"spec.hosts[{index}]"
                report.add(c.HOST_OVERLAP, obj, path, host=host, other=source(other))


def _conditions(
    obj: istio.VirtualService,
) -> Iterator[tuple[str, int | None, tuple[str, ...]]]:
    """Path, port and gateways of every match."""
    for field in ("http", "tls", "tcp"):
        routes: Sequence[istio.HTTPRoute | _L4] = getattr(obj.spec, field)
        for index, route in enumerate(routes):
            matches: Sequence[istio.HTTPMatchRequest | _L4Match] = route.match
            for number, match in enumerate(matches):
                yield f"spec.{field}[{index}].match[{number}]", match.port, match.gateways


CHECKS = (
    match_gateways, hosts_at_gateways, shadowed_at_gateways, bypassed_rules, destinations,
    rules_without_ports, match_ports, overlaps,
)  # fmt: skip

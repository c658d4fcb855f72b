"""Which filter chain of a listener a connection meets: what happens before any request is read.

Source: Envoy's order of filter chain conditions. The port comes first, then the narrowest network
that has the address, the server name, TLS or not, HTTP or not; a step is never taken back.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from weft.mesh.explain.request import Request
from weft.mesh.model import (
    GatewayListener,
    GatewayServer,
    MeshModel,
    ServiceListener,
    TcpRoute,
    UdpRoute,
    Workload,
)
from weft.mesh.names import covers, specificity

ANY = ""
"""No condition on the address."""


class Chain(Struct, frozen=True):
    """Connections that meet the conditions go to a route table or, as bytes, to a TcpRoute."""

    port: int
    address: str = ANY
    sni: str = ""
    tls: bool = False
    http: bool = False
    table: str = ""
    route: TcpRoute | None = None
    server: GatewayServer | None = None


class Met(Struct, frozen=True):
    """Where a connection ends up."""

    outcome: Literal["table", "bytes", "passed through", "closed"]
    listener: str
    """Name of the proxy's listener."""
    reason: str
    table: str = ""
    route: TcpRoute | None = None
    datagrams: UdpRoute | None = None
    server: GatewayServer | None = None


def from_workload(model: MeshModel, caller: Workload, request: Request) -> Met:
    """A connection that a workload opens."""
    listener = f"outbound|{caller.uid}"
    if request.scheme == "udp":
        return _datagrams(model, caller, request)
    if not caller.proxy_address:
        return _from_pod(caller, request, listener)
    if request.speaks_http:
        table = next((p.route_table for p in caller.outbound if p.port == 0), "")
        reason = f"the pod's own HTTP proxy is {caller.proxy_address}"
        return Met("table", listener, reason, table=table)
    return _to_service_address(model.service_listeners, request)


def _from_pod(caller: Workload, request: Request, listener: str) -> Met:
    chains = [c for c in _chains(caller) if c.port == request.port]
    found = _choose(chains, request)
    if found is None:
        what = "HTTP" if request.speaks_http else "connections"
        where = request.target or request.host
        reason = f"the mesh routes no {what} to {where} port {request.port}"
        if caller.unknown.mode == "refuse" and not caller.unknown.proxy:
            return Met("closed", listener, f"{reason}, and the caller may reach nothing else")
        return Met("passed through", listener, reason)
    if found.table:
        reason = f"HTTP to port {request.port} is routed by table `{found.table}`"
        return Met("table", listener, reason, table=found.table)
    route = found.route
    assert route is not None  # chains of workloads have one or the other
    return Met("bytes", listener, _why(found, request), route=route)


def _why(chain: Chain, request: Request) -> str:
    place = f"port {request.port}" + (f" of {chain.address}" if chain.address else "")
    if chain.sni:
        return f"TLS with server name `{request.host}` to {place} is passed on as bytes"
    return f"connections to {place} are passed on as bytes"


def _datagrams(model: MeshModel, caller: Workload, request: Request) -> Met:
    """In a pod each service address has a listener of its own; in host isolation the node has."""
    routes = {f"udp|{caller.uid}|{a}|{r.port}": (a, r) for r in caller.udp for a in r.addresses}
    if caller.proxy_address:
        services = [s for s in model.service_listeners if s.udp is not None]
        routes = {
            f"service-udp|{s.address}|{s.port}": (s.address, s.udp) for s in services if s.udp
        }
    for name, (address, route) in routes.items():
        if (address, route.port) == (request.target, request.port):
            reason = (
                f"datagrams to {address} port {route.port} are taken by a listener of their own"
            )
            return Met("bytes", name, reason, datagrams=route)
    where = request.target or request.host
    return Met("passed through", "", f"the mesh takes no datagrams to {where} port {request.port}")


def _to_service_address(listeners: Iterable[ServiceListener], request: Request) -> Met:
    here = [s for s in listeners if s.port == request.port and s.address == request.target]
    for service in here:
        name = f"service|{service.address}|{service.port}"
        if service.tcp is not None:
            reason = f"the node's proxy listens on {service.address} port {service.port}"
            return Met("bytes", name, reason, route=service.tcp)
    where = request.target or request.host
    return Met(
        "passed through", "", f"the node's proxy does not listen on {where} port {request.port}"
    )


# --- the chains of a pod's outbound listener


def _chains(caller: Workload) -> Iterator[Chain]:
    """Those for HTTP first; of chains with equal conditions only the first is there."""
    own = set(caller.labels)
    found = [r for r in caller.tcp if own.issuperset(r.source_labels)]
    widths = {id(r): _from(r, caller.address) for r in found}
    # The narrowest network of the caller comes first, as in the proxy.
    routes = sorted((r for r in found if widths[id(r)] >= 0), key=lambda r: -widths[id(r)])
    declared = {p.port for p in caller.outbound if p.declared}
    silent = {r.port for r in routes if r.server_first} - declared
    taken: set[tuple[int, str]] = set()
    offered = [(p.port, ANY, p.route_table) for p in caller.outbound if p.port]
    offered += [(r.port, a, r.http_table) for r in routes if r.http_table for a in _places(r)]
    for port, address, table in offered:
        if (port, address) not in taken:
            taken.add((port, address))
            # Ports on which a server may speak first are not looked into: nothing is HTTP there.
            if port not in silent:
                yield Chain(port, address, http=True, table=table)
    claimed: set[tuple[int, str, str]] = set()
    for route in routes:
        for name in route.sni_hosts or ("",):
            for address in _places(route):
                if (route.port, address, name) not in claimed:
                    claimed.add((route.port, address, name))
                    sni = "" if name == "*" else name
                    yield Chain(route.port, address, sni, tls=bool(name), route=route)


def _from(route: TcpRoute, address: str) -> int:
    """Bits of the narrowest of the route's networks that has the caller; -1 when none has."""
    return max((_width(network, address) for network in route.source_networks), default=0)


def _places(route: TcpRoute) -> tuple[str, ...]:
    return route.addresses or (ANY,)


def _choose(chains: list[Chain], request: Request) -> Chain | None:
    """One that holds for the connection, or None."""
    if not chains:
        return None
    widths = {id(c): _width(c.address, request.target) for c in chains}
    narrowest = max(widths.values())
    left = [c for c in chains if widths[id(c)] == narrowest and narrowest >= 0]
    looked_for_tls = any(c.tls for c in chains)
    tls = request.speaks_tls and looked_for_tls
    left = _by_name(left, request.host if tls else "")
    with_tls = [c for c in left if c.tls]
    left = with_tls if tls and with_tls else [c for c in left if not c.tls]
    with_http = [c for c in left if c.http]
    left = with_http if request.speaks_http and with_http else [c for c in left if not c.http]
    return left[0] if left else None


def _width(network: str, address: str) -> int:
    """Bits of a network that has the address; -1 when it does not have it."""
    if network == ANY:
        return 0
    try:
        found = ipaddress.ip_network(network, strict=False)
        return found.prefixlen if ipaddress.ip_address(address) in found else -1
    except ValueError:
        return -1


def _by_name(chains: list[Chain], name: str) -> list[Chain]:
    """Those with the narrowest server name that covers the connection's, else those without."""
    covering = [c.sni for c in chains if c.sni and name and covers(c.sni, name.lower())]
    best = max(covering, key=specificity) if covering else ""
    return [c for c in chains if c.sni == best]


# --- callers from outside


def to_service(listener: ServiceListener, request: Request, source: str) -> Met:
    """A connection from outside, from the address `source` ("": unknown), to a node's port of a
    Service or pod."""
    udp = listener.udp is not None
    kind = "service-udp" if udp else "service"
    name = f"{kind}|{listener.address}|{listener.port}"
    place = f"{listener.address} port {listener.port}"
    if listener.source_ranges:
        ranges = ", ".join(listener.source_ranges)
        if source and all(_width(each, source) < 0 for each in listener.source_ranges):
            return Met("closed", name, f"{place} takes callers of {ranges} only, not {source}")
        place += f", for callers of {ranges} only,"
    if listener.udp is not None:
        return Met("bytes", name, f"{place} takes datagrams", datagrams=listener.udp)
    tcp = listener.tcp
    if tcp is None and not request.speaks_http:
        return Met("closed", name, f"{place} takes plain HTTP only")
    table = listener.route_table or (tcp.http_table if tcp is not None else "")
    if table and request.speaks_http:
        reason = f"{place} takes HTTP, routed by table `{table}`"
        return Met("table", name, reason, table=table)
    return Met("bytes", name, f"{place} passes connections on as bytes", route=tcp)


def to_egress_gateway(model: MeshModel, port: int, request: Request) -> Met:
    """The second step of a call that a route sends to an egress gateway."""
    name = f"egress|{port}"
    listener = next((g for g in model.gateways if g.egress and g.port == port), None)
    if listener is None:
        return Met("closed", name, f"no egress gateway has port {port}")
    return replace(from_outside(listener, request), listener=name)


def from_outside(listener: GatewayListener, request: Request) -> Met:
    """A connection from outside to a port of a Gateway."""
    name = _name(listener)
    if listener.protocol == "udp":
        server = listener.servers[0]
        return _of_server(server, name, f"port {listener.port} takes datagrams")
    # Where callers outside are is not known: those that no network is named for are meant.
    servers = sorted(listener.servers, key=lambda s: bool(s.tcp and s.tcp.source_networks))
    if listener.protocol in ("http", "tcp"):
        plain = next((s for s in servers if s.tls is None), None)
        if plain is not None:
            return _plain(listener, plain, request, name)
    names: dict[str, GatewayServer] = {}
    for server in servers:
        passed = server.tcp.sni_hosts if server.tcp is not None and server.tls is None else ()
        for host in passed or server.hosts or ("*",):
            names.setdefault(host, server)
    if not request.speaks_tls:
        return Met("closed", name, f"port {listener.port} takes TLS only")
    covering = [host for host in names if covers(host, request.host.lower())]
    if not covering:
        served = ", ".join(f"`{n}`" for n in sorted(names))
        return Met(
            "closed", name, f"no server of port {listener.port} has host `{request.host}` "
            f"(there are {served})"
        )  # fmt: skip
    best = max(covering, key=specificity)
    server = names[best]
    reason = f"server name `{request.host}` belongs to Gateway server {server.name}"
    return _of_server(server, name, reason)


def _name(listener: GatewayListener) -> str:
    """As the proxy names it."""
    owner = f"|{listener.binding}" if listener.binding else ""
    transport = "|udp" if listener.protocol == "udp" else ""
    return f"gateway|{listener.port}{owner}{transport}"


def _plain(listener: GatewayListener, server: GatewayServer, request: Request, name: str) -> Met:
    if request.speaks_tls and server.route_table:
        return Met("closed", name, f"port {listener.port} takes plain HTTP, not TLS")
    what = "HTTP" if server.route_table else "bytes"
    return _of_server(server, name, f"port {listener.port} of Gateway {_gateway(server)} is {what}")


def _of_server(server: GatewayServer, name: str, reason: str) -> Met:
    if server.route_table:
        return Met("table", name, reason, table=server.route_table, server=server)
    return Met("bytes", name, reason, route=server.tcp, server=server)


def _gateway(server: GatewayServer) -> str:
    return server.name.rpartition("/")[0]

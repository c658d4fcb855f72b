"""Where callers from outside the mesh get in: ports that nodes listen on for Gateways, Services
and pods, and which of them a request meets."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from msgspec import Struct

from weft.mesh.explain.callers import NoCaller, owner
from weft.mesh.explain.request import Request
from weft.mesh.exposure import on_node
from weft.mesh.model import (
    GatewayBinding,
    GatewayListener,
    MeshModel,
    NodeSettings,
    RouteTable,
    ServiceListener,
)
from weft.mesh.names import covers
from weft.mesh.values import is_ip

SHOWN_MAX = 8
Transport = Literal["tcp", "udp"]


class Opening(Struct, frozen=True):
    """A port of a node, and what is behind it: a Gateway's listener or a Service's or pod's."""

    node: str
    address: str
    port: int
    """The one that is bound, which callers connect to."""
    transport: Transport
    what: str
    """In people's words: `NodePort of Service default/web`."""
    kind: str
    """`Gateway`, `NodePort`, `load balancer`, …"""
    owners: tuple[str, ...]
    """The objects that it is for: `Service default/web`."""
    gateway: GatewayListener | None = None
    service: ServiceListener | None = None
    tables: tuple[RouteTable, ...] = ()
    """Those of the node alone, which the model of the whole mesh lacks."""

    @property
    def place(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


def openings(model: MeshModel, nodes: Iterable[NodeSettings]) -> tuple[Opening, ...]:
    """All of them, by node."""
    found: list[Opening] = []
    for node in nodes:
        found += _of_gateways(model.gateways, node)
        found += _of_services(model, node)
    return tuple(found)


def _of_gateways(gateways: Iterable[GatewayListener], node: NodeSettings) -> Iterator[Opening]:
    bindings = {b.gateway: b for b in node.gateway_bindings}
    shared = GatewayBinding("", (node.gateway_address,), node.gateway_ports)
    for gateway in gateways:
        if gateway.egress or not gateway.servers:
            continue
        binding = bindings.get(gateway.binding) if gateway.binding else shared
        bound = binding.bound(gateway) if binding is not None else 0
        transport: Transport = "udp" if gateway.protocol == "udp" else "tcp"
        text = f"port {gateway.port} of Gateway {owner(gateway)}"
        names = (gateway.gateway, *(s.name.rpartition("/")[0] for s in gateway.servers))
        owners = tuple(dict.fromkeys(f"Gateway {name}" for name in names if name))
        for address in binding.addresses if binding is not None and bound else ():
            yield Opening(
                node.name, address, bound, transport, text, "Gateway", owners, gateway=gateway
            )


def _of_services(model: MeshModel, node: NodeSettings) -> Iterator[Opening]:
    outward = tuple(each for each in model.service_listeners if each.owner)
    ports = {(e.owner, e.port) for e in outward}
    balanced = {
        (b.gateway, a) for b in node.gateway_bindings for a in b.addresses if " " in b.gateway
    }
    listeners, tables = on_node(outward, node, model.destinations)
    for each in listeners:
        transport: Transport = "udp" if each.udp is not None else "tcp"
        if each.owner.startswith("Pod "):
            kind = "hostPort"
        elif (each.owner, each.address) in balanced:
            kind = "LoadBalancer"
        elif each.port == each.health_port:
            kind = "healthCheckNodePort"
        else:
            kind = "externalIP" if (each.owner, each.port) in ports else "NodePort"
        yield Opening(
            node.name,
            each.address,
            each.port,
            transport,
            f"{kind} of {each.owner}",
            kind,
            (each.owner,),
            service=each,
            tables=tables,
        )


# --- which one a request meets


def meet(known: Sequence[Opening], request: Request) -> tuple[Opening, ...] | NoCaller:
    """The opening that a request to this host and port meets: the same one of several nodes, where
    the host is only a name; or what is wrong with the question."""
    transport = "udp" if request.scheme == "udp" else "tcp"
    here = [o for o in known if o.transport == transport]
    nodes = {o.node for o in here}
    if request.target:
        here = [o for o in here if o.address == request.target]
    elif request.host in nodes:
        here = [o for o in here if o.node == request.host]
    at_port = [o for o in here if o.port == request.port]
    if not at_port:
        return _nobody(known, here, request)
    kinds = _kinds(at_port)
    if len(kinds) > 1 and not request.target:
        kinds = _serving(kinds, request.host) or kinds
    if len(kinds) > 1:
        shown = ", ".join(f"{each[0].place} ({each[0].what})" for each in kinds[:SHOWN_MAX])
        message = f"several listen on port {request.port}: {shown}"
        first = kinds[0][0].place
        return NoCaller(message, f"write the address: `{first}`, with the name by `-H 'Host: …'`")
    return tuple(kinds[0])


def _kinds(found: Iterable[Opening]) -> list[list[Opening]]:
    """Those of several nodes that are the same."""
    kinds: dict[str, list[Opening]] = {}
    for each in found:
        kinds.setdefault(each.what, []).append(each)
    return list(kinds.values())


def _serving(kinds: list[list[Opening]], host: str) -> list[list[Opening]]:
    """The Gateways that serve the host by its name."""
    return [
        kind
        for kind in kinds
        if (gateway := kind[0].gateway) is not None
        and any(covers(name, host.lower()) for s in gateway.servers for name in s.hosts)
    ]


def _nobody(known: Sequence[Opening], here: list[Opening], request: Request) -> NoCaller:
    where = f"{request.target or request.host} port {request.port}"
    message = f"nothing listens on {where} for callers from outside"
    if request.target and all(o.address != request.target for o in known):
        addresses = ", ".join(list(dict.fromkeys(o.address for o in known))[:SHOWN_MAX])
        return NoCaller(message, f"addresses that nodes listen on: {addresses or 'none'}")
    moved = [o for o in here if o.gateway is not None and o.gateway.port == request.port != o.port]
    if moved:
        return NoCaller(message, f"{moved[0].what} is bound at {moved[0].place}")
    ports = ", ".join(dict.fromkeys(f"{o.port} ({o.what})" for o in here[:SHOWN_MAX]))
    return NoCaller(message, f"there are: {ports or 'none'}")


def outside_address(caller: str) -> str | None:
    """The address that a caller from outside has: empty for `external`; None when the text names
    no such caller."""
    if caller == "external":
        return ""
    text = caller.strip("[]")
    return text if is_ip(text) else None

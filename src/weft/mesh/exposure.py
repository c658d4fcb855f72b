"""Services and containers on nodes' own addresses: NodePort, LoadBalancer, externalIPs, hostPort.

Callers from outside get the routing of a caller inside the mesh that no rule singles out. Nobody
knows who they are, so policies that ask for an identity refuse them.
"""

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from weft.api.service_places import pod_owner
from weft.mesh.hosts import Host
from weft.mesh.model import (
    Destination,
    DirectResponse,
    GatewayBinding,
    HttpRoute,
    NodePlace,
    NodeSettings,
    RouteTable,
    ServiceListener,
    TcpRoute,
    UdpRoute,
    VirtualHost,
    WeightedDestination,
)
from weft.mesh.tables import service_listeners
from weft.mesh.workloads import PodFacts, pod_endpoint

OUTSIDE = "outside|"
"""Begins the name of a table for callers from outside."""
LOCAL = "|local"
"""Ends the name of a destination of which a node uses its own endpoints only."""
OK, UNAVAILABLE = 200, 503


class Exposed(Struct, frozen=True):
    """What callers from outside reach, and what it takes."""

    listeners: tuple[ServiceListener, ...] = ()
    tables: tuple[RouteTable, ...] = ()
    destinations: tuple[Destination, ...] = ()


def exposed_services(
    hosts: Iterable[Host],
    tables: Iterable[RouteTable],
    tcp: Iterable[TcpRoute],
    udp: Iterable[UdpRoute],
) -> Exposed:
    """A listener for each port of the services that nodes listen for."""
    outside = {h.host: h for h in hosts if h.outside is not None and h.cluster_ips}
    if not outside:
        return Exposed()
    found, made = service_listeners(outside.values(), tables, tcp)
    firsts = [e for e in found if e.address == outside[e.host].cluster_ips[0]]
    by_address = {(a, r.port): r for r in udp for a in r.addresses}
    for host in outside.values():
        for port in host.udp_ports:
            route = by_address.get((host.cluster_ips[0], port.number))
            if route is not None:
                firsts.append(ServiceListener("", port.number, udp=route, host=host.host))
    listeners = tuple(_outward(each, outside[each.host]) for each in firsts)
    return Exposed(listeners, tuple(replace(t, name=f"{OUTSIDE}{t.name}") for t in made))


def _outward(listener: ServiceListener, host: Host) -> ServiceListener:
    wanted = host.outside
    assert wanted is not None  # only such hosts come here
    table, tcp = listener.route_table, listener.tcp
    if tcp is not None and tcp.http_table:
        tcp = replace(tcp, http_table=f"{OUTSIDE}{tcp.http_table}")
    return replace(
        listener,
        route_table=f"{OUTSIDE}{table}" if table else "",
        tcp=tcp,
        address="",
        owner=host.source,
        source_ranges=wanted.source_ranges,
        node_local=wanted.node_local,
        health_port=wanted.health_port,
    )


def with_local_endpoints(exposed: Exposed, destinations: Iterable[Destination]) -> Exposed:
    """`exposed`, with all tables of the mesh. Services of which only endpoints of the called node
    serve lead to destinations of their own; other services that their routes lead to are reached
    wherever they are."""
    local = {e.host for e in exposed.listeners if e.node_local}
    if not local:
        return exposed
    own = {d.name: d for d in destinations if d.host in local and d.discovery == "endpoints"}
    names = {e.route_table or (e.tcp.http_table if e.tcp else "") for e in exposed.listeners
             if e.node_local}  # fmt: skip
    return Exposed(
        tuple(_local_listener(e, own) if e.node_local else e for e in exposed.listeners),
        tuple(_local_table(t, own) if t.name in names else t for t in exposed.tables),
        tuple(replace(d, name=f"{d.name}{LOCAL}", node_local=True) for d in own.values()),
    )


def _local_listener(listener: ServiceListener, own: Mapping[str, Destination]) -> ServiceListener:
    tcp, udp = listener.tcp, listener.udp
    if tcp is not None:
        tcp = replace(tcp, destinations=_local_shares(tcp.destinations, own))
    if udp is not None and udp.destination in own:
        udp = replace(udp, destination=f"{udp.destination}{LOCAL}")
    return replace(listener, tcp=tcp, udp=udp)


def _local_table(table: RouteTable, own: Mapping[str, Destination]) -> RouteTable:
    return replace(
        table,
        virtual_hosts=tuple(
            replace(
                host,
                routes=tuple(
                    replace(r, destinations=_local_shares(r.destinations, own)) for r in host.routes
                ),
            )
            for host in table.virtual_hosts
        ),
    )


def _local_shares(
    shares: tuple[WeightedDestination, ...], own: Mapping[str, Destination]
) -> tuple[WeightedDestination, ...]:
    return tuple(
        replace(s, destination=f"{s.destination}{LOCAL}") if s.destination in own else s
        for s in shares
    )


def exposed_pods(pods: Iterable[PodFacts]) -> Exposed:
    """A listener for each hostPort. In a network of its own the pod's inbound listener applies its
    policies, as for whoever calls its address; elsewhere the node's listener does."""
    listeners: list[ServiceListener] = []
    made: list[Destination] = []
    for pod in pods:
        if pod.terminal or not pod.address or not pod.connected:
            continue
        for port, transport in pod.host_port_targets:
            destination = _of_container(pod, port, transport == "UDP")
            made.append(destination)
            listeners.append(_to_container(pod, port, destination.name, transport == "UDP"))
    return Exposed(tuple(listeners), (), tuple(made))


def _of_container(pod: PodFacts, port: int, udp: bool) -> Destination:
    transport = "udp" if udp else "tcp"
    return Destination(
        name=f"host-port|{pod.namespace}/{pod.name}|{port}|{transport}",
        host=pod.name,
        port=port,
        protocol="udp" if udp else "tcp",
        endpoints=(pod_endpoint(pod, port),),
        through_inbound=bool(pod.netns) and not udp,
        service=pod.workload,
        namespace=pod.namespace,
        source=pod_owner(pod.namespace, pod.name),
    )


def _to_container(pod: PodFacts, port: int, destination: str, udp: bool) -> ServiceListener:
    owner = pod_owner(pod.namespace, pod.name)
    if udp:
        route = UdpRoute((pod.address,), port, destination, owner)
        return ServiceListener("", port, udp=route, host=pod.name, owner=owner)
    shares = (WeightedDestination(destination),)
    tcp = TcpRoute((pod.address,), port, shares, source=owner)
    return ServiceListener("", port, tcp=tcp, host=pod.name, owner=owner)


# --- on a node


def on_node(
    listeners: Iterable[ServiceListener],
    node: NodeSettings,
    destinations: tuple[Destination, ...],
) -> tuple[tuple[ServiceListener, ...], tuple[RouteTable, ...]]:
    """The listeners for callers from outside that a node has, and the tables in which it says
    whether it has endpoints."""
    by_owner: dict[str, list[NodePlace]] = {}
    for place in (*node.places, *_balanced(node.gateway_bindings)):
        by_owner.setdefault(place.owner, []).append(place)
    if not by_owner:
        return (), ()
    made: list[ServiceListener] = []
    tables: dict[str, RouteTable] = {}
    for each in listeners:
        for place in by_owner.get(each.owner, ()):
            here = replace(each, address=place.address, port=place.bound)
            wanted = "udp" if each.udp is not None else "tcp"
            if place.transport == wanted and place.port == each.port:
                # Datagrams have no filter chain that could tell callers apart.
                if not (each.udp is not None and each.source_ranges):
                    made.append(here)
            elif place.transport == "health" and place.port == each.health_port:
                table = _health_table(each, node.name, destinations)
                bare = replace(here, tcp=None, udp=None, source_ranges=())
                made.append(replace(bare, route_table=table.name))
                tables[table.name] = table
    return _distinct(made), tuple(tables.values())


def _distinct(listeners: Iterable[ServiceListener]) -> tuple[ServiceListener, ...]:
    """One for each place: all ports of a service have one healthCheckNodePort."""
    found: dict[tuple[str, int, bool], ServiceListener] = {}
    for each in listeners:
        found.setdefault((each.address, each.port, each.udp is not None), each)
    return tuple(found.values())


def _balanced(bindings: Iterable[GatewayBinding]) -> Iterator[NodePlace]:
    """The addresses of Services of type LoadBalancer; Gateways' names have no kind."""
    for binding in bindings:
        for address in binding.addresses:
            for port, bound in binding.ports:
                yield NodePlace(binding.gateway, address, bound, port)
            for port, bound in binding.udp_ports:
                yield NodePlace(binding.gateway, address, bound, port, "udp")


def _health_table(
    listener: ServiceListener, node: str, destinations: tuple[Destination, ...]
) -> RouteTable:
    """What kube-proxy answers at a healthCheckNodePort."""
    here = {
        e.pod_uid or e.address
        for d in destinations
        if d.host == listener.host
        for e in d.endpoints
        if e.node == node and e.health == "HEALTHY"
    }
    namespace, _, name = listener.owner.removeprefix("Service ").partition("/")
    body = (
        f'{{"service":{{"namespace":"{namespace}","name":"{name}"}},'
        f'"localEndpoints":{len(here)},"serviceProxyHealthy":true}}'
    )
    answer = DirectResponse(OK if here else UNAVAILABLE, body)
    route = HttpRoute(name="health", direct_response=answer, source=listener.owner)
    host = VirtualHost("health", ("*",), (route,))
    return RouteTable(f"health|{namespace}/{name}", (host,), passthrough=False)

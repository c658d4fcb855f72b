"""Ports on the node's own addresses: of Services (NodePort, LoadBalancer, externalIPs) and of
containers (hostPort). Pure: whether a port is free is asked.

Unlike a Gateway's ports these never move: who asks for port 30080 looks for it there. What
somebody else has is left out, said, and tried again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from weft.api.k8s.container_v1 import Container
from weft.api.k8s.core_v1 import Service
from weft.api.k8s.pod_v1 import Pod
from weft.api.service_places import Held, Place, Transport, pod_owner, service_owner
from weft.node.gateway_bindings import Free, Wanted

NODE_PORT_TYPES = ("NodePort", "LoadBalancer")
LOAD_BALANCER_CLASS = "weft.dev/load-balancer"
"""A Service of another class is somebody else's to balance; one without a class is weft's."""
ANY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104 - what a hostIP may say
TERMINAL_PHASES = ("Succeeded", "Failed")
_TRANSPORTS: Mapping[str, Transport] = {"": "tcp", "TCP": "tcp", "UDP": "udp"}


class Asked(Struct, frozen=True):
    """The places that one owner should have."""

    owner: str
    places: tuple[Place, ...]


def may_listen(obj: Struct | None) -> bool:
    """Whether a node may have to listen for an object."""
    if isinstance(obj, Service):
        return obj.spec.type in NODE_PORT_TYPES or bool(obj.spec.external_ips)
    return isinstance(obj, Pod) and any(p.host_port for c in _containers(obj) for p in c.ports)


def load_balancers(services: Iterable[Service]) -> tuple[Wanted, ...]:
    """The Services that get an address of their own, the oldest first."""
    found = [s for s in services if _balanced(s)]
    found.sort(key=lambda s: (s.metadata.creation_timestamp, s.metadata.namespace, s.metadata.name))
    return tuple(
        Wanted(
            service_owner(s.metadata.namespace, s.metadata.name),
            tuple(sorted({n for n, transport in _ports(s) if transport == "tcp"})),
            tuple(sorted({n for n, transport in _ports(s) if transport == "udp"})),
            (s.spec.load_balancer_ip,) if s.spec.load_balancer_ip else (),
            own=True,
        )
        for s in found
    )


def asked_places(
    services: Iterable[Service], pods: Iterable[Pod], node: str, addresses: Sequence[str]
) -> tuple[Asked, ...]:
    """Everything that should listen on the node; `addresses` are the node's own."""
    found = [
        Asked(owner, tuple(dict.fromkeys(places)))
        for owner, places in (
            *((_owner(s), _service_places(s, addresses)) for s in services),
            *(
                (pod_owner(p.metadata.namespace, p.metadata.name), _pod_places(p, addresses))
                for p in pods
                if p.spec.node_name == node and _opens(p)
            ),
        )
    ]
    return tuple(sorted((a for a in found if a.places), key=lambda a: a.owner))


def bind_places(asked: Iterable[Asked], before: Mapping[str, Held], free: Free) -> dict[str, Held]:
    """Who gets what: each keeps what it had, then the rest in order of owners."""
    asked = tuple(asked)
    kept = {a.owner: tuple(p for p in a.places if p in _had(before, a.owner)) for a in asked}
    taken = {_key(p) for places in kept.values() for p in places}
    made: dict[str, Held] = {}
    for each in asked:
        got, lacking = list(kept[each.owner]), []
        for place in each.places:
            if place in kept[each.owner]:
                continue
            key = _key(place)
            if key not in taken and free(*key):
                taken.add(key)
                got.append(place)
            else:
                lacking.append(place)
        made[each.owner] = Held(tuple(sorted(got)), tuple(lacking))
    return made


def _had(before: Mapping[str, Held], owner: str) -> tuple[Place, ...]:
    return before[owner].places if owner in before else ()


def _key(place: Place) -> tuple[str, int, str]:
    return place.address, place.bound, "udp" if place.transport == "udp" else "tcp"


def _owner(service: Service) -> str:
    return service_owner(service.metadata.namespace, service.metadata.name)


def _balanced(service: Service) -> bool:
    spec = service.spec
    ours = spec.load_balancer_class in ("", LOAD_BALANCER_CLASS)
    return spec.type == "LoadBalancer" and ours and not service.metadata.deletion_timestamp


def _ports(service: Service) -> Iterator[tuple[int, Transport]]:
    for port in service.spec.ports:
        if port.port and port.protocol in _TRANSPORTS:
            yield port.port, _TRANSPORTS[port.protocol]


def _service_places(service: Service, addresses: Sequence[str]) -> Iterator[Place]:
    spec = service.spec
    if spec.type == "ExternalName" or service.metadata.deletion_timestamp:
        return
    for port, transport in _ports(service):
        yield from (Place(ip, port, port, transport) for ip in spec.external_ips if ":" not in ip)
    if spec.type not in NODE_PORT_TYPES:
        return
    for each in spec.ports:
        if each.node_port and each.port and each.protocol in _TRANSPORTS:
            transport = _TRANSPORTS[each.protocol]
            yield from (Place(a, each.node_port, each.port, transport) for a in addresses)
    if number := spec.health_check_node_port:
        yield from (Place(a, number, number, "health") for a in addresses)


def _containers(pod: Pod) -> Iterator[Container]:
    yield from pod.spec.containers
    yield from (c for c in pod.spec.init_containers if c.restart_policy == "Always")


def _opens(pod: Pod) -> bool:
    """In the machine's network a container opens its ports itself."""
    gone = pod.status.phase in TERMINAL_PHASES or pod.metadata.deletion_timestamp
    return not (pod.spec.host_network or gone)


def _pod_places(pod: Pod, addresses: Sequence[str]) -> Iterator[Place]:
    for container in _containers(pod):
        for port in container.ports:
            if not (port.host_port and port.container_port and port.protocol in _TRANSPORTS):
                continue
            transport = _TRANSPORTS[port.protocol]
            where = addresses if port.host_ip in ANY_ADDRESS else (port.host_ip,)
            for address in where:
                yield Place(address, port.host_port, port.container_port, transport)

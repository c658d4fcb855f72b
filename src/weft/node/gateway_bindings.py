"""Addresses and ports for Gateways of the Gateway API and for Services of type LoadBalancer. Pure:
whether a port is free is asked.

The first Gateway gets the node's gateway address, the next ones each an address of its own from a
pool, so that all of them have the ports that they name. What a Gateway has it keeps while it
exists, whatever comes and goes beside it.
"""

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from weft.api.gateway import v1 as gateway_api
from weft.api.gateway_bindings import Binding, bind_owner
from weft.api.istio import networking_v1 as istio
from weft.lib.ports import PORT_OFFSET

PORT_LAST = 65535
POOL_ADDRESSES_TRIED_MAX = 1024
"""Of the pool, for one Gateway: an address more costs a system call."""
LISTENER_SET_PARENT = "Gateway"
Free = Callable[[str, int, str], bool]
"""Whether a port of an address (address, port, `tcp` or `udp`) can be bound; port 0 asks for the
address as such."""


class Wanted(Struct, frozen=True):
    """What a Gateway asks for."""

    gateway: str
    """`<namespace>/<name>`."""
    ports: tuple[int, ...] = ()
    udp_ports: tuple[int, ...] = ()
    addresses: tuple[str, ...] = ()
    """Empty: any."""
    own: bool = False
    """A Service: it takes the shared address only where there is no pool, and Gateways keep it."""

    def places(self) -> Iterator[tuple[int, str]]:
        """All ports with their transport."""
        yield from ((port, "tcp") for port in self.ports)
        yield from ((port, "udp") for port in self.udp_ports)


def wanted_bindings(
    gateways: Iterable[gateway_api.Gateway],
    classes: Iterable[gateway_api.GatewayClass],
    sets: Iterable[gateway_api.ListenerSet] = (),
) -> tuple[Wanted, ...]:
    """What the Gateways of weft's classes ask for, with their ListenerSets; the oldest first."""
    own = {
        c.metadata.name for c in classes if c.spec.controller_name == gateway_api.CONTROLLER_NAME
    }
    found: dict[str, list[gateway_api.Listener]] = {}
    asked: dict[str, tuple[str, ...]] = {}
    ordered = sorted(gateways, key=lambda g: (g.metadata.creation_timestamp, _name(g)))
    for gateway in ordered:
        if gateway.spec.gateway_class_name in own:
            found[_name(gateway)] = list(gateway.spec.listeners)
            known = (a for a in gateway.spec.addresses if a.type in gateway_api.ADDRESS_TYPES)
            asked[_name(gateway)] = tuple(dict.fromkeys(a.value for a in known if a.value))
    for each in sets:
        parent = each.spec.parent_ref
        name = f"{parent.namespace or each.metadata.namespace}/{parent.name}"
        if parent.kind == LISTENER_SET_PARENT and name in found:
            found[name].extend(each.spec.listeners)
    return tuple(
        Wanted(name, _ports(listeners, False), _ports(listeners, True), asked[name])
        for name, listeners in found.items()
    )


def named_addresses(gateways: Iterable[istio.Gateway]) -> tuple[Wanted, ...]:
    """What Gateways of Istio ask for at addresses that they name."""
    found: dict[str, set[int]] = {}
    for gateway in gateways:
        for server in () if istio.is_egress(gateway) else gateway.spec.servers:
            address = istio.bind_address(server)
            if address and server.port is not None and server.port.number:
                found.setdefault(address, set()).add(server.port.number)
    return tuple(
        Wanted(bind_owner(address), tuple(sorted(found[address])), addresses=(address,))
        for address in sorted(found)
    )


def bind(
    wanted: Sequence[Wanted],
    before: Mapping[str, Binding],
    shared: str,
    pool: str,
    free: Free,
) -> dict[str, Binding]:
    """Addresses and ports for all. `shared` is the node's gateway address, `pool` the network that
    further addresses come from; `free` also says no to what Gateways of Istio have."""
    names = {each.gateway for each in wanted}
    held = {name: binding for name, binding in before.items() if name in names}
    made: dict[str, Binding] = {}
    for each in wanted:
        known = held.pop(each.gateway, Binding())
        others = [*held.values(), *made.values()]
        room = _Room(known, others, free)
        candidates = (*_pool(pool),) or (shared,) if each.own else (shared, *_pool(pool))
        made[each.gateway] = _bound(each, room, candidates)
    return made


class _Room:
    """What one Gateway may take: what it has, and what neither others have nor the machine."""

    def __init__(self, known: Binding, others: Iterable[Binding], free: Free) -> None:
        self.known = known
        self._free = free
        self._own = set(_places(known))
        self._taken = {place for binding in others for place in _places(binding)}
        self.used = {address for binding in others for address in binding.addresses}

    def has(self, address: str, port: int, transport: str) -> bool:
        place = (address, port, transport)
        return place in self._own or (place not in self._taken and self._free(*place))

    def usable(self, address: str) -> bool:
        """Whether the machine has this very address. All at once (0.0.0.0) are none."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        named = not (parsed.is_unspecified or parsed.is_multicast)
        return named and (address in self.known.addresses or self._free(address, 0, "tcp"))


def pool_of(address: str, instance: str) -> str:
    """The network for further addresses beside the node's gateway address. The loopback network is
    large enough for each instance of a machine to have a part of its own; other networks belong to
    somebody, who has to name one (`--gateway-pool`)."""
    if not address.startswith("127."):
        return ""
    first, last = LOOPBACK_POOLS
    return f"127.{first + int(instance[:6], 16) % (last - first)}.0.0/16"


LOOPBACK_POOLS = (128, 192)
"""127.N.0.0/16, N from this range by instance."""


def _bound(wanted: Wanted, room: _Room, candidates: Sequence[str]) -> Binding:
    unusable: tuple[str, ...] = ()
    if wanted.addresses:
        addresses = tuple(a for a in wanted.addresses if room.usable(a))
        unusable = tuple(a for a in wanted.addresses if a not in addresses)
    else:
        addresses = room.known.addresses or (_address(wanted, room, candidates),)
    tcp = _ports_at(addresses, wanted.ports, "tcp", room.known.ports, room)
    udp = _ports_at(addresses, wanted.udp_ports, "udp", room.known.udp_ports, room)
    return Binding(addresses, tcp, udp, unusable)


def _address(wanted: Wanted, room: _Room, candidates: Sequence[str]) -> str:
    """One that no other Gateway has and where all ports can be bound; where no address has them
    (ports below 1024, for ordinary users), one where they have to move."""
    unused = [a for a in candidates if a not in room.used]
    for address in unused:
        if all(room.has(address, port, transport) for port, transport in wanted.places()):
            return address
    return next((a for a in unused if room.usable(a)), candidates[0])


def _ports_at(
    addresses: Sequence[str],
    wanted: Sequence[int],
    transport: str,
    known: Mapping[int, int],
    room: _Room,
) -> dict[int, int]:
    """A port for each, free at all addresses: what it had; the port itself; the first free one
    from 8000 more on. Ports for which there is none are left out."""
    made: dict[int, int] = {}
    for port in wanted if addresses else ():
        before = (known[port],) if port in known else ()
        for candidate in (*before, port, *range(port + PORT_OFFSET, PORT_LAST + 1)):
            if candidate in made.values() or (candidate != port and candidate in wanted):
                continue
            if all(room.has(address, candidate, transport) for address in addresses):
                made[port] = candidate
                break
    return made


def _pool(pool: str) -> Iterator[str]:
    if not pool:
        return
    hosts = ipaddress.ip_network(pool).hosts()
    for _, host in zip(range(POOL_ADDRESSES_TRIED_MAX), hosts, strict=False):
        yield str(host)


def _places(binding: Binding) -> Iterator[tuple[str, int, str]]:
    for address in binding.addresses:
        yield from ((address, port, "tcp") for port in binding.ports.values())
        yield from ((address, port, "udp") for port in binding.udp_ports.values())


def _ports(listeners: Iterable[gateway_api.Listener], udp: bool) -> tuple[int, ...]:
    numbers = {x.port for x in listeners if x.port and (x.protocol == "UDP") == udp}
    return tuple(sorted(numbers))


def _name(gateway: gateway_api.Gateway) -> str:
    return f"{gateway.metadata.namespace}/{gateway.metadata.name}"

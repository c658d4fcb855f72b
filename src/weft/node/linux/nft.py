"""nf_tables over netlink: rules of pods and of the node, one atomic batch, no `nft` program."""

import contextlib
import ipaddress
import socket
import struct
from collections.abc import Callable, Mapping
from typing import NamedTuple

from weft.api.wellknown import DATAGRAM_PORT_BITS
from weft.node.linux.netlink import ACK, APPEND, CREATE, Netlink, attribute, nested

_SUBSYSTEM = 10 << 8
_BATCH_BEGIN, _BATCH_END = 16, 17
_NEWTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE, _DELRULE = 0, 2, 3, 6, 8
IPV4, LINK = 2, 5
"""Families of tables: packets of IPv4; frames that come in by one device (`netdev`)."""
HOOK_INGRESS = 0
HOOK_PREROUTING, HOOK_OUTPUT, HOOK_POSTROUTING = 0, 3, 4
_PRIORITY_RAW = -300
"""Before connections are tracked."""
_PRIORITY_DSTNAT, _PRIORITY_SRCNAT = -100, 100
_VERDICT_RETURN, _VERDICT_DROP = -5, 0
_NOT_EQUAL, _AT_MOST, _AT_LEAST = 1, 3, 5
_CT_STATE, _CT_ESTABLISHED, _CT_RELATED = 0, 2, 4
_CT_DIRECTION, _CT_ORIGINAL = 1, 0
_META_INTERFACE_IN, _META_INTERFACE_OUT = 4, 5
_META_INTERFACE_OUT_NAME, _META_L4_PROTOCOL = 7, 16
_META_PROTOCOL = 1
_META_USER = 10
_LINK_HEADER, _NETWORK_HEADER, _TRANSPORT_HEADER = 0, 1, 2
_ETHERNET_SOURCE_OFFSET, _ARP_SENDER_OFFSET = 6, 8
_IPV4_SOURCE_OFFSET, _IPV4_DESTINATION_OFFSET = 12, 16
_SOURCE_PORT_OFFSET, _DESTINATION_PORT_OFFSET, _UDP_CHECKSUM_OFFSET = 0, 2, 6
_CHECKSUM_INTERNET = 1
_LOOPBACK = struct.pack("=I", 1)
_REGISTER_ADDRESS, _REGISTER_PORT = 1, 2
_NAT_SOURCE, _NAT_DESTINATION = 0, 1

Rule = tuple[str, bytes]
"""Chain name and its encoded expressions."""


COLLECTOR_PORTS = (4317, 4318)
"""OpenTelemetry's, gRPC and HTTP, at the node's address."""


class Chain(NamedTuple):
    """A base chain: where in a packet's way its rules are asked."""

    name: str
    hook: int
    priority: int
    kind: str = "nat"
    device: str = ""
    """Of tables of the family LINK."""


class Table(NamedTuple):
    """A table's whole content."""

    chains: tuple[Chain, ...]
    rules: tuple[Rule, ...]
    family: int = IPV4


def _be32(value: int) -> bytes:
    return struct.pack(">I", value)


def _expression(name: str, *options: bytes) -> bytes:
    return nested(1, attribute(1, name), nested(2, *options))


def _meta(key: int) -> bytes:
    return _expression("meta", attribute(1, _be32(1)), attribute(2, _be32(key)))


def _equals(value: bytes) -> bytes:
    return _expression(
        "cmp", attribute(1, _be32(1)), attribute(2, _be32(0)), nested(3, attribute(1, value))
    )


def _payload(base: int, offset: int, length: int) -> bytes:
    numbers = (1, base, offset, length)
    return _expression("payload", *(attribute(i, _be32(n)) for i, n in enumerate(numbers, 1)))


def _immediate(register: int, value: bytes) -> bytes:
    return _expression("immediate", attribute(1, _be32(register)), nested(2, attribute(1, value)))


def _mask(mask: bytes) -> bytes:
    """Keep only these bits of the register."""
    return _bits(mask, bytes(len(mask)))


def _bits(kept: bytes, turned: bytes) -> bytes:
    """Keep some bits of the register, then turn some of them over."""
    numbers = (1, 1, len(kept))
    return _expression(
        "bitwise",
        *(attribute(i, _be32(n)) for i, n in enumerate(numbers, 1)),
        nested(4, attribute(1, kept)),
        nested(5, attribute(1, turned)),
    )


def _turn_port(offset: int, bits: int) -> bytes:
    """Turn these bits of a datagram's port over, unless none is left then: no port is 0."""
    write = {2: _TRANSPORT_HEADER, 3: offset, 4: 2, 5: 1}
    write |= {6: _CHECKSUM_INTERNET, 7: _UDP_CHECKSUM_OFFSET}
    return (
        _payload(_TRANSPORT_HEADER, offset, 2)
        + _compares(_NOT_EQUAL, struct.pack(">H", bits))
        + _bits(b"\xff\xff", struct.pack(">H", bits))
        + _expression("payload", *(attribute(i, _be32(n)) for i, n in write.items()))
    )


def _return() -> bytes:
    verdict = nested(2, attribute(1, struct.pack(">i", _VERDICT_RETURN)))
    return _expression("immediate", attribute(1, _be32(0)), nested(2, verdict))


def _protocol(number: int) -> bytes:
    return _meta(_META_L4_PROTOCOL) + _equals(bytes([number]))


def _redirect(port: int) -> bytes:
    register = attribute(1, _be32(_REGISTER_ADDRESS))
    return _immediate(_REGISTER_ADDRESS, struct.pack(">H", port)) + _expression("redir", register)


def _dnat(address: str, port: int) -> bytes:
    options = (
        attribute(1, _be32(_NAT_DESTINATION)),
        attribute(2, _be32(IPV4)),
        attribute(3, _be32(_REGISTER_ADDRESS)),
        attribute(5, _be32(_REGISTER_PORT)),
    )
    return (
        _immediate(_REGISTER_ADDRESS, socket.inet_aton(address))
        + _immediate(_REGISTER_PORT, struct.pack(">H", port))
        + _expression("nat", *options)
    )


def _source_nat(address: str) -> bytes:
    options = (
        attribute(1, _be32(_NAT_SOURCE)),
        attribute(2, _be32(IPV4)),
        attribute(3, _be32(_REGISTER_ADDRESS)),
    )
    return _immediate(_REGISTER_ADDRESS, socket.inet_aton(address)) + _expression("nat", *options)


Match = Callable[[str], bytes]
"""A condition on the address at one end of a packet, for a network."""


def _compares(operator: int, value: bytes) -> bytes:
    number = attribute(2, _be32(operator))
    return _expression("cmp", attribute(1, _be32(1)), number, nested(3, attribute(1, value)))


def goes_to_loopback() -> bytes:
    return _meta(_META_INTERFACE_OUT) + _equals(_LOOPBACK)


def comes_from_loopback() -> bytes:
    return _meta(_META_INTERFACE_IN) + _equals(_LOOPBACK)


def established() -> bytes:
    """Of a connection that has been let through, or an error about one."""
    state = _expression("ct", attribute(1, _be32(1)), attribute(2, _be32(_CT_STATE)))
    known = struct.pack("=I", _CT_ESTABLISHED | _CT_RELATED)
    return state + _mask(known) + _compares(_NOT_EQUAL, bytes(4))


def asks() -> bytes:
    """Goes the way of the first packet of its connection: no answer."""
    way = _expression("ct", attribute(1, _be32(1)), attribute(2, _be32(_CT_DIRECTION)))
    return way + _equals(bytes([_CT_ORIGINAL]))


def destination(network: str) -> bytes:
    return _within(_IPV4_DESTINATION_OFFSET, network)


def source(network: str) -> bytes:
    return _within(_IPV4_SOURCE_OFFSET, network)


def _within(offset: int, text: str) -> bytes:
    network = ipaddress.IPv4Network(text)
    masked = b"" if network.prefixlen == 32 else _mask(network.netmask.packed)
    return _payload(_NETWORK_HEADER, offset, 4) + masked + _equals(network.network_address.packed)


def frame(link_address: bytes, kind: int) -> bytes:
    """A frame from this hardware address with packets of this kind (EtherType)."""
    sender = _payload(_LINK_HEADER, _ETHERNET_SOURCE_OFFSET, len(link_address))
    return sender + _equals(link_address) + _meta(_META_PROTOCOL) + _equals(struct.pack(">H", kind))


def arp_sender(link_address: bytes, address: str) -> bytes:
    """An ARP packet in which the sender says this of itself."""
    said = link_address + socket.inet_aton(address)
    return _payload(_NETWORK_HEADER, _ARP_SENDER_OFFSET, len(said)) + _equals(said)


def protocol(number: int) -> bytes:
    return _protocol(number)


def destination_port(first: int, last: int) -> bytes:
    """From `first` to `last`, of protocols that have ports."""
    port = _payload(_TRANSPORT_HEADER, _DESTINATION_PORT_OFFSET, 2)
    if first == last:
        return port + _equals(struct.pack(">H", first))
    return (
        port
        + _compares(_AT_LEAST, struct.pack(">H", first))
        + _compares(_AT_MOST, struct.pack(">H", last))
    )


def give_back() -> bytes:
    """The packet goes on to the chains after this one."""
    return _return()


def drop() -> bytes:
    verdict = nested(2, attribute(1, struct.pack(">i", _VERDICT_DROP)))
    return _expression("immediate", attribute(1, _be32(0)), nested(2, verdict))


def pod_table(
    node_address: str, dns_port: int, outbound_port: int, inbound_port: int, services: str
) -> Table:
    """What a pod's namespace redirects. `services` is the network of service addresses, which the
    namespace takes for its own: the proxy listens on those of UDP itself, at turned ports
    (DATAGRAM_PORT_BITS).

    Out: TCP to services to the outbound listener; DNS to the node's server (which sees the pod's
    address), spans of applications to the node's collector, other TCP to the outbound listener.
    In: TCP to the inbound listener, except from the node's trusted address.
    """
    to_dns = _payload(_TRANSPORT_HEADER, _DESTINATION_PORT_OFFSET, 2)
    to_dns += _equals(struct.pack(">H", 53)) + _dnat(node_address, dns_port)
    to_loopback = _payload(_NETWORK_HEADER, _IPV4_DESTINATION_OFFSET, 1) + _equals(b"\x7f")
    from_node = _payload(_NETWORK_HEADER, _IPV4_SOURCE_OFFSET, 4)
    from_node += _equals(socket.inet_aton(node_address))
    tcp, udp = _protocol(socket.IPPROTO_TCP), _protocol(socket.IPPROTO_UDP)
    to_node = _payload(_NETWORK_HEADER, _IPV4_DESTINATION_OFFSET, 4)
    to_node += _equals(socket.inet_aton(node_address))
    to_collector = [
        _payload(_TRANSPORT_HEADER, _DESTINATION_PORT_OFFSET, 2) + _equals(struct.pack(">H", port))
        for port in COLLECTOR_PORTS
    ]
    network = ipaddress.IPv4Network(services)
    to_service = _payload(_NETWORK_HEADER, _IPV4_DESTINATION_OFFSET, 4)
    to_service += _mask(network.netmask.packed) + _equals(network.network_address.packed)
    rules = (
        ("turn", udp + to_service + _turn_port(_DESTINATION_PORT_OFFSET, DATAGRAM_PORT_BITS)),
        ("turn", udp + source(services) + _turn_port(_SOURCE_PORT_OFFSET, DATAGRAM_PORT_BITS)),
        ("out", tcp + to_service + _redirect(outbound_port)),
        ("out", _meta(_META_INTERFACE_OUT) + _equals(_LOOPBACK) + _return()),
        ("out", to_loopback + _return()),
        ("out", udp + to_dns),
        ("out", tcp + to_dns),
        *(("out", tcp + to_node + port + _return()) for port in to_collector),
        ("out", tcp + _redirect(outbound_port)),
        ("in", _meta(_META_INTERFACE_IN) + _equals(_LOOPBACK) + _return()),
        ("in", from_node + _return()),
        ("in", tcp + _redirect(inbound_port)),
    )

    chains = (
        Chain("turn", HOOK_OUTPUT, _PRIORITY_RAW, "filter"),
        Chain("out", HOOK_OUTPUT, _PRIORITY_DSTNAT),
        Chain("in", HOOK_PREROUTING, _PRIORITY_DSTNAT),
    )
    return Table(chains, rules)


def node_table(
    subnet: str, bridges: str, others: tuple[str, ...], *, trusted: str, untrusted: str, uid: int
) -> Table:
    """What leaves the node from a pod subnet (`10.244.0.0/24`) gets the address of the interface
    it leaves by, because nobody outside knows the way back.

    Kept: the source of what stays on the node, to its own addresses and to pods of any bridge
    whose name begins with `bridges`, and of what goes to pods of other nodes (`others`). Pods trust
    the first address of their bridge, and just that one would be put in.

    It is also what the kernel gives whoever calls a pod from this machine. Only programs of `uid`,
    which the proxy is one of, keep it; others get the `untrusted` one, and no way around policies.
    """
    network = ipaddress.IPv4Network(subnet)
    from_pods = _payload(_NETWORK_HEADER, _IPV4_SOURCE_OFFSET, 4)
    from_pods += _mask(network.netmask.packed) + _equals(network.network_address.packed)
    to_pods = _meta(_META_INTERFACE_OUT_NAME) + _equals(bridges.encode())
    of_others = _meta(_META_USER) + _compares(_NOT_EQUAL, struct.pack("=I", uid))
    rules = (
        ("leave", _meta(_META_INTERFACE_OUT) + _equals(_LOOPBACK) + _return()),
        ("leave", to_pods + source(f"{trusted}/32") + of_others + _source_nat(untrusted)),
        ("leave", to_pods + _return()),
        *(("leave", _to_network(other) + _return()) for other in others),
        ("leave", from_pods + _expression("masq")),
    )
    return Table((Chain("leave", HOOK_POSTROUTING, _PRIORITY_SRCNAT),), rules)


def egress_table(subnet: str, port: int, dns: tuple[str, int]) -> Table:
    """Of a node in a network of its own: what goes neither to pods nor to itself is handed to the
    listener at `port`; questions for names to the node's DNS server, whomever they are for."""
    tcp, udp = _protocol(socket.IPPROTO_TCP), _protocol(socket.IPPROTO_UDP)
    to_dns = destination_port(53, 53) + _dnat(*dns)
    rules = (
        ("out", udp + to_dns),
        ("out", tcp + to_dns),
        ("out", destination("127.0.0.0/8") + _return()),
        ("out", destination(subnet) + _return()),
        ("out", tcp + _redirect(port)),
    )
    return Table((Chain("out", HOOK_OUTPUT, _PRIORITY_DSTNAT),), rules)


def gates_table(node_address: str, gates: Mapping[str, str], port: int) -> Table:
    """Where the node proxy's calls to pods of other nodes go: pod network -> address of its node,
    whose proxy takes them at `port`. Only what comes from the address that pods trust, which the
    proxy alone has; all else goes to the pods themselves, where it is nobody's."""
    from_node = _payload(_NETWORK_HEADER, _IPV4_SOURCE_OFFSET, 4)
    from_node += _equals(socket.inet_aton(node_address))
    rules = []
    for text, address in sorted(gates.items()):
        network = ipaddress.IPv4Network(text)
        to_pods = _payload(_NETWORK_HEADER, _IPV4_DESTINATION_OFFSET, 4)
        to_pods += _mask(network.netmask.packed) + _equals(network.network_address.packed)
        tcp = _protocol(socket.IPPROTO_TCP)
        rules.append(("out", tcp + from_node + to_pods + _dnat(address, port)))
    return Table((Chain("out", HOOK_OUTPUT, _PRIORITY_DSTNAT),), tuple(rules))


def _to_network(text: str) -> bytes:
    network = ipaddress.IPv4Network(text)
    to = _payload(_NETWORK_HEADER, _IPV4_DESTINATION_OFFSET, 4)
    return to + _mask(network.netmask.packed) + _equals(network.network_address.packed)


def install(netfilter: Netlink, name: str, table: Table) -> None:
    """Make the table `name`, or replace it, all or nothing. OSError."""
    batch = _Batch(netfilter, table.family)
    batch.add(_NEWTABLE, CREATE, attribute(1, name))
    batch.add(_DELTABLE, 0, attribute(1, name))
    _fill(batch, name, table)
    batch.commit()


def extend(netfilter: Netlink, name: str, table: Table) -> None:
    """The same for these chains only; others of the table stay. OSError."""
    batch = _Batch(netfilter, table.family)
    _fill(batch, name, table)
    batch.commit()


def _fill(batch: "_Batch", name: str, table: Table) -> None:
    named = attribute(1, name)
    batch.add(_NEWTABLE, CREATE, named)
    for chain in table.chains:
        priority = attribute(2, struct.pack(">i", chain.priority))
        device = attribute(3, chain.device) if chain.device else b""
        place = nested(4, attribute(1, _be32(chain.hook)), priority, device)
        kind = attribute(7, chain.kind)
        batch.add(_NEWCHAIN, CREATE, named + attribute(3, chain.name) + place + kind)
        batch.add(_DELRULE, 0, named + attribute(2, chain.name))
    for chain_name, expressions in table.rules:
        rule = named + attribute(2, chain_name) + nested(4, expressions)
        batch.add(_NEWRULE, CREATE | APPEND, rule)


def remove(netfilter: Netlink, name: str, family: int = IPV4) -> None:
    """Delete the table, if it is there. OSError."""
    batch = _Batch(netfilter, family)
    batch.add(_DELTABLE, 0, attribute(1, name))
    with contextlib.suppress(FileNotFoundError):
        batch.commit()


class _Batch:
    """Messages that take effect together, or not at all."""

    def __init__(self, netfilter: Netlink, family: int) -> None:
        self._netfilter = netfilter
        self._family = family
        self._frame = struct.pack(">BBH", 0, 0, 10)
        self._messages = [netfilter.message(_BATCH_BEGIN, 0, self._frame)]

    def add(self, kind: int, flags: int, body: bytes) -> None:
        header = struct.pack(">BBH", self._family, 0, 0)
        self._messages.append(
            self._netfilter.message(_SUBSYSTEM | kind, flags | ACK, header + body)
        )

    def commit(self) -> None:
        end = self._netfilter.message(_BATCH_END, 0, self._frame)
        self._netfilter.talk(*self._messages, end, acknowledgements=len(self._messages) - 1)

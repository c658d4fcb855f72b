"""nf_tables over netlink: the redirect rules of a pod, one atomic batch, no `nft` program."""

import socket
import struct

from weft.node.linux.netlink import ACK, APPEND, CREATE, Netlink, attribute, nested

_SUBSYSTEM = 10 << 8
_BATCH_BEGIN, _BATCH_END = 16, 17
_NEWTABLE, _NEWCHAIN, _NEWRULE = 0, 3, 6
_FAMILY_IPV4 = 2
_HOOK_PREROUTING, _HOOK_OUTPUT = 0, 3
_PRIORITY_DSTNAT = -100
_VERDICT_RETURN = -5
_META_INTERFACE_IN, _META_INTERFACE_OUT, _META_L4_PROTOCOL = 4, 5, 16
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_IPV4_SOURCE_OFFSET, _IPV4_DESTINATION_OFFSET = 12, 16
_DESTINATION_PORT_OFFSET = 2
_LOOPBACK = struct.pack("=I", 1)
_REGISTER_ADDRESS, _REGISTER_PORT = 1, 2
_NAT_DESTINATION = 1

Rule = tuple[str, bytes]
"""Chain name and its encoded expressions."""


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
        attribute(2, _be32(_FAMILY_IPV4)),
        attribute(3, _be32(_REGISTER_ADDRESS)),
        attribute(5, _be32(_REGISTER_PORT)),
    )
    return (
        _immediate(_REGISTER_ADDRESS, socket.inet_aton(address))
        + _immediate(_REGISTER_PORT, struct.pack(">H", port))
        + _expression("nat", *options)
    )


def pod_rules(
    node_address: str, dns_port: int, outbound_port: int, inbound_port: int
) -> tuple[Rule, ...]:
    """What a pod's namespace redirects.

    Out: DNS to the node's server (which sees the pod's address), other TCP to the outbound
    listener. In: TCP to the inbound listener, except from the node's trusted address.
    """
    to_dns = _payload(_TRANSPORT_HEADER, _DESTINATION_PORT_OFFSET, 2)
    to_dns += _equals(struct.pack(">H", 53)) + _dnat(node_address, dns_port)
    to_loopback = _payload(_NETWORK_HEADER, _IPV4_DESTINATION_OFFSET, 1) + _equals(b"\x7f")
    from_node = _payload(_NETWORK_HEADER, _IPV4_SOURCE_OFFSET, 4)
    from_node += _equals(socket.inet_aton(node_address))
    tcp, udp = _protocol(socket.IPPROTO_TCP), _protocol(socket.IPPROTO_UDP)
    return (
        ("out", _meta(_META_INTERFACE_OUT) + _equals(_LOOPBACK) + _return()),
        ("out", to_loopback + _return()),
        ("out", udp + to_dns),
        ("out", tcp + to_dns),
        ("out", tcp + _redirect(outbound_port)),
        ("in", _meta(_META_INTERFACE_IN) + _equals(_LOOPBACK) + _return()),
        ("in", from_node + _return()),
        ("in", tcp + _redirect(inbound_port)),
    )


def install(netfilter: Netlink, table: str, rules: tuple[Rule, ...]) -> None:
    """Make `table` (IPv4, chains `out` and `in`) with `rules`, all or nothing. OSError."""
    header = struct.pack(">BBH", _FAMILY_IPV4, 0, 0)
    batch = struct.pack(">BBH", 0, 0, 10)
    messages = [netfilter.message(_BATCH_BEGIN, 0, batch)]

    def add(kind: int, flags: int, body: bytes) -> None:
        messages.append(netfilter.message(_SUBSYSTEM | kind, flags | ACK, header + body))

    add(_NEWTABLE, CREATE, attribute(1, table))
    kind = attribute(7, "nat")
    for chain, hook in (("out", _HOOK_OUTPUT), ("in", _HOOK_PREROUTING)):
        place = nested(
            4, attribute(1, _be32(hook)), attribute(2, struct.pack(">i", _PRIORITY_DSTNAT))
        )
        add(_NEWCHAIN, CREATE, attribute(1, table) + attribute(3, chain) + place + kind)
    for chain, expressions in rules:
        add(
            _NEWRULE,
            CREATE | APPEND,
            attribute(1, table) + attribute(2, chain) + nested(4, expressions),
        )
    messages.append(netfilter.message(_BATCH_END, 0, batch))
    netfilter.talk(*messages, acknowledgements=len(messages) - 2)

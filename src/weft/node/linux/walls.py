"""NetworkPolicies, and what other policies mean for datagrams, as rules of nf_tables in a pod's
network.

The chains run before those that redirect, so they see where a connection was going, and who it came
from. What was let through when it began passes to its end; datagrams that only a proxy may bring
are looked at one by one, for they have no end.
"""

import socket
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from weft.api.vip import VIP_NETWORK
from weft.mesh.model.walls import ANY_ADDRESS, PORT_MAX, Gap, Walls
from weft.node.linux import nft
from weft.node.linux.nft import Chain, Rule, Table

TABLE = "walls"
PRIORITY = -150
"""After connections are tracked (-200), before addresses are changed (-100)."""
RULES_MAX = 8192
"""Of one pod; one with more lets nothing through that is not the mesh's."""
_PROTOCOLS = {"TCP": socket.IPPROTO_TCP, "UDP": socket.IPPROTO_UDP, "SCTP": socket.IPPROTO_SCTP}


def walls_table(walls: Walls, services: str) -> Table:
    """`services` is the network of service addresses: calls there are the mesh's, and judged by
    where they lead."""
    out, into = list(_out(walls, services)), list(_into(walls))
    if len(out) + len(into) > RULES_MAX:
        shut = replace(walls, ingress=(), egress=(), closed=())
        out, into = list(_out(shut, services)), list(_into(shut))
    chains = (
        Chain("out", nft.HOOK_OUTPUT, PRIORITY, "filter"),
        Chain("in", nft.HOOK_PREROUTING, PRIORITY, "filter"),
    )
    rules: list[Rule] = [("out", rule) for rule in out]
    rules += [("in", rule) for rule in into]
    return Table(chains, tuple(rules))


def _out(walls: Walls, services: str) -> Iterator[bytes]:
    if walls.egress is None and not walls.closed:
        return
    yield nft.goes_to_loopback() + nft.give_back()
    yield nft.established() + nft.give_back()
    for network in (services, str(VIP_NETWORK), *_hosts(walls.proxies)):
        yield nft.destination(network) + nft.give_back()
    for gap in walls.closed:
        for rule in _matches(gap, nft.destination):
            yield rule + nft.drop()
    if walls.egress is not None:
        yield from _only(walls.egress, outward=True)


def _into(walls: Walls) -> Iterator[bytes]:
    if walls.ingress is None and not walls.judged_udp:
        return
    yield nft.comes_from_loopback() + nft.give_back()
    if walls.judged_udp:
        for network in _hosts(walls.judges):
            yield nft.source(network) + nft.give_back()
        # Not what answers the pod.
        datagram = nft.protocol(socket.IPPROTO_UDP) + nft.asks()
        for first, last in walls.judged_udp:
            ports = nft.destination_port(first, last) if (first, last) != (1, PORT_MAX) else b""
            yield datagram + ports + nft.drop()
    if walls.ingress is None:
        return
    yield nft.established() + nft.give_back()
    for network in _hosts(walls.proxies):
        yield nft.source(network) + nft.give_back()
    yield from _only(walls.ingress, outward=False)


def _hosts(addresses: Iterable[str]) -> Iterator[str]:
    return (f"{address}/32" for address in addresses)


def _only(gaps: Iterable[Gap], *, outward: bool) -> Iterator[bytes]:
    """What passes, then the end of all else that has ports."""
    for gap in gaps:
        for rule in _matches(gap, nft.destination if outward else nft.source):
            yield rule + nft.give_back()
    for number in _PROTOCOLS.values():
        yield nft.protocol(number) + nft.drop()


def _matches(gap: Gap, end: "nft.Match") -> Iterator[bytes]:
    """A rule for each block of addresses."""
    what = b""
    if gap.protocol:
        what += nft.protocol(_PROTOCOLS[gap.protocol])
    if (gap.first, gap.last) != (1, PORT_MAX):
        what += nft.destination_port(gap.first, gap.last)
    for network in gap.networks:
        yield what + (b"" if network == ANY_ADDRESS else end(network))

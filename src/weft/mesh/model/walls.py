"""What the kernel holds of policies: which packets may reach a pod and leave it."""

from msgspec import Struct

PORT_MAX = 65535
ANY_ADDRESS = "0.0.0.0/0"


class Gap(Struct, frozen=True, gc=False):
    """Something that passes: between the pod and these addresses, to these ports."""

    networks: tuple[str, ...]
    """CIDR blocks; ANY_ADDRESS is everybody."""
    protocol: str = ""
    """TCP, UDP, SCTP; empty is each of them."""
    first: int = 1
    last: int = PORT_MAX
    edge: bool = False
    """What enters through the mesh's gateways passes, too."""


class Walls(Struct, frozen=True, gc=False):
    """What holds for a pod. None: everything passes in this direction."""

    ingress: tuple[Gap, ...] | None = None
    egress: tuple[Gap, ...] | None = None
    closed: tuple[Gap, ...] = ()
    """Connections that pods at the other end do not take from this one. Their own walls would not
    see who calls: what the mesh does not know comes to them from the node's proxy."""
    proxies: tuple[str, ...] = ()
    """Addresses of nodes' proxies, whose calls have been judged."""
    judged_udp: tuple[tuple[int, int], ...] = ()
    """Ports, from and to, whose datagrams come from a proxy that judged the caller, or not at all:
    policies let in nobody whose identity is unknown."""
    judges: tuple[str, ...] = ()
    """Those of `proxies` that judge the callers of what they send from there."""

"""Ports of the node that are chosen for the proxy, held until they are given up.

A moment passes between the choice of a port and the proxy's listening there. Another weft on the
machine would find it free meanwhile, and one of both proxies could never have it.
"""

import socket
import sys
from collections.abc import Iterable

Claim = tuple[str, int, str]
"""(address, port, `tcp` or `udp`)"""


class PortClaims:
    """Claims are abstract sockets: they are of this network namespace, and end with the process.
    Only Linux has them; elsewhere nothing is claimed."""

    def __init__(self) -> None:
        self._held: dict[Claim, socket.socket] = {}

    def take(self, address: str, port: int, transport: str) -> bool:
        """Claim a port; whether nobody else has."""
        claim = (address, port, transport)
        if claim in self._held or sys.platform != "linux":
            return True
        held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            held.bind(f"\0weft-port/{transport}/{address}/{port}")
        except OSError:
            held.close()
            return False
        self._held[claim] = held
        return True

    def keep(self, wanted: Iterable[Claim]) -> None:
        """Hold these, as far as nobody else does, and give up all others."""
        kept = set(wanted)
        for claim in self._held.keys() - kept:
            self._held.pop(claim).close()
        for claim in kept:
            self.take(*claim)

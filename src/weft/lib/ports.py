"""Ports that an ordinary user may not bind, and where they move. Pure."""

from collections.abc import Iterable

PORT_OFFSET = 8000
"""Where a port moves that cannot be bound: 80 to 8080."""


def bindable_ports(ports: Iterable[int], first: int) -> dict[int, int]:
    """Each port of one address, and where it is bound when ports below `first` may not be: itself,
    else 8000 more, else the next that no other one takes."""
    wanted = sorted(set(ports))
    bound = {port: port for port in wanted if port >= first}
    for port in wanted:
        if port < first:
            taken = set(bound.values())
            moved = max(port + PORT_OFFSET, first)
            while moved in taken:
                moved += 1
            bound[port] = moved
    return bound

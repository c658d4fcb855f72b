"""Undeclared ports: what is learned about them from the servers behind them.

A port without a declared protocol is looked into on each connection: one that begins like HTTP is
HTTP. A server that speaks first would wait for a client that waits for it, until the proxy gives up
looking. weft has both ends, so it listens to the servers: when all that serve a port speak first,
and neither HTTP/1 nor HTTP/2, the port is pinned as bytes and no longer looked into. Nothing else
is pinned: HTTP may come late, and looking for it costs a client that speaks first nothing.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

from weft.api.k8s.core_v1 import Service
from weft.api.wellknown import ANNOTATION_LEARNED_PROTOCOLS
from weft.mesh.model import Destination
from weft.mesh.names import destination_name, service_host
from weft.mesh.protocols import undeclared

Observation = Literal["speaks", "silent"]
"""Whether a server said anything of its own accord that is not HTTP."""
Place = tuple[str, str, int]
"""An endpoint: its pod's uid, address, port."""
SETTINGS_FRAME = 4
FRAME_HEADER_BYTES = 9


class Port(Struct, frozen=True):
    """A port of a service that declares no protocol, and who serves it now."""

    service: Service
    number: int
    places: tuple[Place, ...]


def observed(first: bytes) -> Observation:
    """What a server's first bytes say; none are silence."""
    if not first or first.startswith(b"HTTP/") or _is_http2(first):
        return "silent"
    return "speaks"


def _is_http2(first: bytes) -> bool:
    """Servers of HTTP/2 may send their settings before the client's preface has come."""
    return (
        len(first) >= FRAME_HEADER_BYTES
        and first[3] == SETTINGS_FRAME
        and int.from_bytes(first[:3], "big") % 6 == 0
        and first[5:9] == b"\0\0\0\0"
    )


def undeclared_ports(
    services: Iterable[Service], destinations: Iterable[Destination]
) -> tuple[Port, ...]:
    """All ports whose protocol is to be learned, with their healthy endpoints that are pods."""
    by_name = {d.name: d for d in destinations}
    found = []
    for service in services:
        host = service_host(service.metadata.name, service.metadata.namespace)
        for port in service.spec.ports:
            destination = by_name.get(destination_name(port.port or 0, host))
            words = (port.name, port.app_protocol, port.protocol, port.port or 0)
            if destination is not None and undeclared(*words):
                places = tuple(
                    (e.pod_uid, e.address, e.port)
                    for e in destination.endpoints
                    if e.pod_uid and e.health == "HEALTHY" and not e.fallback
                )
                found.append(Port(service, port.port or 0, places))
    return tuple(found)


def learned(service: Service) -> Mapping[int, str]:
    """The ports that are pinned, with their protocols; unreadable annotations pin nothing."""
    text = service.metadata.annotations.get(ANNOTATION_LEARNED_PROTOCOLS, "")
    try:
        found = json.loads(text) if text else {}
        return {int(port): str(name) for port, name in found.items() if name == "tcp"}
    except (ValueError, AttributeError, RecursionError):
        return {}


def conclusion(
    port: Port, known: Mapping[Place, Observation], before: Mapping[int, str]
) -> str | None:
    """`tcp` when every server of the port speaks first, None when one does not. While servers are
    not yet known, or there are none, what was learned before holds."""
    seen = [known[place] for place in port.places if place in known]
    if "silent" in seen:
        return None
    if len(seen) < len(port.places) or not seen:
        return before.get(port.number)
    return "tcp"


def annotation(pinned: Mapping[int, str]) -> str | None:
    """The annotation's value; None when there is nothing to say."""
    if not pinned:
        return None
    return json.dumps({str(port): pinned[port] for port in sorted(pinned)})

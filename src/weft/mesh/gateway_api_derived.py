"""Destinations made of others: with other TLS, or of several with weights."""

import math
from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from weft.mesh.gateway_api_objects import Derived
from weft.mesh.model import NOWHERE, AppProtocol, Destination, Endpoint, LoadBalancer

DISCARD = Endpoint(address="127.0.0.1", port=9)
"""Where the share of back ends that cannot be resolved goes: nobody listens there."""
ENDPOINT_WEIGHT_MAX = 2**31 - 1
BY_CHANCE = LoadBalancer(algorithm="round_robin")


def derived_destinations(
    wanted: tuple[Derived, ...], destinations: tuple[Destination, ...]
) -> tuple[Destination, ...]:
    """All of them, with the endpoints that their parts have now."""
    if not wanted:
        return ()
    known = {d.name: d for d in destinations}
    return tuple(_derived(each, known) for each in wanted)


def _derived(wanted: Derived, known: Mapping[str, Destination]) -> Destination:
    name, weight = wanted.parts[0]
    base = known.get(name)
    if len(wanted.parts) == 1 and weight and base is not None:
        source = ", ".join(s for s in (base.source, wanted.source) if s)
        protocol = _protocol(base.protocol, wanted.streams)
        return replace(base, name=wanted.name, tls=wanted.tls, protocol=protocol, source=source)
    endpoints = tuple(_blended((known.get(part), weight) for part, weight in wanted.parts))
    port = next((known[n].port for n, _ in wanted.parts if n != NOWHERE and n in known), 0)
    return Destination(
        name=wanted.name, host=wanted.name, port=port, protocol="udp", endpoints=endpoints,
        load_balancer=BY_CHANCE, source=wanted.source,
    )  # fmt: skip


def _protocol(declared: AppProtocol, streams: bool) -> AppProtocol:
    """Inside TLS nothing can be found out, so what is not declared speaks HTTP/1.1."""
    if streams:
        return "tcp"
    return declared if declared in ("http2", "grpc") else "http"


def _blended(parts: Iterable[tuple[Destination | None, int]]) -> Iterable[Endpoint]:
    """Endpoints weighted so that each part gets its share, however many it has. Parts without
    endpoints lose theirs to nobody: their share is dropped."""
    found = [(part.endpoints if part and part.endpoints else (DISCARD,), w) for part, w in parts]
    common = math.lcm(*(len(endpoints) for endpoints, _ in found))
    weights = [weight * common // len(endpoints) for endpoints, weight in found]
    scale = max(1, math.ceil(max(weights, default=1) / ENDPOINT_WEIGHT_MAX))
    made: dict[tuple[str, int], Endpoint] = {}
    for (endpoints, _), weight in zip(found, weights, strict=True):
        for each in endpoints:
            before = made.get((each.address, each.port))
            sum_ = max(weight // scale, 1) + (before.weight if before else 0)
            made[each.address, each.port] = replace(each, weight=sum_)
    return made.values()

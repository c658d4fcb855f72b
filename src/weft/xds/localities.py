"""Which endpoints a node prefers by where they are: groups with priorities and weights.

A locality is written `region/zone/subzone`. The caller's place is that of the node, whose proxy
serves all callers on it.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from weft.mesh.model import Endpoint, LocalityPolicy, NodeSettings

ANY = "*"
REGION_LABEL = "topology.kubernetes.io/region"
ZONE_LABEL = "topology.kubernetes.io/zone"
SUBZONE_LABEL = "topology.istio.io/subzone"
HOSTNAME_LABEL = "kubernetes.io/hostname"
PLACES = (REGION_LABEL, ZONE_LABEL, SUBZONE_LABEL)
_SAME_REGION = 2
_OTHER_REGION = 3
"""Levels of nearness: 0 the same subzone, 1 the same zone, 2 the same region."""


class Group(Struct, frozen=True):
    """Endpoints of one locality. Those of priority 0 get the traffic while enough are healthy."""

    locality: str
    endpoints: tuple[Endpoint, ...]
    priority: int = 0
    weight: int = 0
    """Share of the traffic of its priority; 0 is as many as it has endpoints."""


def groups(
    endpoints: Iterable[Endpoint], policy: LocalityPolicy | None, node: NodeSettings
) -> tuple[Group, ...]:
    """All endpoints in groups, in order of priority and locality. Shares of traffic that the
    policy gives to no locality with endpoints are shared by the others. Endpoints that take over
    come last."""
    found = list(endpoints)
    first = _first_choice([e for e in found if not e.fallback], policy, node)
    made = list(first)
    for rank in sorted({e.fallback for e in found if e.fallback}):
        priority = max((g.priority for g in made), default=-1) + 1
        for group in _by_place([e for e in found if e.fallback == rank], node):
            weight = len(group.endpoints) if any(g.weight for g in first) else 0
            made.append(Group(group.locality, group.endpoints, priority, weight))
    return tuple(made)


def _by_place(endpoints: Iterable[Endpoint], node: NodeSettings) -> list[Group]:
    places = dict(node.localities)
    by_place: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        place = endpoint.locality or places.get(endpoint.node, "")
        by_place.setdefault(place, []).append(endpoint)
    return [Group(place, tuple(by_place[place])) for place in sorted(by_place)]


def _first_choice(
    endpoints: Iterable[Endpoint], policy: LocalityPolicy | None, node: NodeSettings
) -> tuple[Group, ...]:
    """The endpoints of the destination's own."""
    plain = _by_place(endpoints, node)
    by_node = policy is not None and HOSTNAME_LABEL in dict(policy.labels)
    if policy is None or not (node.locality or by_node):
        return tuple(plain)
    if policy.zone_aware:
        return _by_zone(plain, policy, node)
    rule = next((r for r in policy.distribute if covers(r.origin, node.locality)), None)
    if rule is not None:
        shared = _distributed(plain, dict(rule.shares))
        return tuple(shared) or tuple(plain)
    if policy.distribute or not policy.failover_enabled:
        return tuple(plain)
    if policy.labels:
        return _ranked(_by_labels(plain, policy.labels, node))
    failover = dict(policy.failover)
    return _ranked([(_distance(g.locality, node.locality, failover), g) for g in plain])


def _by_zone(plain: list[Group], policy: LocalityPolicy, node: NodeSettings) -> tuple[Group, ...]:
    """The caller's region first, its endpoints weighted by zone; other regions take over."""
    failover = dict(policy.failover)
    ranked = [
        ((rank, max(_distance(g.locality, node.locality, failover), _SAME_REGION)), g)
        for rank, g in (
            _by_labels(plain, policy.labels, node) if policy.labels else [(0, g) for g in plain]
        )
    ]
    made: list[Group] = []
    for rank in sorted({rank for rank, _ in ranked}):
        tier = sorted((g for own, g in ranked if own == rank), key=lambda g: g.locality)
        shares = _zone_shares(tier, policy, node) if rank[1] == _SAME_REGION else {}
        weighted = {g.locality: _zone_weight(g, tier, shares) for g in tier}
        # Zones without a share take over when those that have one fail.
        for found in (
            [g for g in tier if weighted[g.locality]],
            [g for g in tier if not weighted[g.locality]],
        ):
            priority = max((g.priority for g in made), default=-1) + 1
            made += [
                Group(
                    g.locality,
                    g.endpoints,
                    priority,
                    weighted[g.locality] or len(g.endpoints) * _SCALE,
                )
                for g in found
            ]
    return tuple(made)


def _zone_weight(group: Group, tier: list[Group], shares: Mapping[str, float]) -> int:
    if not shares:
        return len(group.endpoints) * _SCALE
    zone = _zone(group.locality)
    total = sum(len(g.endpoints) for g in tier if _zone(g.locality) == zone)
    return round(shares.get(zone, 0.0) * 100 * _SCALE * len(group.endpoints) / total)


def _zone_shares(tier: list[Group], policy: LocalityPolicy, node: NodeSettings) -> dict[str, float]:
    """Zone -> its part of the calls; empty where zones do not matter. A zone keeps as many calls as
    its endpoints' share lets it; the rest goes where endpoints are left over. As in Envoy, whose
    own way needs all callers of a service in one cluster."""
    count = sum(len(g.endpoints) for g in tier)
    zones = {_zone(g.locality) for g in tier}
    own = _zone(node.locality)
    healthy = any(
        e.health == "HEALTHY" for g in tier if _zone(g.locality) == own for e in g.endpoints
    )
    if len(zones) < 2 or count < policy.zone_aware_endpoints_min or not healthy:
        return {}
    region = node.locality.partition("/")[0]
    callers = [_zone(p) for _, p in node.localities if p.partition("/")[0] == region] or [own]
    served = {
        z: sum(len(g.endpoints) for g in tier if _zone(g.locality) == z) / count for z in zones
    }
    wanted = {z: callers.count(z) / len(callers) for z in {*zones, own}}
    if served[own] >= wanted[own]:
        return {own: 1.0}
    left = {z: max(served[z] - wanted[z], 0.0) for z in zones}
    kept, spare = served[own] / wanted[own], sum(left.values())
    shares = {z: (1 - kept) * part / spare for z, part in left.items() if part} if spare else {}
    return {own: kept if shares else 1.0, **shares}


def _zone(locality: str) -> str:
    return "/".join(locality.split("/")[:2])


def covers(pattern: str, locality: str) -> bool:
    """Whether `region/zone/*` or `region` or `*` covers a locality."""
    wanted = [part for part in pattern.split("/") if part]
    have = [*locality.split("/"), "", ""]
    return all(w in (ANY, h) for w, h in zip(wanted, have, strict=False))


def _distributed(plain: list[Group], shares: Mapping[str, int]) -> list[Group]:
    """Each share goes to the endpoints that it covers, a narrower one first."""
    made = []
    left = list(plain)
    for pattern in sorted(shares, key=lambda p: (p.count(ANY), -p.count("/"), p)):
        found = [g for g in left if covers(pattern, g.locality)]
        left = [g for g in left if g not in found]
        total = sum(len(g.endpoints) for g in found)
        for group in found:
            weight = round(shares[pattern] * _SCALE * len(group.endpoints) / total)
            if weight:
                made.append(Group(group.locality, group.endpoints, 0, weight))
    return sorted(made, key=lambda g: g.locality)


_SCALE = 1000
"""Weights are in thousandths of a percent, so that parts of a share stay exact enough."""


def _distance(place: str, own: str, failover: Mapping[str, str]) -> int:
    region, zone, subzone = [*place.split("/"), "", ""][:3]
    own_region, own_zone, own_subzone = [*own.split("/"), "", ""][:3]
    if region != own_region:
        if own_region not in failover:
            return _OTHER_REGION
        return _OTHER_REGION if failover[own_region] == region else _OTHER_REGION + 1
    if zone != own_zone:
        return 2
    return 0 if subzone == own_subzone else 1


def _by_labels(
    plain: list[Group], labels: tuple[tuple[str, str], ...], node: NodeSettings
) -> list[tuple[int, Group]]:
    """The more of the labels agree from the first on, the nearer."""
    ranked: dict[tuple[int, str], list[Endpoint]] = {}
    for group in plain:
        for endpoint in group.endpoints:
            equal = 0
            for name, value in labels:
                if _label(endpoint, group.locality, name) != (value or _own(node, name)):
                    break
                equal += 1
            ranked.setdefault((len(labels) - equal, group.locality), []).append(endpoint)
    return [(rank, Group(place, tuple(found))) for (rank, place), found in ranked.items()]


def _label(endpoint: Endpoint, locality: str, name: str) -> str:
    if name in PLACES:
        return [*locality.split("/"), "", ""][PLACES.index(name)]
    if name == HOSTNAME_LABEL:
        return endpoint.node
    return dict(endpoint.labels).get(name, "")


def _own(node: NodeSettings, name: str) -> str:
    if name in PLACES:
        return [*node.locality.split("/"), "", ""][PLACES.index(name)]
    return node.name if name == HOSTNAME_LABEL else ""


def _ranked(found: list[tuple[int, Group]]) -> tuple[Group, ...]:
    """Priorities without gaps, as Envoy wants them."""
    ranks = sorted({rank for rank, _ in found})
    ordered = sorted(found, key=lambda pair: (pair[0], pair[1].locality))
    return tuple(
        Group(group.locality, group.endpoints, ranks.index(rank)) for rank, group in ordered
    )

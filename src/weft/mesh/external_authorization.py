"""Policies of action CUSTOM: which requests an external service is asked about.

It is asked before the endpoint is chosen. So it is asked about what one of the endpoints wants it
to be asked about, and where a condition on the endpoint holds for one of them, it holds.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from weft.mesh.access import endpoint_holds
from weft.mesh.model import AccessCondition, AccessPolicy, AccessRule, Destination, Endpoint

_Alternative = tuple[AccessCondition, ...]
_OF_ENDPOINTS = ("port", "destination_ip")


def with_asked(destination: Destination) -> Destination:
    """A destination that says which requests somebody is asked about."""
    asked = asked_about(destination) if destination.access else ()
    return replace(destination, asked=asked) if asked else destination


def asked_about(destination: Destination) -> tuple[AccessPolicy, ...]:
    """The policies of a destination's endpoints that ask somebody or leave marks in the access
    log, without conditions on the endpoint."""
    found: dict[AccessPolicy, None] = {}
    for group in destination.access:
        custom = [p for p in group.policies if _early(p)]
        if not custom:
            continue
        places = frozenset(group.endpoints)
        endpoints = tuple(
            e
            for e in destination.endpoints
            if not places or not {(e.address, e.port), (e.address, 0)}.isdisjoint(places)
        )
        found |= dict.fromkeys(_resolved(policy, endpoints) for policy in custom)
    return tuple(policy for policy in found if policy.rules)


def _early(policy: AccessPolicy) -> bool:
    """Whether it is looked at before an endpoint is chosen: it asks somebody, or leaves a mark."""
    return policy.action in ("custom", "audit") or (policy.dry_run and policy.action == "deny")


def _resolved(policy: AccessPolicy, endpoints: tuple[Endpoint, ...]) -> AccessPolicy:
    rules = (_rule(rule, endpoints) for rule in policy.rules)
    return replace(policy, rules=tuple(rule for rule in rules if rule is not None))


def _rule(rule: AccessRule, endpoints: tuple[Endpoint, ...]) -> AccessRule | None:
    """None when it holds for no endpoint."""
    groups = tuple(tuple(_kept(group, endpoints)) for group in rule.groups)
    return AccessRule(groups) if all(groups) else None


def _kept(group: Iterable[_Alternative], endpoints: tuple[Endpoint, ...]) -> Iterable[_Alternative]:
    for alternative in group:
        fixed = [c for c in alternative if c.kind in _OF_ENDPOINTS]
        if all(not endpoints or any(endpoint_holds(c, e) for e in endpoints) for c in fixed):
            yield tuple(c for c in alternative if c.kind not in _OF_ENDPOINTS)

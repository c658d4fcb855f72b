"""Which requests somebody is asked about, before it is known which endpoint gets them."""

import pytest

from weft.mesh.external_authorization import asked_about
from weft.mesh.model import (
    Access,
    AccessCondition,
    AccessPolicy,
    AccessRule,
    Destination,
    Endpoint,
)
from weft.mesh.model import StringMatch as Text

PATH = AccessCondition("path", texts=(Text("exact", "/a"),))
ENDPOINTS = (Endpoint("10.0.0.1", 80), Endpoint("10.0.0.2", 81))


def port(*ports: int, negated: bool = False) -> AccessCondition:
    return AccessCondition("port", ports=ports, negated=negated)


def asked(*conditions: AccessCondition, places: tuple[tuple[str, int], ...] = ()) -> list[object]:
    policy = AccessPolicy("n/p", "custom", (AccessRule(((conditions,),)),), provider="x")
    access = (Access((policy, AccessPolicy("n/q", "deny")), places),)
    found = asked_about(Destination("d", "d", 80, "http", endpoints=ENDPOINTS, access=access))
    return [rule.groups[0][0] for policy in found for rule in policy.rules]


@pytest.mark.parametrize(
    ("conditions", "places", "wanted"),
    [
        ((PATH,), (), [(PATH,)]),
        ((PATH, port(80)), (), [(PATH,)]),
        ((port(81),), (), [()]),
        ((port(82),), (), []),
        ((port(80, 81, negated=True),), (), []),
        ((port(80, negated=True),), (), [()]),
        # The policy is for one endpoint, which has another port.
        ((port(81),), (("10.0.0.1", 0),), []),
        ((port(80),), (("10.0.0.1", 80),), [()]),
        ((AccessCondition("destination_ip", networks=("10.0.0.2",)),), (), [()]),
        ((AccessCondition("destination_ip", networks=("10.0.0.3",)),), (), []),
    ],
)
def test_conditions_on_endpoints_hold_when_they_do_for_one(
    conditions: tuple[AccessCondition, ...],
    places: tuple[tuple[str, int], ...],
    wanted: list[object],
) -> None:
    assert asked(*conditions, places=places) == wanted


def test_a_policy_on_trial_asks_nobody_and_an_audit_is_looked_at() -> None:
    policies = (
        AccessPolicy("n/a", "custom", (AccessRule(),), dry_run=True, provider="x"),
        AccessPolicy("n/b", "audit", (AccessRule(),)),
        AccessPolicy("n/c", "allow", (AccessRule(),)),
    )
    one = Destination("d", "d", 80, "http", endpoints=ENDPOINTS, access=(Access(policies),))
    assert [(p.name, p.dry_run) for p in asked_about(one)] == [("n/a", True), ("n/b", False)]

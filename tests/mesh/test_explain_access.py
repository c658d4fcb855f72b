"""Policies are judged as the proxy does; what only a token says stays open."""

from typing import Literal

import pytest
from msgspec.structs import replace

from weft.mesh.explain.access import Arrival, Verdict, judge, policies_for
from weft.mesh.model import Access, AccessCondition, AccessPolicy, AccessRule, StringMatch

pytest.importorskip("re2", reason="installed with weft")

FRONT = Arrival(
    principal="spiffe://cluster.local/ns/default/sa/front",
    source="10.0.0.1",
    host="Web:8080",
    method="GET",
    path="/api/x?y",
    headers={"x-user": "ann"},
    address="10.0.0.9",
    port=8080,
)


def condition(kind: str, *values: str, negated: bool = False, name: str = "") -> AccessCondition:
    networks = ("source_ip", "destination_ip")
    return AccessCondition(
        kind,  # type: ignore[arg-type]
        name=name,
        texts=tuple(StringMatch("exact", v) for v in values) if kind not in networks else (),
        networks=values if kind in networks else (),
        ports=tuple(int(v) for v in values) if kind == "port" else (),
        negated=negated,
    )


def policy(action: str, *conditions: AccessCondition, dry_run: bool = False) -> AccessPolicy:
    rule = AccessRule(tuple(((c,),) for c in conditions))
    return AccessPolicy("default/p", action, (rule,), dry_run)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "held"),
    [
        (condition("principal", "cluster.local/ns/default/sa/front"), True),
        (condition("principal", "cluster.local/ns/default/sa/front", negated=True), False),
        (condition("source_ip", "10.0.0.0/24"), True),
        (condition("destination_ip", "10.0.1.0/24"), False),
        (condition("host", "web"), True),
        (condition("method", "POST"), False),
        (condition("path", "/api/x"), True),
        (condition("port", "8080"), True),
        (condition("header", "ann", name="X-User"), True),
        (condition("header", "ann", name="x-other"), False),
        (condition("header", "ann", name="x-other", negated=True), True),
        (condition("claim", "a"), False),
    ],
)
def test_conditions(one: AccessCondition, held: bool) -> None:
    assert judge((policy("deny", one),), FRONT).allowed is not held
    assert judge((policy("allow", one),), FRONT).allowed is held


@pytest.mark.parametrize(
    "path", ["/admin", "/%61dmin", "/ADMIN/", "//admin", "/admin;x", "/x%2f..%2fadmin"]
)
def test_no_way_of_writing_a_path_evades_a_denial(path: str) -> None:
    denial = policy("deny", condition("path", "/admin"))
    assert judge((denial,), replace(FRONT, path=path)).allowed is False
    permission = policy("allow", condition("path", "/admin"))
    allowed = judge((permission,), replace(FRONT, path=path)).allowed
    assert allowed is (path == "/admin"), "what is in doubt is not let through"


def test_a_token_may_say_anything() -> None:
    bearing = Arrival(principal="a", headers={"authorization": "Bearer x"})
    found = judge((policy("allow", condition("claim", "a")),), bearing)
    assert found == Verdict(None, "AuthorizationPolicy default/p allows some tokens only")


def test_policies_on_trial_refuse_nothing() -> None:
    assert judge((policy("deny", dry_run=True),), FRONT) == Verdict(True)


def test_an_allow_policy_without_rules_lets_nobody_in() -> None:
    found = judge((AccessPolicy("default/p", "allow"),), FRONT)
    assert found == Verdict(False, "no rule of AuthorizationPolicy default/p allows it")


def test_endpoints_have_the_policies_of_their_pods() -> None:
    access = (Access((policy("deny"),), (("10.0.0.9", 0), ("10.0.0.8", 80))),)
    assert policies_for(access, "10.0.0.9", 8080)
    assert policies_for(access, "10.0.0.8", 80)
    assert not policies_for(access, "10.0.0.8", 8080)
    assert not policies_for(access, "10.0.0.7", 80)


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("deny", "AuthorizationPolicy default/p (spec.rules[1]) denies it"),
        ("custom", "AuthorizationPolicy default/p (spec.rules[1]) asks `them`"),
        ("allow", "AuthorizationPolicy default/p (spec.rules[1]) allows it"),
    ],
)
def test_the_rule_is_named_where_there_are_several(
    action: Literal["allow", "deny", "custom"], said: str
) -> None:
    other = AccessRule((((condition("method", "NONE"),),),))
    rules = (other, AccessRule(), other)
    assert judge((AccessPolicy("default/p", action, rules, provider="them"),), FRONT).reason == said

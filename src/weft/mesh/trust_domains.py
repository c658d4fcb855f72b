"""Trust domain aliases: policies that name one of the mesh's trust domains mean all of them.

So a mesh can change its trust domain while some workloads still have certificates of the old one.
`cluster.local` in a policy stands for the mesh's own, as with Istio.
"""

from msgspec.structs import replace

from weft.api.wellknown import TRUST_DOMAIN_DEFAULT
from weft.mesh.authorization import AccessPolicies
from weft.mesh.model import AccessCondition, AccessPolicy, AccessRule, StringMatch


def with_aliases(policies: AccessPolicies, domains: tuple[str, ...]) -> AccessPolicies:
    """The policies with every spelling of the principals that they name. `domains`: the mesh's own
    trust domain, then its aliases."""
    if domains == (TRUST_DOMAIN_DEFAULT,):
        return policies
    return AccessPolicies(
        tuple(replace(s, policy=_policy(s.policy, domains)) for s in policies.selected)
    )


def _policy(policy: AccessPolicy, domains: tuple[str, ...]) -> AccessPolicy:
    rules = tuple(
        AccessRule(
            tuple(
                tuple(tuple(_condition(c, domains) for c in part) for part in group)
                for group in rule.groups
            )
        )
        for rule in policy.rules
    )
    return policy if rules == policy.rules else replace(policy, rules=rules)


def _condition(condition: AccessCondition, domains: tuple[str, ...]) -> AccessCondition:
    if condition.kind != "principal":
        return condition
    texts = dict.fromkeys(s for text in condition.texts for s in _spellings(text, domains))
    return replace(condition, texts=tuple(texts))


def _spellings(text: StringMatch, domains: tuple[str, ...]) -> tuple[StringMatch, ...]:
    domain, slash, rest = text.value.partition("/")
    named = text.kind in ("exact", "prefix") and bool(slash)
    if not named or domain not in (*domains, TRUST_DOMAIN_DEFAULT):
        return (text,)
    return tuple(replace(text, value=f"{each}/{rest}") for each in domains)

"""ClusterRoles that are put together from others, chosen by labels (`aggregationRule`)."""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from weft.api.k8s.rbac_v1 import ClusterRole, PolicyRule
from weft.api.selectors import matches_selector
from weft.api.snapshot import Snapshot, meta
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Key, Patch, Plan


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Write the rules of all chosen roles, in the order of their names, each once."""
    role = snapshot.get(ClusterRole, key.name)
    if role is None or role.aggregation_rule is None or role.metadata.deletion_timestamp:
        return NOTHING
    rules = aggregated(snapshot.list(ClusterRole), role)
    if rules == role.rules:
        return NOTHING
    body = {"rules": msgspec.to_builtins(rules)}
    return Plan((Patch(ClusterRole, "", key.name, body),))


def aggregated(roles: Iterable[ClusterRole], into: ClusterRole) -> tuple[PolicyRule, ...]:
    """The rules that `into` ought to have."""
    selectors = into.aggregation_rule.cluster_role_selectors if into.aggregation_rule else ()
    found: list[PolicyRule] = []
    for role in sorted(roles, key=lambda r: r.metadata.name):
        if role.metadata.name == into.metadata.name:
            continue
        if any(matches_selector(s, role.metadata.labels) for s in selectors):
            found += [rule for rule in role.rules if rule not in found]
    return tuple(found)


def _aggregates(changed: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """A role that changed may count towards any that is put together."""
    return [
        Key("", role.metadata.name)
        for role in snapshot.list(ClusterRole)
        if role.aggregation_rule is not None and role.metadata.name != meta(changed).name
    ]


CONTROLLER = Controller(
    name="clusterrole-aggregation",
    primary=ClusterRole,
    plan=plan,
    watches=(Watch(ClusterRole, _aggregates),),
)

"""ClusterRoles put together from others."""

from weft.api.k8s.meta_v1 import LabelSelector, ObjectMeta
from weft.api.k8s.rbac_v1 import AggregationRule, ClusterRole, PolicyRule
from weft.api.objects import decode
from weft.apiserver import default_roles
from weft.controllers.clusterroles import aggregated

PODS, JOBS = PolicyRule(resources=("pods",)), PolicyRule(resources=("jobs",))


def role(name: str, *rules: PolicyRule, **labels: str) -> ClusterRole:
    return ClusterRole(metadata=ObjectMeta(name=name, labels=labels), rules=rules)


def test_rules_come_from_chosen_roles_each_once() -> None:
    chooses = AggregationRule((LabelSelector(match_labels={"to": "view"}),))
    into = ClusterRole(metadata=ObjectMeta(name="view"), aggregation_rule=chooses, rules=(JOBS,))
    roles = [
        role("b", JOBS, PODS, to="view"),
        role("a", PODS, to="view"),
        role("c", PolicyRule(resources=("secrets",)), to="edit"),
        into,
    ]
    assert aggregated(roles, into) == (PODS, JOBS)
    assert aggregated([into], into) == ()


def test_the_default_roles_are_made_as_they_will_be() -> None:
    """Else every first start would write them twice."""
    roles = [decode(ClusterRole, made) for made in default_roles.cluster_roles()]
    for found in roles:
        if found.aggregation_rule is not None:
            assert aggregated(roles, found) == found.rules, found.metadata.name

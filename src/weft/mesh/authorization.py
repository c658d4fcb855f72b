"""AuthorizationPolicies in the words of the model: which policies hold for which workloads."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from weft.api.cel import conditions
from weft.api.istio import security
from weft.api.istio.common import WorkloadSelector
from weft.mesh import findings as f
from weft.mesh.findings import Findings
from weft.mesh.model import (
    AccessCondition,
    AccessPolicy,
    AccessRule,
    Condition,
    ConditionKind,
    StringMatch,
)

ROOT_NAMESPACE = "istio-system"
"""Policies of this namespace hold for the workloads of all namespaces."""
DRY_RUN = "istio.io/dry-run"
ANNOTATION_TRUE = "true"
_ANY_PRINCIPAL = "[^/]+"
_Translate = Callable[[str], StringMatch]
_Group = tuple[tuple[AccessCondition, ...], ...]
_CLAIM_PART = re.compile(r"\[([^\[\]]+)\]")
_ACTIONS: Mapping[str, Literal["allow", "deny", "audit", "custom"]] = {
    "": "allow", "ALLOW": "allow", "DENY": "deny", "AUDIT": "audit", "CUSTOM": "custom",
}  # fmt: skip


class Selected(Struct, frozen=True):
    """A policy and the workloads it is for."""

    namespace: str
    """Empty: of all namespaces."""
    labels: tuple[tuple[str, str], ...]
    """That a workload must all have."""
    targets: tuple[tuple[str, str], ...]
    """(kind, name) of the objects it is for; then it is for no others."""
    policy: AccessPolicy


class AccessPolicies(Struct, frozen=True):
    """All policies of the mesh, oldest namespace and name first."""

    selected: tuple[Selected, ...] = ()

    def of_pod(
        self, namespace: str, labels: Iterable[tuple[str, str]], service: str = ""
    ) -> tuple[AccessPolicy, ...]:
        """The policies for calls to a pod, and those for the service it is called through."""
        own = frozenset(labels)
        return tuple(
            each.policy
            for each in self.selected
            if _holds(each, namespace, own, (("Service", service),) if service else ())
        )

    def of_gateway(
        self, namespace: str, name: str, labels: Mapping[str, str], own: bool
    ) -> tuple[AccessPolicy, ...]:
        """The policies for requests that enter through a gateway. With `own` its proxies are of
        its namespace, as those of the Gateway API; the proxies that an Istio Gateway selects by
        `labels` are of the root namespace, or of one whose policies select them by label."""
        found = frozenset(labels.items())
        return tuple(
            each.policy
            for each in self.selected
            if _holds(each, namespace, found, (("Gateway", name),))
            and (own or not each.namespace or each.labels or each.targets)
        )


def _holds(
    each: Selected,
    namespace: str,
    labels: frozenset[tuple[str, str]],
    targets: tuple[tuple[str, str], ...],
) -> bool:
    if each.namespace and each.namespace != namespace:
        return False
    if each.targets:
        return not set(targets).isdisjoint(each.targets)
    return labels.issuperset(each.labels)


def access_policies(
    policies: Sequence[security.AuthorizationPolicy],
    report: Findings,
    providers: Collection[str] = (),
) -> AccessPolicies:
    """All policies. `providers` may be asked by those of action CUSTOM; one that names another
    refuses what it matches: on doubt, no."""
    found = []
    for policy in sorted(policies, key=lambda p: (p.metadata.namespace, p.metadata.name)):
        spec, meta = policy.spec, policy.metadata
        action, provider = _ACTIONS[spec.action], ""
        if action == "custom":
            provider = spec.provider.name if spec.provider else ""
            if provider not in providers:
                report.add(f.PROVIDER_UNKNOWN, policy, "spec.provider.name", provider=provider)
                action, provider = "deny", ""
        translated = AccessPolicy(
            name=f"{meta.namespace}/{meta.name}",
            action=action,
            rules=tuple(_rule(rule, meta.namespace) for rule in spec.rules),
            dry_run=meta.annotations.get(DRY_RUN) == ANNOTATION_TRUE,
            provider=provider,
        )
        found.append(
            Selected(
                scope_of(meta.namespace, targets_of(spec)),
                labels_of(spec.selector),
                targets_of(spec),
                translated,
            )
        )
    return AccessPolicies(tuple(found))


def scope_of(namespace: str, targets: Collection[tuple[str, str]] = ()) -> str:
    """The namespace whose workloads a policy is for; empty is all. Targets are of its own."""
    return "" if namespace == ROOT_NAMESPACE and not targets else namespace


def labels_of(selector: WorkloadSelector | None) -> tuple[tuple[str, str], ...]:
    """The labels that a policy asks of workloads."""
    return tuple(sorted(selector.match_labels.items())) if selector else ()


def targets_of(
    spec: security.AuthorizationPolicySpec | security.RequestAuthenticationSpec,
) -> tuple[tuple[str, str], ...]:
    """The objects that a policy names."""
    refs = (*spec.target_refs, *((spec.target_ref,) if spec.target_ref else ()))
    return tuple((ref.kind, ref.name) for ref in refs)


def _rule(rule: security.Rule, namespace: str) -> AccessRule:
    groups: list[_Group] = []
    if rule.from_:
        sources = [each.source or security.Source() for each in rule.from_]
        groups.append(tuple(_source(source, namespace) for source in sources))
    if rule.to:
        operations = [each.operation or security.Operation() for each in rule.to]
        groups.append(tuple(_operation(operation) for operation in operations))
    for when in rule.when:
        groups.append((_when(when, namespace),))
    return AccessRule(tuple(groups))


def _source(source: security.Source, namespace: str) -> tuple[AccessCondition, ...]:
    """All of these must hold."""
    accounts = tuple(_account(each, namespace) for each in source.service_accounts)
    not_accounts = tuple(_account(each, namespace) for each in source.not_service_accounts)
    return (
        *_texts("principal", source.principals, source.not_principals),
        *_condition("principal", accounts, not_accounts),
        *_condition(
            "principal", _each(_of_namespace, source.namespaces),
            _each(_of_namespace, source.not_namespaces),
        ),
        *_condition(
            "principal", _each(_of_domain, source.trust_domains),
            _each(_of_domain, source.not_trust_domains),
        ),
        *_texts("token_principal", source.request_principals, source.not_request_principals),
        *_networks("source_ip", source.ip_blocks, source.not_ip_blocks),
        *_networks("remote_ip", source.remote_ip_blocks, source.not_remote_ip_blocks),
    )  # fmt: skip


def _operation(operation: security.Operation) -> tuple[AccessCondition, ...]:
    return (
        *_texts("host", operation.hosts, operation.not_hosts),
        *_texts("method", operation.methods, operation.not_methods),
        *_paths(operation.paths, negated=False),
        *_paths(operation.not_paths, negated=True),
        *_ports(operation.ports, operation.not_ports),
    )


def _paths(paths: Sequence[str], negated: bool) -> tuple[AccessCondition, ...]:
    texts = tuple(
        StringMatch("template", path) if "{" in path else text_match(path) for path in paths
    )
    return (AccessCondition("path", texts=texts, negated=negated),) if texts else ()


def _when(when: security.Condition, namespace: str) -> tuple[AccessCondition, ...]:
    key, values, excluded = when.key, when.values, when.not_values
    if key.startswith("request.headers["):
        name = key[len("request.headers[") : -1].lower()
        return _named("header", values, excluded, name=name)
    if key.startswith("request.auth.claims["):
        return _named("claim", values, excluded, claim=tuple(_CLAIM_PART.findall(key)))
    if key in ("request.auth.audiences", "request.auth.presenter"):
        claim = "aud" if key.endswith("audiences") else "azp"
        return _named("claim", values, excluded, claim=(claim,))
    if key == security.CEL_KEY:
        return _cel(values, excluded)
    if key in _NETWORKS:
        return _networks(_NETWORKS[key], values, excluded)
    if key == "destination.port":
        return _ports(values, excluded)
    if key == "source.namespace":
        return _condition("principal", _each(_of_namespace, values), _each(_of_namespace, excluded))
    if key == "source.serviceAccount":
        return _condition(
            "principal",
            tuple(_account(each, namespace) for each in values),
            tuple(_account(each, namespace) for each in excluded),
        )
    return _texts(_TEXTS[key], values, excluded)


_NETWORKS: Mapping[str, ConditionKind] = {
    "source.ip": "source_ip",
    "remote.ip": "remote_ip",
    "destination.ip": "destination_ip",
}
_TEXTS: Mapping[str, ConditionKind] = {
    "source.principal": "principal",
    "request.auth.principal": "token_principal",
    "connection.sni": "sni",
}


def _cel(values: Sequence[str], excluded: Sequence[str]) -> tuple[AccessCondition, ...]:
    found = []
    if values:
        found.append(AccessCondition("cel", cel=tuple(map(_checked, values))))
    if excluded:
        found.append(AccessCondition("cel", cel=tuple(map(_checked, excluded)), negated=True))
    return tuple(found)


def _checked(source: str) -> Condition:
    """Sources were checked when the policy was applied."""
    return conditions.check(source)


def text_match(pattern: str) -> StringMatch:
    """`abc`, `abc*`, `*abc` or `*`, which asks only that there is a value."""
    if pattern == "*":
        return StringMatch("present")
    if pattern.endswith("*"):
        return StringMatch("prefix", pattern[:-1])
    if pattern.startswith("*"):
        return StringMatch("suffix", pattern[1:])
    return StringMatch("exact", pattern)


def _part(pattern: str) -> str:
    """A pattern on one segment of a principal, as an expression."""
    return re.escape(pattern).replace(r"\*", "[^/]*") if pattern != "*" else "[^/]+"


def _of_namespace(pattern: str) -> StringMatch:
    return StringMatch("regex", f"{_ANY_PRINCIPAL}/ns/{_part(pattern)}/sa/.+")


def _of_domain(pattern: str) -> StringMatch:
    return StringMatch("regex", f"{_part(pattern)}/ns/.+")


def _account(text: str, namespace: str) -> StringMatch:
    owner, _, name = text.rpartition("/")
    where = re.escape(owner or namespace)
    return StringMatch("regex", f"{_ANY_PRINCIPAL}/ns/{where}/sa/{re.escape(name)}")


def _each(translate: _Translate, patterns: Sequence[str]) -> tuple[StringMatch, ...]:
    return tuple(translate(pattern) for pattern in patterns)


def _texts(
    kind: ConditionKind, values: Sequence[str], excluded: Sequence[str]
) -> tuple[AccessCondition, ...]:
    return _condition(kind, _each(text_match, values), _each(text_match, excluded))


def _named(
    kind: ConditionKind,
    values: Sequence[str],
    excluded: Sequence[str],
    name: str = "",
    claim: tuple[str, ...] = (),
) -> tuple[AccessCondition, ...]:
    return _condition(kind, _each(text_match, values), _each(text_match, excluded), name, claim)


def _condition(
    kind: ConditionKind,
    values: tuple[StringMatch, ...],
    excluded: tuple[StringMatch, ...],
    name: str = "",
    claim: tuple[str, ...] = (),
) -> tuple[AccessCondition, ...]:
    found = []
    if values:
        found.append(AccessCondition(kind, name, claim, values))
    if excluded:
        found.append(AccessCondition(kind, name, claim, excluded, negated=True))
    return tuple(found)


def _networks(
    kind: ConditionKind, values: Sequence[str], excluded: Sequence[str]
) -> tuple[AccessCondition, ...]:
    found = []
    if values:
        found.append(AccessCondition(kind, networks=tuple(values)))
    if excluded:
        found.append(AccessCondition(kind, networks=tuple(excluded), negated=True))
    return tuple(found)


def _ports(values: Sequence[str], excluded: Sequence[str]) -> tuple[AccessCondition, ...]:
    found = []
    if values:
        found.append(AccessCondition("port", ports=tuple(map(int, values))))
    if excluded:
        found.append(AccessCondition("port", ports=tuple(map(int, excluded)), negated=True))
    return tuple(found)

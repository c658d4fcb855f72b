"""Aliases of the trust domain, from the mesh's configuration to policies and identities."""

from typing import Any

import yaml

from tests.golden_support import documents
from tests.mesh.cluster import snapshot
from weft.mesh.build import Built, build

PRINCIPALS = ["cluster.local/ns/default/sa/a", "old/ns/default/sa/*", "far/ns/default/sa/c", "*"]


def built(config: dict[str, Any]) -> Built:
    mesh = {
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"mesh": yaml.safe_dump(config)},
        "metadata": {"name": "istio", "namespace": "istio-system"},
    }  # fmt: skip
    policy = {
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": "p"},
        "spec": {"rules": [{"from": [{"source": {"principals": PRINCIPALS}}]}]},
    }  # fmt: skip
    return build(snapshot([*documents("mesh", "services"), mesh, policy]))


def principals(found: Built) -> list[tuple[str, str]]:
    (policy,) = next(w.access for w in found.model.workloads if w.access)
    return [(t.kind, t.value) for t in policy.rules[0].groups[0][0][0].texts]


def test_policies_mean_every_spelling_of_the_mesh_s_own_domain() -> None:
    found = built({"trustDomain": "new", "trustDomainAliases": ["old"]})
    assert principals(found) == [
        ("exact", "new/ns/default/sa/a"), ("exact", "old/ns/default/sa/a"),
        ("prefix", "new/ns/default/sa/"), ("prefix", "old/ns/default/sa/"),
        ("exact", "far/ns/default/sa/c"), ("present", ""),
    ]  # fmt: skip
    assert (found.model.trust_domain, found.model.trust_domain_aliases) == ("new", ("old",))
    workload = found.model.workloads[0]
    assert workload.principal.startswith("spiffe://new/ns/")


def test_without_configuration_nothing_changes() -> None:
    assert [value for _, value in principals(built({}))][:2] == [
        "cluster.local/ns/default/sa/a",
        "old/ns/default/sa/",
    ]


def test_what_is_no_trust_domain_is_reported_and_not_used() -> None:
    found = built({"trustDomain": "No Domain", "trustDomainAliases": ["ok", "/no"]})
    assert (found.model.trust_domain, found.model.trust_domain_aliases) == (
        "cluster.local",
        ("ok",),
    )
    told = [d for d in found.diagnostics if "no trust domain" in d.message]
    assert len(told) == 2

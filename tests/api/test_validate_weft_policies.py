"""RateLimitPolicy and BackendPolicy as users write them, right and wrong."""

from typing import Any

import pytest

from weft.api import columns, registry
from weft.api.validation import check_manifest

RULE = {"limit": {"requests": 10, "per": "second"}}


def policy(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "policy.weft.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"targetRef": {"kind": "Service", "name": "web"}, **spec},
    }


def problems(obj: dict[str, Any]) -> list[str]:
    kind = registry.kind_of(obj)
    assert kind
    return [error.path for error in check_manifest(kind, obj)]


FULL = {
    "scope": "global",
    "rules": [
        {
            "name": "per-user",
            "match": {
                "path": {"prefix": "/api"},
                "methods": ["GET"],
                "headers": {"x-user": {}, "x-plan": {"exact": "free"}},
                "source": {"principal": "spiffe://cluster.local/ns/a/sa/b"},
                "clientCIDR": "10.0.0.0/8",
            },
            "key": [{"type": "header", "name": "x-user"}, {"type": "clientAddress"}],
            "limit": {"requests": 10, "per": "minute", "burst": 20},
            "shadow": True,
        }
    ],
}


def test_sound_policies_pass() -> None:
    assert problems(policy("RateLimitPolicy", FULL)) == []
    check = {"http": {"path": "/health", "expectedStatuses": [200, 204]}, "interval": "2s"}
    spec = {"healthCheck": check, "loadBalancer": "leastResponseTime", "panicThreshold": 50}
    assert problems(policy("BackendPolicy", spec)) == []
    spec = {"adaptiveConcurrency": {}, "retry": {"retryAfter": [{"header": "retry-after"}]}}
    assert problems(policy("BackendPolicy", spec)) == []


@pytest.mark.parametrize(
    ("kind", "spec", "path"),
    [
        ("RateLimitPolicy", {"rules": []}, "spec.rules"),
        ("RateLimitPolicy", {"rules": [{}]}, "spec.rules[0].limit"),
        ("RateLimitPolicy", {"rules": [RULE], "scope": "city"}, "spec.scope"),
        ("RateLimitPolicy", {"rules": [{**RULE, "key": [{"type": "header"}]}]},
         "spec.rules[0].key[0].name"),
        ("RateLimitPolicy", {"rules": [{**RULE, "key": [{"type": "query"}]}]},
         "spec.rules[0].key[0].name"),
        ("RateLimitPolicy", {"rules": [{**RULE, "key": [{"type": "header", "name": "x user"}]}]},
         "spec.rules[0].key[0].name"),
        ("RateLimitPolicy", {"rules": [{**RULE, "match": {"headers": {"x:user": {}}}}]},
         "spec.rules[0].match.headers"),
        ("BackendPolicy", {"healthCheck": {"http": {"path": "/a\nb"}}},
         "spec.healthCheck.http.path"),
        ("RateLimitPolicy", {"rules": [{**RULE, "match": {"clientCIDR": "10.0.0.1/8"}}]},
         "spec.rules[0].match.clientCIDR"),
        ("RateLimitPolicy", {"rules": [{**RULE, "match": {"path": {"exact": "/", "prefix": "/"}}}]},
         "spec.rules[0].match.path.prefix"),
        ("RateLimitPolicy", {"rules": [{"limit": {"requests": 0, "per": "second"}}]},
         "spec.rules[0].limit.requests"),
        ("RateLimitPolicy", {"rules": [{**RULE, "name": "a"}, {**RULE, "name": "a"}]},
         "spec.rules[1].name"),
        ("BackendPolicy", {"targetRef": {"kind": "Gateway", "name": "g"}}, "spec.targetRef.kind"),
        ("BackendPolicy", {"healthCheck": {}}, "spec.healthCheck"),
        ("BackendPolicy", {"healthCheck": {"tcp": {}, "grpc": {}}}, "spec.healthCheck"),
        ("BackendPolicy", {"healthCheck": {"tcp": {}, "interval": "soon"}},
         "spec.healthCheck.interval"),
        ("BackendPolicy", {"loadBalancer": "fastest"}, "spec.loadBalancer"),
        ("BackendPolicy", {"retry": {"retryAfter": [{"header": "a b"}]}},
         "spec.retry.retryAfter[0].header"),
        ("BackendPolicy", {"retry": {"retryAfter": [{"header": "a", "format": "date"}]}},
         "spec.retry.retryAfter[0].format"),
        ("BackendPolicy", {"adaptiveConcurrency": {"minConcurrency": 9, "maxConcurrency": 8}},
         "spec.adaptiveConcurrency.minConcurrency"),
        ("BackendPolicy", {"adaptiveConcurrency": {"percentile": 0}},
         "spec.adaptiveConcurrency.percentile"),
        ("BackendPolicy", {"adaptiveConcurrency": {"baselineInterval": "1ms"}},
         "spec.adaptiveConcurrency.baselineInterval"),
    ],
)  # fmt: skip
def test_mistakes_are_found_where_they_are(kind: str, spec: dict[str, Any], path: str) -> None:
    assert problems(policy(kind, spec)) == [path]


def test_tables_show_what_a_policy_is_for() -> None:
    kind = registry.by_name("rlp")
    assert kind
    assert columns.cells(kind, policy("RateLimitPolicy", FULL), 0.0)[1:4] == [
        "Service/web", "global", 1,
    ]  # fmt: skip

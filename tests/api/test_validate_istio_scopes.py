"""Rules of Sidecar, EnvoyFilter and WorkloadGroup, each with its place."""

from typing import Any

import pytest

from weft.api import registry
from weft.api.validation import check_manifest


def errors(kind: str, spec: dict[str, Any]) -> list[tuple[str, str]]:
    body = {
        "apiVersion": "networking.istio.io/v1",
        "kind": kind,
        "metadata": {"name": "x"},
        "spec": spec,
    }
    found = registry.kind_of(body)
    assert found is not None
    return [(e.path, e.body) for e in check_manifest(found, body)]


LUA = {"name": "lua", "typed_config": {"@type": "t"}}
ADD = {"operation": "ADD", "value": LUA}


@pytest.mark.parametrize(
    ("kind", "spec", "path", "body"),
    [
        ("Sidecar", {"egress": [{"hosts": ["web"]}]}, "spec.egress[0].hosts[0]", "namespace/host"),
        ("Sidecar", {"egress": [{"hosts": []}]}, "spec.egress[0].hosts", "Required"),
        ("Sidecar", {"egress": [{"hosts": ["a b/*"]}]}, "spec.egress[0].hosts[0]", "RFC 1123"),
        (
            "Sidecar",
            {"egress": [{"hosts": ["./*"]}, {"hosts": ["*/*"]}]},
            "spec.egress[1].port",
            "only one entry may be without `port`",
        ),
        (
            "EnvoyFilter",
            {"configPatches": [{"applyTo": "CLUSTER", "patch": {"operation": "MERGE"}}]},
            "spec.configPatches[0].patch.value",
            "is needed for MERGE",
        ),
        (
            "EnvoyFilter",
            {"configPatches": [{"patch": ADD}]},
            "spec.configPatches[0].applyTo",
            "Required",
        ),
        (
            "EnvoyFilter",
            {
                "configPatches": [
                    {"applyTo": "CLUSTER", "patch": {"operation": "INSERT_FIRST", "value": LUA}}
                ]
            },
            "spec.configPatches[0].patch.operation",
            "have no order",
        ),
        (
            "EnvoyFilter",
            {
                "configPatches": [
                    {"applyTo": "CLUSTER", "match": {"cluster": {}, "listener": {}}, "patch": ADD}
                ]
            },
            "spec.configPatches[0].match.cluster",
            "may not be used together",
        ),
        ("WorkloadGroup", {"template": {}, "probe": {}}, "spec.probe", "one of"),
        (
            "WorkloadGroup",
            {"template": {}, "probe": {"httpGet": {"path": "/"}}},
            "spec.probe.httpGet.port",
            "Required",
        ),
    ],
)
def test_refused(kind: str, spec: dict[str, Any], path: str, body: str) -> None:
    found = errors(kind, spec)
    assert [p for p, _ in found] == [path], found
    assert body in found[0][1]


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Sidecar", {}),
        ("Sidecar", {"egress": [{"hosts": ["./*", "~/*", "bank/ledger.bank.svc.cluster.local"]}]}),
        ("EnvoyFilter", {"configPatches": [{"applyTo": "HTTP_FILTER", "patch": ADD}]}),
        ("WorkloadGroup", {"template": {"serviceAccount": "a"}, "probe": {"grpc": {"port": 1}}}),
    ],
)
def test_accepted(kind: str, spec: dict[str, Any]) -> None:
    assert errors(kind, spec) == []

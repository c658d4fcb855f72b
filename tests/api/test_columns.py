"""Tables as kubectl shows them."""

from typing import Any

import pytest

from weft.api import registry
from weft.api.columns import cells, columns
from weft.lib.timefmt import parse_rfc3339

BORN = "2026-11-21T00:00:00Z"
NOW = parse_rfc3339("2026-11-21T00:05:00Z")


def row(name: str, obj: dict[str, Any]) -> dict[str, Any]:
    """Cells by column name."""
    kind = registry.by_name(name)
    assert kind is not None
    body = {"metadata": {"name": "x", "creationTimestamp": BORN}, **obj}
    heads = [column.name for column in columns(kind)]
    return dict(zip(heads, cells(kind, body, NOW), strict=True))


@pytest.mark.parametrize("kind", registry.KINDS, ids=lambda k: k.kind)
def test_every_kind_has_a_cell_per_column(kind: Any) -> None:
    heads = columns(kind)
    assert len(cells(kind, {}, NOW)) == len(heads)
    assert len(cells(kind, {"metadata": {"name": "x"}, "spec": [], "status": 5}, NOW)) == len(heads)
    assert any(column.priority == 0 for column in heads)
    assert all(column.to_json()["type"] in ("string", "integer") for column in heads)


def test_deployment() -> None:
    got = row(
        "deploy",
        {
            "spec": {
                "replicas": 3,
                "selector": {"matchLabels": {"app": "x"}},
                "template": {"spec": {"containers": [{"name": "a", "image": "i:1"}]}},
            },
            "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1},
        },
    )
    assert got == {
        "Name": "x", "Ready": "2/3", "Up-to-date": 3, "Available": 1, "Age": "5m",
        "Containers": "a", "Images": "i:1", "Selector": "app=x",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "status", "external", "ports"),
    [
        ({"type": "ClusterIP", "clusterIP": "10.0.0.1", "ports": [{"port": 80}]}, {}, "<none>",
         "80/TCP"),
        ({"type": "NodePort", "clusterIP": "10.0.0.1", "ports": [{"port": 80, "nodePort": 30080},
         {"port": 53, "protocol": "UDP"}]}, {}, "<none>", "80:30080/TCP,53/UDP"),
        ({"type": "LoadBalancer", "clusterIP": "10.0.0.1"}, {}, "<pending>", "<none>"),
        ({"type": "LoadBalancer", "clusterIP": "10.0.0.1"},
         {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}, "1.2.3.4", "<none>"),
        ({"type": "ExternalName", "externalName": "a.b"}, {}, "a.b", "<none>"),
    ],
)  # fmt: skip
def test_service(spec: dict[str, Any], status: dict[str, Any], external: str, ports: str) -> None:
    got = row("svc", {"spec": spec, "status": status})
    assert (got["External-IP"], got["Port(s)"]) == (external, ports)
    assert got["Cluster-IP"] == spec.get("clusterIP", "<none>")


@pytest.mark.parametrize(
    ("spec", "status", "state", "completions", "duration"),
    [
        ({"completions": 2}, {"startTime": BORN, "succeeded": 1}, "Running", "1/2", "5m"),
        ({"completions": 1}, {"startTime": BORN, "completionTime": "2026-11-21T00:00:30Z",
         "succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}, "Complete", "1/1",
         "30s"),
        ({"parallelism": 3}, {"startTime": BORN, "conditions": [{"type": "Failed", "status": "True",
         "lastTransitionTime": "2026-11-21T00:01:00Z"}]}, "Failed", "0/1 of 3", "60s"),
        ({"completions": 1}, {"conditions": [{"type": "Suspended", "status": "True"}]}, "Suspended",
         "0/1", ""),
    ],
)  # fmt: skip
def test_job(
    spec: dict[str, Any], status: dict[str, Any], state: str, completions: str, duration: str
) -> None:
    got = row("job", {"spec": spec, "status": status})
    assert (got["Status"], got["Completions"], got["Duration"]) == (state, completions, duration)


def test_node() -> None:
    got = row(
        "node",
        {
            "metadata": {
                "name": "n",
                "creationTimestamp": BORN,
                "labels": {"node-role.kubernetes.io/control-plane": ""},
            },
            "spec": {"unschedulable": True},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "10.0.0.9"}],
                "nodeInfo": {"kubeletVersion": "v1", "osImage": "Linux"},
            },
        },
    )
    assert got["Status"] == "Ready,SchedulingDisabled"
    assert got["Roles"] == "control-plane"
    assert (got["Internal-IP"], got["External-IP"]) == ("10.0.0.9", "<none>")


def test_endpoint_slices_shorten() -> None:
    got = row(
        "endpointslices",
        {
            "addressType": "IPv4",
            "ports": [{"port": 80}],
            "endpoints": [{"addresses": [f"10.0.0.{i}"]} for i in range(5)],
        },
    )
    assert got["Endpoints"] == "10.0.0.0,10.0.0.1,10.0.0.2 + 2 more..."
    assert row("endpointslices", {})["Ports"] == "<unset>"


def test_event() -> None:
    got = row(
        "ev",
        {
            "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{c}"},
            "type": "Warning",
            "reason": "BackOff",
            "message": "Back-off\n",
            "count": 4,
            "firstTimestamp": BORN,
            "lastTimestamp": "2026-11-21T00:04:00Z",
            "source": {"component": "agent", "host": "n1"},
        },
    )
    assert (got["Last Seen"], got["First Seen"], got["Count"]) == ("60s", "5m", 4)
    assert (got["Object"], got["Message"], got["Source"]) == ("pod/p", "Back-off", "agent, n1")


def test_istio() -> None:
    got = row("vs", {"spec": {"hosts": ["a", "b"], "gateways": ["g"]}})
    assert (got["Gateways"], got["Hosts"]) == ('["g"]', '["a","b"]')
    assert row("vs", {"spec": {"hosts": ["a"]}})["Gateways"] == ""
    assert row("dr", {"spec": {"host": "a"}})["Host"] == "a"


def test_small_kinds() -> None:
    assert row("cm", {"data": {"a": "b"}, "binaryData": {"c": ""}})["Data"] == 2
    assert row("secret", {"type": "Opaque", "data": {"a": ""}})["Data"] == 1
    assert row("sa", {"secrets": [{}]})["Secrets"] == 1
    assert row("ns", {"status": {"phase": "Active"}})["Status"] == "Active"
    assert row("leases", {"spec": {"holderIdentity": "h"}})["Holder"] == "h"
    assert row("cm", {"metadata": {"name": "x"}})["Age"] == "<unknown>"
    assert row("cm", {"metadata": {"name": "x", "creationTimestamp": "bad"}})["Age"] == "<unknown>"

"""Rules of services, slices, config and nodes."""

import copy
from typing import Any

import pytest

from weft.api import registry
from weft.api.defaults import default
from weft.api.validation import check_manifest, validate_create, validate_update


def check(api_version: str, kind: str, **body: Any) -> list[tuple[str, str]]:
    found = registry.find_api_version(api_version, kind)
    assert found is not None
    obj = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, **body}
    return [(e.path, e.body) for e in check_manifest(found, obj)]


@pytest.mark.parametrize(
    ("spec", "path", "body"),
    [
        ({}, "spec.ports", "Required value"),
        ({"ports": [{"port": 80}, {"port": 81, "name": "b"}]}, "spec.ports[0].name", "Required"),
        ({"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]}, "spec.ports[1].name",
         'Duplicate value: "a"'),
        ({"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]}, "spec.ports[1]",
         'Duplicate value: {"protocol":"TCP","port":80}'),
        ({"ports": [{"port": 80, "targetPort": "UPPER"}]}, "spec.ports[0].targetPort",
         "alpha-numeric"),
        ({"ports": [{"port": 80, "nodePort": 30000}]}, "spec.ports[0].nodePort",
         "may not be used when `type` is 'ClusterIP'"),
        ({"ports": [{"port": 80, "appProtocol": "a b"}]}, "spec.ports[0].appProtocol", "name part"),
        ({"ports": [{"port": 80}], "clusterIP": "x"}, "spec.clusterIPs[0]", "valid IP address"),
        ({"ports": [{"port": 80}], "loadBalancerSourceRanges": ["10.0.0.0/8"]},
         "spec.loadBalancerSourceRanges", "may only be used when `type` is 'LoadBalancer'"),
        ({"ports": [{"port": 80}], "type": "LoadBalancer", "loadBalancerSourceRanges": ["x"]},
         "spec.loadBalancerSourceRanges[0]", "valid CIDR"),
        ({"type": "ExternalName"}, "spec.externalName", "Required value"),
        ({"type": "ExternalName", "externalName": "a", "clusterIP": "10.0.0.1"}, "spec.clusterIP",
         "may not be set when `type` is 'ExternalName'"),
        ({"ports": [{"port": 80}], "selector": {"a": "b c"}}, "spec.selector", "a valid label"),
        ({"ports": [{"port": 80}], "sessionAffinityConfig": {"clientIP": {}}},
         "spec.sessionAffinityConfig", "must not be set when session affinity is None"),
    ],
)  # fmt: skip
def test_service(spec: dict[str, Any], path: str, body: str) -> None:
    found = check("v1", "Service", spec=spec)
    assert [p for p, _ in found] == [path]
    assert body in found[0][1]


def test_valid_services() -> None:
    assert check("v1", "Service", spec={"clusterIP": "None"}) == []
    assert check("v1", "Service", spec={"type": "ExternalName", "externalName": "a.b"}) == []
    dns = [{"name": "u", "port": 53, "protocol": "UDP"}, {"name": "t", "port": 53}]
    assert check("v1", "Service", spec={"ports": dns}) == []


def test_service_names_start_with_a_letter() -> None:
    kind = registry.find("", "v1", "Service")
    assert kind is not None
    body = {"metadata": {"name": "1a"}, "spec": {"ports": [{"port": 80}]}}
    (found,) = check_manifest(kind, body)
    assert "DNS-1035" in found.detail


def test_cluster_ip_stays() -> None:
    kind = registry.find("", "v1", "Service")
    assert kind is not None
    old = default(kind, {"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}})
    old["spec"] |= {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}
    new = copy.deepcopy(old)
    new["spec"] |= {"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"]}
    (found,) = validate_update(kind, new, old)
    assert (found.path, found.detail) == ("spec.clusterIPs[0]", "may not change once set")


def test_endpoint_slices() -> None:
    def errors(**body: Any) -> list[tuple[str, str]]:
        return check("discovery.k8s.io/v1", "EndpointSlice", **body)

    good = [{"addresses": ["10.0.0.1"]}]
    assert errors(addressType="IPv4", endpoints=good, ports=[{"port": 80}]) == []
    assert errors(endpoints=good)[0][0] == "addressType"
    assert errors(addressType="IPv6", endpoints=good)[0] == (
        "endpoints[0].addresses[0]",
        'Invalid value: "10.0.0.1": must be an IPv6 address',
    )
    assert errors(addressType="IPv4", endpoints=[{"addresses": []}])[0][0] == (
        "endpoints[0].addresses"
    )
    double = errors(addressType="IPv4", ports=[{"port": 1}, {"port": 2}])
    assert double[0] == ("ports[1].name", 'Duplicate value: ""')


def test_config_and_secrets() -> None:
    assert check("v1", "ConfigMap", data={"a b": "x"})[0][0] == "data"
    assert check("v1", "ConfigMap", data={"a": "x"}, binaryData={"a": "eA=="})[0] == (
        "data.a",
        'Duplicate value: "a"',
    )
    too_long = check("v1", "ConfigMap", data={"a": "x" * 2_000_000})
    assert "may not be more than 1048576 bytes" in too_long[0][1]
    assert check("v1", "Secret", data={"a": "not base64!"})[0][0] == "data.a"
    assert [p for p, _ in check("v1", "Secret", type="kubernetes.io/tls")] == [
        "data[tls.crt]",
        "data[tls.key]",
    ]


def test_immutable_config() -> None:
    kind = registry.find("", "v1", "ConfigMap")
    assert kind is not None
    old = {"metadata": {"name": "a"}, "data": {"a": "b"}, "immutable": True}
    assert validate_update(kind, old, old) == []
    new = {**old, "data": {"a": "c"}, "immutable": False}
    assert [e.path for e in validate_update(kind, new, old)] == ["immutable", "data"]


def test_other_kinds() -> None:
    taints = [{"key": "a", "effect": "NoSchedule"}] * 2
    assert check("v1", "Node", spec={"taints": taints})[0][0] == "spec.taints[1]"
    assert check("v1", "Node", status={"capacity": {"cpu": "x"}})[0][0] == "status.capacity.cpu"
    lease = check("coordination.k8s.io/v1", "Lease", spec={"leaseDurationSeconds": 0})
    assert lease == [("spec.leaseDurationSeconds", "Invalid value: 0: must be greater than 0")]
    kind = registry.find("", "v1", "Event")
    assert kind is not None
    event = {"metadata": {"name": "e", "namespace": "a"}, "involvedObject": {"namespace": "b"}}
    assert [e.path for e in validate_create(kind, event)] == ["involvedObject.namespace"]
    assert check("v1", "Namespace", metadata={"name": "a.b"})[0][0] == "metadata.name"
    assert check("v1", "Namespace", metadata={"name": "a", "namespace": "b"})[0][0] == (
        "metadata.namespace"
    )

"""Rules of Gateway API kinds: what is refused, where, and what is filled in."""

from typing import Any

import pytest

from weft.api import registry
from weft.api.defaults import default
from weft.api.validation import check_manifest

GROUP = "gateway.networking.k8s.io"


def paths(kind_name: str, spec: dict[str, Any]) -> list[str]:
    kind = registry.find(GROUP, "v1", kind_name)
    assert kind is not None
    obj = {
        "apiVersion": f"{GROUP}/v1",
        "kind": kind_name,
        "metadata": {"name": "x", "namespace": "default"},
        "spec": spec,
    }
    return [error.path for error in check_manifest(kind, obj)]


def listener(**fields: Any) -> dict[str, Any]:
    return {"name": "a", "port": 80, "protocol": "HTTP", **fields}


TLS = {"certificateRefs": [{"name": "cert"}]}
BACKEND = [{"name": "web", "port": 80}]


@pytest.mark.parametrize(
    ("listeners", "wrong"),
    [
        ([listener()], []),
        ([listener(protocol="HTTPS", tls=TLS)], []),
        ([listener(protocol="TLS", tls={"mode": "Passthrough"})], []),
        ([], ["spec.listeners"]),
        ([listener(), listener(port=81)], ["spec.listeners[1].name"]),
        ([listener(), listener(name="b")], ["spec.listeners[1]"]),
        ([listener(), listener(name="b", hostname="b.test")], []),
        ([listener(hostname="10.0.0.1")], ["spec.listeners[0].hostname"]),
        ([listener(hostname="a.*.test")], ["spec.listeners[0].hostname"]),
        ([listener(tls=TLS)], ["spec.listeners[0].tls"]),
        ([listener(protocol="HTTPS", tls={})], ["spec.listeners[0].tls.certificateRefs"]),
        (
            [listener(protocol="HTTPS", tls={**TLS, "mode": "Passthrough"})],
            ["spec.listeners[0].tls.mode"],
        ),
        ([listener(protocol="TCP", hostname="a.test")], ["spec.listeners[0].hostname"]),
        ([listener(port=70000)], ["spec.listeners[0].port"]),
        (
            [listener(allowedRoutes={"namespaces": {"from": "Selector"}})],
            ["spec.listeners[0].allowedRoutes.namespaces.selector"],
        ),
    ],
)
def test_gateways(listeners: list[Any], wrong: list[str]) -> None:
    assert paths("Gateway", {"gatewayClassName": "weft", "listeners": listeners}) == wrong


def step(kind: str, field: str, value: Any) -> dict[str, Any]:
    return {"type": kind, field: value}


PREFIX = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/x"}
EXACT = [{"path": {"type": "Exact", "value": "/a"}}]


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        ({"backendRefs": BACKEND}, []),
        ({"backendRefs": [{"name": "web"}]}, ["backendRefs[0].port"]),
        ({"backendRefs": [{"port": 80}]}, ["backendRefs[0].name"]),
        ({"matches": [{"path": {"value": "a"}}]}, ["matches[0].path.value"]),
        ({"matches": [{"path": {"value": "/a//b"}}]}, ["matches[0].path.value"]),
        ({"matches": [{"method": "get"}]}, ["matches[0].method"]),
        ({"timeouts": {"request": "1.5s"}}, ["timeouts.request"]),
        ({"timeouts": {"request": "1s", "backendRequest": "2s"}}, ["timeouts.backendRequest"]),
        ({"timeouts": {"request": "0s", "backendRequest": "2s"}}, []),
        (
            {"filters": [step("RequestRedirect", "requestRedirect", {})], "backendRefs": BACKEND},
            ["filters"],
        ),
        ({"filters": [step("URLRewrite", "urlRewrite", {"path": PREFIX})]}, []),
        (
            {"filters": [step("URLRewrite", "urlRewrite", {"path": PREFIX})], "matches": EXACT},
            ["filters[0].urlRewrite.path.type"],
        ),
        ({"filters": [{"type": "URLRewrite"}]}, ["filters[0].urlRewrite"]),
        (
            {"filters": [step("RequestRedirect", "requestRedirect", {"statusCode": 305})]},
            ["filters[0].requestRedirect.statusCode"],
        ),
        (
            {"filters": [step("CORS", "cors", {}), step("CORS", "cors", {})]},
            ["filters[1]"],
        ),
    ],
)
def test_rules_of_http_routes(rule: dict[str, Any], wrong: list[str]) -> None:
    found = paths("HTTPRoute", {"parentRefs": [{"name": "g"}], "rules": [rule]})
    assert found == [f"spec.rules[0].{path}" for path in wrong]


@pytest.mark.parametrize(
    ("parents", "wrong"),
    [
        ([{"name": "a"}, {"name": "b"}], []),
        ([{"name": "a"}, {"name": "a"}], ["spec.parentRefs[1]"]),
        ([{"name": "a"}, {"name": "a", "sectionName": "x"}], ["spec.parentRefs[1]"]),
        ([{"name": "a", "port": 1}, {"name": "a", "port": 2}], []),
    ],
)
def test_parents(parents: list[Any], wrong: list[str]) -> None:
    assert paths("HTTPRoute", {"parentRefs": parents, "rules": [{"backendRefs": BACKEND}]}) == wrong


def test_defaults_of_a_route() -> None:
    kind = registry.find(GROUP, "v1", "HTTPRoute")
    assert kind is not None
    backend = {"name": "web", "port": 80}
    spec = {"parentRefs": [{"name": "g"}], "rules": [{"backendRefs": [backend]}]}
    obj = default(kind, {"spec": spec})
    assert obj["spec"] == {
        "parentRefs": [{"group": GROUP, "kind": "Gateway", "name": "g"}],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [
                    {"group": "", "kind": "Service", "name": "web", "port": 80, "weight": 1}
                ],
            }
        ],
    }

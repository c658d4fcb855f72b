"""Security policies: what could not be enforced as written is refused."""

from typing import Any

import pytest

from weft.api import registry
from weft.api.validation import check_manifest


def errors(kind: str, spec: dict[str, Any]) -> list[str]:
    found = registry.find("security.istio.io", "v1", kind)
    assert found is not None
    obj = {
        "apiVersion": "security.istio.io/v1", "kind": kind, "spec": spec,
        "metadata": {"name": "x", "namespace": "default"},
    }  # fmt: skip
    return [error.path for error in check_manifest(found, obj)]


def rule(**source: Any) -> dict[str, Any]:
    return {"rules": [{"from": [{"source": source}]}]}


def to(**operation: Any) -> dict[str, Any]:
    return {"rules": [{"to": [{"operation": operation}]}]}


def when(key: str, *values: str) -> dict[str, Any]:
    return {"rules": [{"when": [{"key": key, "values": list(values)}]}]}


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"rules": [{}]},
        {"action": "DENY", "rules": [{}]},
        {"action": "CUSTOM", "provider": {"name": "x"}, "rules": [{}]},
        {"targetRefs": [{"kind": "Service", "name": "x"}]},
        rule(principals=["*"], ipBlocks=["10.0.0.1", "10.0.0.0/8"]),
        rule(serviceAccounts=["a/b", "c"]),
        to(ports=["80"], paths=["/a/{*}/b/{**}", "/x*"], methods=["GET"]),
        when("request.headers[x-y]", "a"),
        when("request.auth.claims[a][b.c]", "a"),
        when("destination.port", "80"),
    ],
)
def test_good_authorization_policies(spec: dict[str, Any]) -> None:
    assert errors("AuthorizationPolicy", spec) == []


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"action": "DENY"}, "spec.rules"),
        ({"action": "CUSTOM", "rules": [{}]}, "spec.provider.name"),
        ({"provider": {"name": "x"}}, "spec.provider"),
        ({"action": "LOG"}, "spec.action"),
        ({"selector": {"matchLabels": {"a": "b"}}, "targetRef": {"kind": "Service", "name": "x"}},
         "spec.targetRef"),
        ({"targetRef": {"kind": "Pod", "name": "x"}}, "spec.targetRef.kind"),
        ({"targetRef": {"kind": "Service", "name": "x", "namespace": "b"}},
         "spec.targetRef.namespace"),
        ({"rules": [{"from": []}]}, "spec.rules[0].from"),
        (rule(), "spec.rules[0].from[0].source"),
        (rule(principals=[""]), "spec.rules[0].from[0].source.principals[0]"),
        (rule(ipBlocks=["10.0.0.0/40"]), "spec.rules[0].from[0].source.ipBlocks[0]"),
        (rule(serviceAccounts=["a"], namespaces=["b"]),
         "spec.rules[0].from[0].source.serviceAccounts"),
        (rule(serviceAccounts=["a/*"]), "spec.rules[0].from[0].source.serviceAccounts[0]"),
        (to(), "spec.rules[0].to[0].operation"),
        (to(ports=["http"]), "spec.rules[0].to[0].operation.ports[0]"),
        (to(paths=["/{a}"]), "spec.rules[0].to[0].operation.paths[0]"),
        (to(paths=["/x{*}"]), "spec.rules[0].to[0].operation.paths[0]"),
        (to(paths=["/{**}/{*}"]), "spec.rules[0].to[0].operation.paths[0]"),
        (to(paths=["/{*}/*"]), "spec.rules[0].to[0].operation.paths[0]"),
        (when("request.header[x]", "a"), "spec.rules[0].when[0].key"),
        (when("source.ip", "a"), "spec.rules[0].when[0].values[0]"),
        (when("source.namespace"), "spec.rules[0].when[0]"),
    ],
)  # fmt: skip
def test_bad_authorization_policies(spec: dict[str, Any], path: str) -> None:
    assert path in errors("AuthorizationPolicy", spec)


def test_peer_authentications() -> None:
    selector = {"matchLabels": {"a": "b"}}
    assert errors("PeerAuthentication", {"mtls": {"mode": "STRICT"}}) == []
    ports = {"80": {"mode": "DISABLE"}}
    assert errors("PeerAuthentication", {"portLevelMtls": ports, "selector": selector}) == []
    assert errors("PeerAuthentication", {"portLevelMtls": ports}) == ["spec.selector.matchLabels"]
    bad = {"portLevelMtls": {"x": {}}, "selector": selector}
    assert len(errors("PeerAuthentication", bad)) == 1
    assert errors("PeerAuthentication", {"mtls": {"mode": "ON"}}) == ["spec.mtls.mode"]


def test_request_authentications() -> None:
    def of(**given: Any) -> list[str]:
        return errors("RequestAuthentication", {"jwtRules": [{"issuer": "a", **given}]})

    assert of() == of(jwks='{"keys": [{}]}') == of(jwksUri="https://a.example/keys") == []
    assert of(jwks="{}") == ["spec.jwtRules[0].jwks"]
    assert of(jwksUri="a.example") == ["spec.jwtRules[0].jwksUri"]
    assert of(jwks='{"keys": [{}]}', jwksUri="http://a/") == ["spec.jwtRules[0].jwksUri"]
    assert of(fromHeaders=[{"name": "a b"}]) == ["spec.jwtRules[0].fromHeaders[0].name"]
    assert of(timeout="soon") == ["spec.jwtRules[0].timeout"]
    assert errors("RequestAuthentication", {"jwtRules": [{}]}) == ["spec.jwtRules[0].issuer"]

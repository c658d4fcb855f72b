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
        "metadata": {"name": "x", **({"namespace": "default"} if kind.namespaced else {})},
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


CA = {"group": "", "kind": "ConfigMap", "name": "ca"}


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        ({"addresses": [{"value": "10.0.0.1"}, {"value": "10.0.0.1"}]}, ["addresses[1].value"]),
        ({"addresses": [{"value": "10.0.0.1"}, {"type": "IPAddress"}]}, []),
        ({"addresses": [{"value": "web.test"}]}, ["addresses[0].value"]),
        ({"addresses": [{"type": "Hostname", "value": "web.test"}]}, []),
        ({"addresses": [{"type": "Hostname", "value": "Web_"}]}, ["addresses[0].value"]),
        ({"addresses": [{"type": "example.com/x", "value": "any thing"}]}, []),
        ({"infrastructure": {"labels": {"a.test/b": "c"}}}, []),
        ({"infrastructure": {"labels": {"-b": "c"}}}, ["infrastructure.labels"]),
        (
            {"infrastructure": {"labels": {f"k{i}": "" for i in range(9)}}},
            ["infrastructure.labels"],
        ),
        (
            {"tls": {"frontend": {"default": {"validation": {"caCertificateRefs": []}}}}},
            ["tls.frontend.default.validation.caCertificateRefs"],
        ),
        (
            {"tls": {"frontend": {"default": {"validation": {"caCertificateRefs": [CA]}}}}},
            [],
        ),
        (
            {
                "tls": {
                    "frontend": {
                        "default": {},
                        "perPort": [{"port": 443, "tls": {}}, {"port": 443, "tls": {}}],
                    }
                }
            },
            ["tls.frontend.perPort[1].port"],
        ),
        (
            {"allowedListeners": {"namespaces": {"from": "Some"}}},
            ["allowedListeners.namespaces.from"],
        ),
    ],
)
def test_gateways_as_a_whole(spec: dict[str, Any], wrong: list[str]) -> None:
    found = paths("Gateway", {"gatewayClassName": "weft", "listeners": [listener()], **spec})
    assert found == [f"spec.{path}" for path in wrong]


@pytest.mark.parametrize(
    ("kind", "spec", "wrong"),
    [
        ("ListenerSet", {"parentRef": {"name": "g"}, "listeners": [listener()]}, []),
        ("ListenerSet", {"parentRef": {"name": "g"}, "listeners": []}, ["listeners"]),
        (
            "ListenerSet",
            {"parentRef": {"name": "g"}, "listeners": [listener(), listener(name="b")]},
            ["listeners[1]"],
        ),
        (
            "ListenerSet",
            {"parentRef": {"name": "g"}, "listeners": [listener(protocol="tcp", hostname="a.b")]},
            ["listeners[0].hostname"],
        ),
        ("GatewayClass", {"controllerName": "example.com/x"}, []),
        ("GatewayClass", {"controllerName": "example.com"}, ["controllerName"]),
        ("GatewayClass", {"controllerName": "example.com/"}, ["controllerName"]),
        (
            "GatewayClass",
            {"controllerName": "example.com/x", "description": "x" * 65},
            ["description"],
        ),
        ("UDPRoute", {"rules": [{"backendRefs": BACKEND}]}, []),
        ("UDPRoute", {"rules": []}, ["rules"]),
        ("TCPRoute", {"rules": [{"backendRefs": BACKEND}, {"backendRefs": BACKEND}]}, ["rules"]),
        (
            "TCPRoute",
            {"rules": [{"backendRefs": [{"name": "web"}]}]},
            ["rules[0].backendRefs[0].port"],
        ),
        ("TLSRoute", {"hostnames": [], "rules": [{"backendRefs": BACKEND}]}, ["hostnames"]),
        (
            "TLSRoute",
            {"hostnames": ["10.0.0.1"], "rules": [{"backendRefs": BACKEND}]},
            ["hostnames[0]"],
        ),
        (
            "ReferenceGrant",
            {"from": [{"group": "", "kind": "X", "namespace": "a"}], "to": []},
            ["to"],
        ),
    ],
)
def test_other_kinds(kind: str, spec: dict[str, Any], wrong: list[str]) -> None:
    assert paths(kind, spec) == [f"spec.{path}" for path in wrong]


def policy(*targets: dict[str, Any], **validation: Any) -> dict[str, Any]:
    made = [{"group": "", "kind": "Service", "name": "web", **target} for target in targets]
    return {"targetRefs": made, "validation": {"hostname": "web.test", **validation}}


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        (policy({}, caCertificateRefs=[CA]), []),
        (policy({}, wellKnownCACertificates="System"), []),
        (policy({}, wellKnownCACertificates="Mine"), ["validation.wellKnownCACertificates"]),
        (policy(wellKnownCACertificates="System"), ["targetRefs"]),
        (policy({}, {"name": "api"}, wellKnownCACertificates="System"), []),
        (policy({}, {}, wellKnownCACertificates="System"), ["targetRefs[1]"]),
        (policy({}, {"sectionName": "a"}, wellKnownCACertificates="System"), ["targetRefs[1]"]),
        (
            policy({"sectionName": "a"}, {"sectionName": "b"}, wellKnownCACertificates="System"),
            [],
        ),
        (
            policy({"sectionName": "a"}, {"sectionName": "a"}, wellKnownCACertificates="System"),
            ["targetRefs[1]"],
        ),
        (policy({}), ["validation.caCertificateRefs"]),
        (policy({}, caCertificateRefs=[CA], wellKnownCACertificates="System"), ["validation"]),
        (
            policy({}, wellKnownCACertificates="System", hostname="*.test"),
            ["validation.hostname"],
        ),
        (
            policy({}, caCertificateRefs=[CA], subjectAltNames=[{"type": "Hostname"}]),
            ["validation.subjectAltNames[0].hostname"],
        ),
        (
            policy({}, caCertificateRefs=[CA], subjectAltNames=[{"type": "URI", "uri": "a://b"}]),
            [],
        ),
        (
            policy(
                {},
                caCertificateRefs=[CA],
                subjectAltNames=[{"type": "URI", "uri": "a://b", "hostname": "a.b"}],
            ),
            ["validation.subjectAltNames[0].hostname"],
        ),
        (
            policy({}, caCertificateRefs=[CA], subjectAltNames=[{"type": "URI", "uri": "b"}]),
            ["validation.subjectAltNames[0].uri"],
        ),
    ],
)
def test_backend_tls_policies(spec: dict[str, Any], wrong: list[str]) -> None:
    assert paths("BackendTLSPolicy", spec) == [f"spec.{path}" for path in wrong]


def cors(**fields: Any) -> dict[str, Any]:
    return {"filters": [step("CORS", "cors", fields)], "backendRefs": BACKEND}


CORS_AT = "filters[0].cors"


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        (cors(allowOrigins=["*"]), []),
        (cors(allowOrigins=["https://*.a.test:8443"]), []),
        (cors(allowOrigins=["a.test"]), [f"{CORS_AT}.allowOrigins[0]"]),
        (cors(allowOrigins=["*", "https://a.test"]), [f"{CORS_AT}.allowOrigins"]),
        (cors(allowMethods=["*", "GET"]), [f"{CORS_AT}.allowMethods"]),
        (cors(allowHeaders=["*", "x-a"]), [f"{CORS_AT}.allowHeaders"]),
        ({"matches": [{"path": {"value": "/a b"}}]}, ["matches[0].path.value"]),
        ({"matches": [{"path": {"value": "/%zz"}}]}, ["matches[0].path.value"]),
        ({"matches": [{"path": {"value": "/%20"}}]}, []),
        ({"matches": [{"path": {"value": "/" + "a" * 1024}}]}, ["matches[0].path.value"]),
        (
            {"matches": [{"headers": [{"name": "a", "value": ""}]}]},
            ["matches[0].headers[0].value"],
        ),
        (
            {"matches": [{"headers": [{"name": "a", "value": "b"}, {"name": "A", "value": "c"}]}]},
            ["matches[0].headers[1].name"],
        ),
        (
            {"matches": [{"queryParams": [{"name": "a b", "value": "c"}]}]},
            ["matches[0].queryParams[0].name"],
        ),
        ({"matches": [{}] * 65}, ["matches"]),
        ({"backendRefs": BACKEND * 17}, ["backendRefs"]),
    ],
)
def test_more_rules_of_http_routes(rule: dict[str, Any], wrong: list[str]) -> None:
    found = paths("HTTPRoute", {"parentRefs": [{"name": "g"}], "rules": [rule]})
    assert found == [f"spec.rules[0].{path}" for path in wrong]


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        ({"service": "shop.v1.Cart", "method": "Get_1"}, []),
        ({"service": "shop/Cart"}, ["service"]),
        ({"method": "Get Cart"}, ["method"]),
        ({"type": "RegularExpression", "service": "shop.*", "method": "Get(A|B)"}, []),
    ],
)
def test_methods_of_grpc_routes(method: dict[str, Any], wrong: list[str]) -> None:
    rule = {"matches": [{"method": method}], "backendRefs": BACKEND}
    found = paths("GRPCRoute", {"parentRefs": [{"name": "g"}], "rules": [rule]})
    assert found == [f"spec.rules[0].matches[0].method.{path}" for path in wrong]


@pytest.mark.parametrize(
    ("wanted", "wrong"),
    [
        ({"protocol": "HTTP", "http": {"path": "/check"}}, []),
        ({"protocol": "GRPC", "grpc": {"allowedHeaders": ["x-a"]}}, []),
        ({"protocol": "HTTP"}, ["http"]),
        ({"protocol": "GRPC", "grpc": {}, "http": {}}, ["http"]),
        ({"http": {}}, ["protocol"]),
        ({"protocol": "HTTP", "http": {"path": "check"}}, ["http.path"]),
        ({"protocol": "HTTP", "http": {"allowedHeaders": ["a b"]}}, ["http.allowedHeaders[0]"]),
    ],
)
def test_external_auth(wanted: dict[str, Any], wrong: list[str]) -> None:
    auth = {"backendRef": {"name": "authz", "port": 80}, **wanted}
    filters = [{"type": "ExternalAuth", "externalAuth": auth}]
    at = "spec.rules[0].filters[0].externalAuth."
    found = paths("HTTPRoute", {"rules": [{"filters": filters, "backendRefs": BACKEND}]})
    assert found == [at + field for field in wrong]

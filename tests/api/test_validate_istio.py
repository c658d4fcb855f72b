"""Rules of the Istio kinds, each with its place."""

import copy
from typing import Any

import pytest

from tests.api.test_structure import ENTRY, GATEWAY, ROUTES, RULE, kind_of
from weft.api.validation import check_manifest

Found = list[tuple[str, str]]


def errors(obj: dict[str, Any], spec: dict[str, Any]) -> Found:
    body = {**obj, "spec": {**copy.deepcopy(obj["spec"]), **spec}}
    return [(e.path, e.body) for e in check_manifest(kind_of(obj), body)]


def expect(found: Found, path: str, body: str) -> None:
    assert [p for p, _ in found] == [path]
    assert body in found[0][1]


TO = [{"destination": {"host": "a"}}]
TWO = [{"destination": {"host": "a"}}, {"destination": {"host": "b"}}]
H = "spec.http[0]"


@pytest.mark.parametrize(
    ("spec", "path", "body"),
    [
        ({"hosts": []}, "spec.hosts", "Required value"),
        ({"hosts": ["*"]}, "spec.hosts[0]", "wildcard host * is not allowed"),
        ({"hosts": ["a", "A"]}, "spec.hosts[1]", "Duplicate value"),
        ({"hosts": ["http://a"]}, "spec.hosts[0]", "without scheme and path"),
        ({"hosts": ["a:80"]}, "spec.hosts[0]", "without a port"),
        ({"hosts": ["a.*.b"]}, "spec.hosts[0]", "first label"),
        ({"gateways": ["a/b/c"]}, "spec.gateways[0]", "RFC 1123"),
        ({"exportTo": ["a b"]}, "spec.exportTo[0]", "RFC 1123"),
        ({"http": [], "tcp": []}, "spec.http", "a virtual service needs routes"),
        ({"tcp": [{}]}, "spec.tcp[0].route", "Required value"),
        ({"tcp": [{"route": TO, "match": [{"destinationSubnets": ["x"]}]}]},
         "spec.tcp[0].match[0].destinationSubnets[0]", "CIDR"),
        ({"tls": [{"route": TO, "match": [{"sniHosts": []}]}]}, "spec.tls[0].match[0].sniHosts",
         "Required value"),
    ],
)  # fmt: skip
def test_virtual_service(spec: dict[str, Any], path: str, body: str) -> None:
    expect(errors(ROUTES, spec), path, body)


@pytest.mark.parametrize(
    ("route", "path", "body"),
    [
        ({}, H, "must specify one of: `route`, `redirect`, `directResponse`, `delegate`"),
        ({"route": TO, "redirect": {"uri": "/"}}, f"{H}.redirect", "together with `route`"),
        ({"redirect": {"uri": "/"}, "rewrite": {"uri": "/"}}, f"{H}.rewrite",
         "together with `redirect`"),
        ({"redirect": {}}, f"{H}.redirect", "must change"),
        ({"redirect": {"uri": "/", "prefixRewrite": "/b"}}, f"{H}.redirect.prefixRewrite",
         "give one"),
        ({"redirect": {"uri": "/", "redirectCode": 200}}, f"{H}.redirect.redirectCode",
         "300 and 399"),
        ({"directResponse": {"status": 99}}, f"{H}.directResponse.status", "200 and 599"),
        ({"route": TWO}, f"{H}.route", "the sum of all weights must be greater than 0"),
        ({"route": [{"destination": {"host": ""}}]}, f"{H}.route[0].destination.host", "Required"),
        ({"route": [{"destination": {}}]}, f"{H}.route[0].destination.host", "Required"),
        ({"route": [{"destination": {"host": "*"}}]}, f"{H}.route[0].destination.host", "wildcard"),
        ({"route": [{"destination": {"host": "a"}, "weight": -1}]}, f"{H}.route[0].weight",
         "must be between 0"),
        ({"route": TO, "timeout": "5"}, f"{H}.timeout", "is not a duration"),
        ({"route": TO, "timeout": "10us"}, f"{H}.timeout", "at least 1ms"),
        ({"route": TO, "timeout": "-1s"}, f"{H}.timeout", "must not be negative"),
        ({"route": TO, "retries": {"attempts": 0, "retryOn": "5xx"}}, f"{H}.retries.retryOn",
         "switches retries off"),
        ({"route": TO, "match": [{"uri": {}}]}, f"{H}.match[0].uri", "must specify one of"),
        ({"route": TO, "match": [{"uri": {"exact": "/", "prefix": "/"}}]},
         f"{H}.match[0].uri.prefix", "together with `exact`"),
        ({"route": TO, "match": [{"uri": {"regex": "("}}]}, f"{H}.match[0].uri.regex",
         "is no regular expression"),
        ({"route": TO, "match": [{"headers": {"x-a": {"regex": "a(?=b)"}}}]},
         f"{H}.match[0].headers.x-a.regex", "RE2 expressions know no `(?=`"),
        ({"route": TO, "match": [{"method": {"exact": "GET"}, "sourceLabels": {"a": "b c"}}]},
         f"{H}.match[0].sourceLabels", "a valid label"),
        ({"route": TO, "fault": {"delay": {"percentage": {"value": 5}}}},
         f"{H}.fault.delay.fixedDelay", "Required value"),
        ({"route": TO, "fault": {"abort": {}}}, f"{H}.fault.abort", "must specify one of"),
        ({"route": TO, "fault": {"abort": {"httpStatus": 500, "percentage": {"value": 101}}}},
         f"{H}.fault.abort.percentage.value", "must be between 0 and 100"),
        ({"route": TO, "rewrite": {}}, f"{H}.rewrite", "must specify"),
        ({"route": TO, "mirror": {"host": "m"}, "mirrors": [{"destination": {"host": "n"}}]},
         f"{H}.mirrors", "together with `mirror`"),
        ({"route": TO, "corsPolicy": {"allowMethods": ["get"]}}, f"{H}.corsPolicy.allowMethods[0]",
         "capital letters"),
        ({"route": TO, "corsPolicy": {"allowOrigins": [{}]}}, f"{H}.corsPolicy.allowOrigins[0]",
         "must specify one of"),
    ],
)  # fmt: skip
def test_http_route(route: dict[str, Any], path: str, body: str) -> None:
    expect(errors(ROUTES, {"http": [route]}), path, body)


def test_valid_routes() -> None:
    for route in (
        {"route": TO, "timeout": "0s", "match": [{"headers": {"x": {}}}]},
        {"route": [{"destination": {"host": "a"}, "weight": 0}]},
        {"redirect": {"authority": "b", "redirectCode": 308}},
        {"redirect": {"prefixRewrite": "/b"}},
        {"directResponse": {"status": 503, "body": {"string": "no"}}},
        {"route": TO, "match": [{"uri": {"regex": "/a/[^/]+(?:/.*)?"}}]},
        {"delegate": {"name": "d"}},
    ):
        assert errors(ROUTES, {"http": [route]}) == []
    body = {**ROUTES, "spec": {"http": [{"route": TO}]}}
    assert check_manifest(kind_of(ROUTES), body) == []


def test_a_bare_number_is_told_its_unit() -> None:
    body = {**ROUTES, "spec": {"hosts": ["a"], "http": [{"route": TO, "timeout": "5"}]}}
    (found,) = check_manifest(kind_of(ROUTES), body)
    assert found.suggestion == "did you mean `5s`?"


P = "spec.trafficPolicy"


@pytest.mark.parametrize(
    ("policy", "path", "body"),
    [
        ({"loadBalancer": {}}, f"{P}.loadBalancer", "must specify one of"),
        ({"loadBalancer": {"simple": "RANDOM", "consistentHash": {"useSourceIp": True}}},
         f"{P}.loadBalancer.consistentHash", "together with `simple`"),
        ({"loadBalancer": {"simple": "ROUND"}}, f"{P}.loadBalancer.simple", "Unsupported value"),
        ({"loadBalancer": {"consistentHash": {}}}, f"{P}.loadBalancer.consistentHash", "one of"),
        ({"loadBalancer": {"consistentHash": {"useSourceIp": True, "httpHeaderName": "x"}}},
         f"{P}.loadBalancer.consistentHash.useSourceIp", "together with `httpHeaderName`"),
        ({"loadBalancer": {"simple": "RANDOM", "warmup": {"duration": "10s"}}},
         f"{P}.loadBalancer.warmup", "only supported with"),
        ({"loadBalancer": {"localityLbSetting": {"distribute": [{"from": "a", "to": {"b": 90}}]}}},
         f"{P}.loadBalancer.localityLbSetting.distribute[0].to", "add up to 100, these to 90"),
        ({"loadBalancer": {"localityLbSetting": {"failover": [{"from": "a", "to": "a"}]}}},
         f"{P}.loadBalancer.localityLbSetting.failover[0].to", "must differ"),
        ({"outlierDetection": {"interval": "1"}}, f"{P}.outlierDetection.interval", "duration"),
        ({"outlierDetection": {"maxEjectionPercent": 101}},
         f"{P}.outlierDetection.maxEjectionPercent", "must be between 0 and 100"),
        ({"connectionPool": {"tcp": {"connectTimeout": "1us"}}},
         f"{P}.connectionPool.tcp.connectTimeout", "at least 1ms"),
        ({"tls": {"mode": "ISTIO_MUTUAL", "credentialName": "c"}}, f"{P}.tls.credentialName",
         "may not be set"),
        ({"tls": {"mode": "MUTUAL", "clientCertificate": "c"}}, f"{P}.tls.privateKey", "is needed"),
        ({"portLevelSettings": [{}]}, f"{P}.portLevelSettings[0].port.number", "Required value"),
        ({"tunnel": {"targetHost": "a"}}, f"{P}.tunnel.targetPort", "Required value"),
    ],
)  # fmt: skip
def test_destination_rule_policy(policy: dict[str, Any], path: str, body: str) -> None:
    expect(errors(RULE, {"trafficPolicy": policy}), path, body)


@pytest.mark.parametrize(
    ("spec", "path", "body"),
    [
        ({"host": ""}, "spec.host", "Required value"),
        ({"host": "a/b"}, "spec.host", "without scheme and path"),
        ({"subsets": [{"name": "a"}, {"name": "a"}]}, "spec.subsets[1].name", "Duplicate value"),
        ({"subsets": [{"name": "a b"}]}, "spec.subsets[0].name", "RFC 1123"),
        ({"subsets": [{"labels": {}}]}, "spec.subsets[0].name", "Required value"),
        ({"subsets": [{"name": "a", "trafficPolicy": {"tls": {"mode": "x"}}}]},
         "spec.subsets[0].trafficPolicy.tls.mode", "Unsupported value"),
        ({"workloadSelector": {"matchLabels": {"a": "b c"}}}, "spec.workloadSelector.matchLabels",
         "a valid label"),
    ],
)  # fmt: skip
def test_destination_rule(spec: dict[str, Any], path: str, body: str) -> None:
    expect(errors(RULE, spec), path, body)


HTTP = {"number": 80, "name": "http", "protocol": "HTTP"}
HTTPS = {"number": 443, "name": "https", "protocol": "HTTPS"}
S = "spec.servers[0]"


@pytest.mark.parametrize(
    ("server", "path", "body"),
    [
        ({"port": HTTP}, f"{S}.hosts", "Required value"),
        ({"port": HTTP, "hosts": []}, f"{S}.hosts", "Required value"),
        ({"hosts": ["*"]}, f"{S}.port", "Required value"),
        ({"port": HTTP, "hosts": ["a b"]}, f"{S}.hosts[0]", "must be a DNS name"),
        ({"port": {"number": 80, "name": "x"}, "hosts": ["*"]}, f"{S}.port.protocol", "Required"),
        ({"port": {**HTTP, "protocol": "HTTQ"}, "hosts": ["*"]}, f"{S}.port.protocol",
         "Unsupported value"),
        ({"port": {**HTTP, "number": 0}, "hosts": ["*"]}, f"{S}.port.number",
         "between 1 and 65535"),
        ({"port": HTTPS, "hosts": ["*"]}, f"{S}.tls", "is needed for protocol HTTPS"),
        ({"port": HTTP, "hosts": ["*"], "tls": {"mode": "SIMPLE"}}, f"{S}.tls.mode",
         "only `httpsRedirect` is possible"),
        ({"port": HTTPS, "hosts": ["*"], "tls": {"mode": "SIMPLE"}}, f"{S}.tls.credentialName",
         "a certificate is needed"),
        ({"port": HTTPS, "hosts": ["*"], "tls": {"serverCertificate": "/c"}}, f"{S}.tls.privateKey",
         "is needed beside"),
        ({"port": HTTPS, "hosts": ["*"], "tls": {"mode": "MUTUAL", "serverCertificate": "/c",
         "privateKey": "/k"}}, f"{S}.tls.caCertificates", "when `mode` is MUTUAL"),
        ({"port": HTTPS, "hosts": ["*"], "tls": {"credentialName": "c", "mode": "SIMPEL"}},
         f"{S}.tls.mode", "Unsupported value"),
        ({"port": HTTPS, "hosts": ["*"], "tls": {"credentialName": "c",
         "verifyCertificateHash": ["ab" * 32, "aa"]}}, f"{S}.tls.verifyCertificateHash[1]",
         "64 hexadecimal digits"),
        ({"port": HTTPS, "hosts": ["*"], "tls": {"credentialName": "c",
         "verifyCertificateSpki": ["A" * 43 + "=", "A" * 44]}}, f"{S}.tls.verifyCertificateSpki[1]",
         "44 characters"),
    ],
)  # fmt: skip
def test_gateway_server(server: dict[str, Any], path: str, body: str) -> None:
    expect(errors(GATEWAY, {"servers": [server]}), path, body)


def test_fingerprints_of_certificates() -> None:
    """As OpenSSL prints them, with colons or without."""
    digests = ["ab" * 32, ":".join(["AB"] * 32)]
    tls = {"credentialName": "c", "mode": "MUTUAL", "verifyCertificateHash": digests}
    assert errors(GATEWAY, {"servers": [{"port": HTTPS, "hosts": ["*"], "tls": tls}]}) == []


def test_gateways() -> None:
    assert errors(GATEWAY, {"servers": []})[0][0] == "spec.servers"
    two = [{"port": HTTP, "hosts": ["a"]}, {"port": {**HTTP, "number": 81}, "hosts": ["b"]}]
    expect(errors(GATEWAY, {"servers": two}), "spec.servers[1].port.name", "Duplicate value")
    for server in (
        {"port": HTTP, "hosts": ["*.example.com", "ns/a.example.com", "./*"]},
        {"port": HTTP, "hosts": ["*"], "tls": {"httpsRedirect": True}},
        {"port": HTTPS, "hosts": ["*"], "tls": {"mode": "PASSTHROUGH"}},
        {"port": HTTPS, "hosts": ["*"], "tls": {"serverCertificate": "/c", "privateKey": "/k"}},
        {"port": {**HTTP, "protocol": "grpc"}, "hosts": ["*"]},
    ):
        assert errors(GATEWAY, {"servers": [server]}) == []


@pytest.mark.parametrize(
    ("spec", "path", "body"),
    [
        ({"hosts": []}, "spec.hosts", "Required value"),
        ({"hosts": ["*.a.com"]}, "spec.hosts[0]", "must not be a wildcard"),
        ({"addresses": ["x"]}, "spec.addresses[0]", "valid IP address"),
        ({"ports": [{"number": 80}], "endpoints": [{"address": "1.2.3.4"}]}, "spec.ports[0].name",
         "Required value"),
        ({"ports": [{"number": 80, "name": "http"}, {"number": 80, "name": "b"}]},
         "spec.ports[1].number", "Duplicate value"),
        ({"endpoints": []}, "spec.endpoints", "must be provided when `resolution` is STATIC"),
        ({"endpoints": [{"address": "a.b"}]}, "spec.endpoints[0].address", "valid IP address"),
        ({"endpoints": [{"address": ""}]}, "spec.endpoints[0].address", "Required value"),
        ({"endpoints": [{"address": "1.2.3.4", "ports": {"htp": 1}}]},
         "spec.endpoints[0].ports.htp", 'Not found: "htp"'),
        ({"resolution": "NONE"}, "spec.endpoints", "may not be set when `resolution` is NONE"),
        ({"resolution": "DNS", "addresses": ["10.0.0.0/8"]}, "spec.addresses[0]", "only possible"),
        ({"workloadSelector": {"labels": {"a": "b"}}}, "spec.endpoints", "together with"),
        ({"resolution": "DSN"}, "spec.resolution", "Unsupported value"),
    ],
)  # fmt: skip
def test_service_entry(spec: dict[str, Any], path: str, body: str) -> None:
    found = errors(ENTRY, spec)
    assert found[0][0] == path
    assert body in found[0][1]


def test_valid_service_entries() -> None:
    dns = {"resolution": "DNS", "addresses": [], "endpoints": []}
    assert errors(ENTRY, dns) == []
    assert errors(ENTRY, {**dns, "endpoints": [{"address": "b.example.com"}]}) == []
    assert errors(ENTRY, {**dns, "hosts": ["*.a.com"], "resolution": "NONE"}) == []
    assert errors(ENTRY, {"endpoints": [], "workloadSelector": {"labels": {"a": "b"}}}) == []


MACHINE = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "WorkloadEntry",
    "metadata": {"name": "vm", "namespace": "default"},
    "spec": {"address": "192.0.2.1", "labels": {"app": "db"}, "ports": {"http": 8080}},
}


@pytest.mark.parametrize(
    ("spec", "path", "body"),
    [
        ({"address": ""}, "spec.address", "Required value"),
        ({"address": "not a name"}, "spec.address", "Invalid value"),
        ({"address": "unix:///run/x"}, "spec.ports", "not possible with a Unix socket"),
        ({"labels": {"app": "a b"}}, "spec.labels", "Invalid value"),
        ({"port": 1}, "spec.port", "unknown"),
    ],
)
def test_workload_entry(spec: dict[str, Any], path: str, body: str) -> None:
    found = errors(MACHINE, spec)
    assert found[0][0].startswith(path)
    assert body in found[0][1]


def test_valid_workload_entries() -> None:
    assert errors(MACHINE, {}) == []
    assert errors(MACHINE, {"address": "vm.example.com"}) == []

"""The Gateway API: objects as its guides write them, real traffic, statuses as kubectl shows."""

import contextlib
import json
import socket
import ssl
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.instance import Instance, ask, ask_all, wait_for

pytestmark = pytest.mark.e2e

API = "/apis/gateway.networking.k8s.io/v1"
CLIENT = "client.test"
GATEWAY = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front}
spec:
  gatewayClassName: weft
  listeners:
    - {name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}
"""
WORLD = """
---
apiVersion: v1
kind: Namespace
metadata: {name: other}
"""


def route(name: str, host: str, rules: str, namespace: str = "default", kind: str = "") -> str:
    return f"""
---
apiVersion: gateway.networking.k8s.io/v1
kind: {kind or "HTTPRoute"}
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  parentRefs: [{{name: front, namespace: default}}]
  hostnames: ["{host}"]
  rules: {rules}
"""


def to(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "port": 80, **more}


def prefix(path: str, kind: str = "PathPrefix") -> list[dict[str, Any]]:
    return [{"path": {"type": kind, "value": path}}]


@pytest.fixture(scope="module")
def weft(isolated: Instance) -> Instance:
    """Without network namespaces the same happens: once is enough."""
    return isolated


@pytest.fixture(scope="module")
def shop(weft: Instance) -> Instance:
    other = m.echo("far", "v3").replace("metadata:\n", "metadata:\n  namespace: other\n", 1)
    far = m.service("far").replace("metadata:\n", "metadata:\n  namespace: other\n", 1)
    text = WORLD + "---" + m.echo("one", "v1") + "---" + m.echo("two", "v2")
    text += "---" + m.echo("client") + "---" + other
    text += m.service("one") + m.service("two") + m.service("client") + far + GATEWAY
    text += route("client", CLIENT, json.dumps([{"backendRefs": [to("client")]}]))
    weft.weft("apply", "-f", "-", stdin=text)
    for app in ("one", "two", "client"):
        weft.wait_ready(f"app={app}", 1)
    wait_for(lambda: ask(weft, "/who", CLIENT)[0] == 200, "the client behind the gateway")
    return weft


def serve(weft: Instance, name: str, rules: list[dict[str, Any]], **more: str) -> str:
    """Applies a route for a host of its own and waits until it is in force."""
    host = f"{name}.test"
    weft.weft("apply", "-f", "-", stdin=route(name, host, json.dumps(rules), **more))
    wait_for(lambda: ask(weft, "/none", host)[0] != 404 or ask(weft, "/one", host)[0] != 404, name)
    return host


def status_of(weft: Instance, kind: str, name: str, namespace: str = "default") -> Any:
    place = f"namespaces/{namespace}/{kind}" if namespace else kind
    return weft.read(f"{API}/{place}/{name}").get("status", {})


def conditions(found: Any) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in found["conditions"]}


def parent(weft: Instance, name: str, namespace: str = "default") -> dict[str, tuple[str, str]]:
    """Conditions of a route's first parent, once there are any."""
    found = wait_for(
        lambda: status_of(weft, "httproutes", name, namespace).get("parents"), f"status of {name}"
    )
    assert found[0]["controllerName"] == "weft.dev/gateway-controller"
    return conditions(found[0])


# --- statuses


def test_class_and_gateway_say_how_they_fare(shop: Instance) -> None:
    found = wait_for(
        lambda: (s := status_of(shop, "gatewayclasses", "weft", "")).get("supportedFeatures") and s,
        "class status",
    )
    assert conditions(found)["Accepted"] == ("True", "Accepted")
    assert {"name": "HTTPRoute"} in found["supportedFeatures"]

    def programmed() -> Any:
        found = status_of(shop, "gateways", "front")
        return found if conditions(found)["Programmed"][0] == "True" else None

    found = wait_for(programmed, "Gateway programmed")
    assert conditions(found)["Accepted"] == ("True", "Accepted")
    own, _ = shop.bound(80, "default/front")
    assert own.startswith("127.")
    assert found["addresses"] == [{"type": "IPAddress", "value": own}]
    (listener,) = found["listeners"]
    assert listener["attachedRoutes"] >= 1
    assert [k["kind"] for k in listener["supportedKinds"]] == ["HTTPRoute", "GRPCRoute"]
    assert conditions(listener) == {
        "Accepted": ("True", "Accepted"),
        "Conflicted": ("False", "NoConflicts"),
        "ResolvedRefs": ("True", "ResolvedRefs"),
        "Programmed": ("True", "Programmed"),
    }
    route_conditions = parent(shop, "client")
    assert route_conditions["Accepted"] == ("True", "Accepted")
    assert route_conditions["ResolvedRefs"] == ("True", "ResolvedRefs")


def test_kubectl_shows_gateways_of_both_groups(shop: Instance) -> None:
    own, _ = shop.bound(80, "default/front")
    table = shop.kubectl("get", "gateways.gateway.networking.k8s.io").splitlines()
    assert table[0].split() == ["NAME", "CLASS", "ADDRESS", "PROGRAMMED", "AGE"]
    assert table[1].split()[:4] == ["front", "weft", own, "True"]
    assert "weft.dev/gateway-controller" in shop.kubectl("get", "gatewayclass")
    assert 'client   ["client.test"]' in shop.kubectl("get", "httproutes")
    assert "front" not in shop.kubectl("get", "gateways.networking.istio.io", check=False)


def test_reasons_why_a_route_is_not_attached(shop: Instance) -> None:
    text = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: narrow}
spec:
  gatewayClassName: weft
  listeners:
    - {name: a, port: 8081, protocol: HTTP, hostname: "*.narrow.test"}
    - {name: u, port: 8082, protocol: example.com/what}
"""
    for name, namespace, ref, host in (
        ("no-section", "default", {"name": "narrow", "sectionName": "z"}, "a.narrow.test"),
        ("no-host", "default", {"name": "narrow"}, "elsewhere.test"),
        ("not-allowed", "other", {"name": "narrow", "namespace": "default"}, "a.narrow.test"),
        ("good", "default", {"name": "narrow", "port": 8081}, "a.narrow.test"),
    ):
        spec = {
            "parentRefs": [ref],
            "hostnames": [host],
            "rules": [{"backendRefs": [to("nobody" if name == "good" else "one")]}],
        }
        metadata = {"name": name, "namespace": namespace}
        body = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"}
        text += "\n---\n" + json.dumps({**body, "metadata": metadata, "spec": spec})
    shop.kubectl("apply", "-f", "-", stdin=text)
    assert parent(shop, "no-section")["Accepted"] == ("False", "NoMatchingParent")
    assert parent(shop, "no-host")["Accepted"] == ("False", "NoMatchingListenerHostname")
    assert parent(shop, "not-allowed", "other")["Accepted"] == ("False", "NotAllowedByListeners")
    assert parent(shop, "good")["Accepted"] == ("True", "Accepted")
    assert parent(shop, "good")["ResolvedRefs"] == ("False", "BackendNotFound")
    found = wait_for(lambda: status_of(shop, "gateways", "narrow").get("listeners"), "listeners")
    assert found[0]["attachedRoutes"] == 1
    assert conditions(found[1])["Accepted"] == ("False", "UnsupportedProtocol")
    wait_for(
        lambda: ask(shop, "/who", "a.narrow.test", port=8081, gateway="default/narrow")[0] == 500,
        "no back end: 500",
    )


# --- matches and precedence


def test_the_most_specific_match_wins(shop: Instance) -> None:
    header = {"headers": [{"name": "X-Two", "value": "yes"}]}
    host = serve(
        shop,
        "match",
        [
            {"matches": prefix("/"), "backendRefs": [to("one")]},
            {"matches": prefix("/who/"), "backendRefs": [to("two")]},
            {"matches": [{**prefix("/who")[0], **header}], "backendRefs": [to("one")]},
            {"matches": prefix("/whole", "Exact"), "backendRefs": [to("two")]},
            {"matches": [header], "backendRefs": [to("two")]},
            {
                "matches": [{"queryParams": [{"name": "v", "value": "2"}], "method": "POST"}],
                "backendRefs": [to("two")],
            },
        ],
    )

    def who(path: str, **more: Any) -> str:
        return ask_all(shop, "/headers" if path == "h" else path, host, **more)[1]

    assert who("/who") == "v2"  # PathPrefix /who/ means /who and below
    assert who("/who", headers={"x-two": "yes"}) == "v1"
    assert ask(shop, "/whom", host)[0] == 404 or who("/whom") != "v2"  # not a segment of /who


def test_weights_and_zero(shop: Instance) -> None:
    host = serve(
        shop,
        "weights",
        [
            {
                "matches": prefix("/who"),
                "backendRefs": [to("one", weight=9), to("two", weight=1)],
            },
            {"matches": prefix("/none"), "backendRefs": [to("one", weight=0)]},
            {
                "matches": prefix("/half"),
                "filters": [
                    {
                        "type": "URLRewrite",
                        "urlRewrite": {
                            "path": {"type": "ReplaceFullPath", "replaceFullPath": "/who"}
                        },
                    }
                ],
                "backendRefs": [to("one"), to("missing")],
            },
        ],
    )
    counts = Counter(ask(shop, "/who", host)[1] for _ in range(200))
    assert 3 <= counts["v2"] <= 50
    assert counts["v1"] + counts["v2"] == 200
    assert ask(shop, "/none", host)[0] == 500
    halves = Counter(ask(shop, "/half", host)[0] for _ in range(60))
    assert halves[200] > 10
    assert halves[500] > 10
    assert parent(shop, "weights")["ResolvedRefs"] == ("False", "BackendNotFound")


# --- filters


def test_redirects(shop: Instance) -> None:
    def redirect(prefix_: str, **fields: Any) -> dict[str, Any]:
        step = {"type": "RequestRedirect", "requestRedirect": fields}
        return {"matches": prefix(prefix_), "filters": [step]}

    new = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}
    root = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}
    full = {"type": "ReplaceFullPath", "replaceFullPath": "/all"}
    host = serve(
        shop,
        "redirect",
        [
            redirect("/none", statusCode=301, scheme="https", hostname="secure.test"),
            redirect("/old", path=new, statusCode=308),
            redirect("/gone", path=root),
            redirect("/full", path=full, port=8443, statusCode=307),
        ],
    )

    def moved(path: str) -> tuple[int, str]:
        status, _, headers = ask_all(shop, path, host)
        return status, headers["location"]

    assert moved("/none?a=b") == (301, "https://secure.test/none?a=b")
    assert moved("/old/x?a=b") == (308, f"http://{host}/new/x?a=b")
    assert moved("/old") == (308, f"http://{host}/new")
    assert moved("/gone/x/y") == (302, f"http://{host}/x/y")
    assert moved("/gone") == (302, f"http://{host}/")
    assert moved("/full/x") == (307, f"http://{host}:8443/all")


def test_rewrites_and_headers(shop: Instance) -> None:
    def rewrite(value: str) -> dict[str, Any]:
        path = {"type": "ReplacePrefixMatch", "replacePrefixMatch": value}
        return {"type": "URLRewrite", "urlRewrite": {"path": path, "hostname": "inner.test"}}

    changes = {
        "type": "ResponseHeaderModifier",
        "responseHeaderModifier": {"set": [{"name": "X-Answer", "value": "weft"}]},
    }
    host = serve(
        shop,
        "rewrite",
        [
            {
                "matches": prefix("/a"),
                "filters": [rewrite("/"), changes],
                "backendRefs": [to("two")],
            },
            {"matches": prefix("/b"), "filters": [rewrite("/who")], "backendRefs": [to("one")]},
            {"backendRefs": [to("one")]},
        ],
    )
    status, body, headers = ask_all(shop, "/a/who", host)
    assert (status, body, headers["x-answer"]) == (200, "v2", "weft")
    assert ask(shop, "/b", host) == (200, "v1")


def test_limits(shop: Instance) -> None:
    host = serve(shop, "limits", [{"timeouts": {"request": "300ms"}, "backendRefs": [to("one")]}])
    started = time.monotonic()
    assert ask(shop, "/slow?seconds=15", host)[0] == 504
    assert time.monotonic() - started < 10


# --- references across namespaces


def test_another_namespace_must_permit_it(shop: Instance) -> None:
    host = "grant.test"
    far = to("far", namespace="other")
    text = route("grant", host, json.dumps([{"backendRefs": [far]}]))
    shop.weft("apply", "-f", "-", stdin=text)
    assert parent(shop, "grant")["ResolvedRefs"] == ("False", "RefNotPermitted")
    wait_for(lambda: ask(shop, "/who", host)[0] == 500, "refused")
    grant = """
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: shop, namespace: other}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}]
  to: [{group: "", kind: Service, name: far}]
"""
    shop.kubectl("apply", "-f", "-", stdin=grant)
    wait_for(lambda: ask(shop, "/who", host) == (200, "v3"), "permitted")
    wait_for(lambda: parent(shop, "grant")["ResolvedRefs"][0] == "True", "status")
    shop.kubectl("delete", "referencegrant", "shop", "-n", "other")
    wait_for(lambda: ask(shop, "/who", host)[0] == 500, "refused again")


# --- HTTPS


def certificate(folder: Path, host: str) -> tuple[str, str]:
    key, pem = folder / "tls.key", folder / "tls.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}",
         "-keyout", str(key), "-out", str(pem)],
        check=True, capture_output=True,
    )  # fmt: skip
    return pem.read_text(), key.read_text()


def test_https_with_a_secret(shop: Instance, tmp_path: Path) -> None:
    host = "secure.test"
    gateway = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "tls"},
        "spec": {
            "gatewayClassName": "weft",
            "listeners": [
                {
                    "name": "https",
                    "port": 443,
                    "protocol": "HTTPS",
                    "hostname": host,
                    "tls": {"certificateRefs": [{"name": "secure"}]},
                }
            ],
        },
    }
    spec = {"parentRefs": [{"name": "tls"}], "rules": [{"backendRefs": [to("two")]}]}
    body = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "tls"},
        "spec": spec,
    }
    shop.kubectl("apply", "-f", "-", stdin=json.dumps(gateway) + "\n---\n" + json.dumps(body))

    def listener() -> dict[str, tuple[str, str]]:
        found = wait_for(lambda: status_of(shop, "gateways", "tls").get("listeners"), "listeners")
        return conditions(found[0])

    assert listener()["ResolvedRefs"] == ("False", "InvalidCertificateRef")
    assert listener()["Programmed"][0] == "False"
    pem, key = certificate(tmp_path, host)
    (tmp_path / "c.pem").write_text(pem)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "secure"},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": pem, "tls.key": key},
    }
    shop.kubectl("apply", "-f", "-", stdin=json.dumps(secret))
    wait_for(lambda: listener()["Programmed"] == ("True", "Programmed"), "HTTPS programmed")
    address, _, port = shop.gateway(443, "default/tls").removeprefix("http://").rpartition(":")
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "--cacert", f"{tmp_path}/c.pem", "--resolve",
         f"{host}:{port}:{address}", f"https://{host}:{port}/who"],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.stdout == "v2", done.stderr


# --- connections


def test_tls_by_server_name_and_tcp(shop: Instance) -> None:
    def routed(kind: str, name: str, backend: str, **spec: Any) -> str:
        body = {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": {
                "parentRefs": [{"name": "bytes"}],
                "rules": [{"backendRefs": [to(backend)]}],
                **spec,
            },
        }
        return "\n---\n" + json.dumps(body)

    listeners = [
        {"name": "tls", "port": 9443, "protocol": "TLS", "tls": {"mode": "Passthrough"}},
        {"name": "tcp", "port": 9000, "protocol": "TCP"},
    ]
    gateway = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "bytes"},
        "spec": {"gatewayClassName": "weft", "listeners": listeners},
    }
    text = json.dumps(gateway) + routed("TLSRoute", "by-name", "one", hostnames=["bytes.test"])
    shop.kubectl("apply", "-f", "-", stdin=text + routed("TCPRoute", "by-port", "two"))
    wait_for(lambda: _who(shop, 9000) == "v2", "TCP to the back end")

    def attached() -> bool:
        found = status_of(shop, "gateways", "bytes").get("listeners") or ()
        return [each["attachedRoutes"] for each in found] == [1, 1]

    wait_for(attached, "both routes are attached")
    for kind, name in (("tlsroutes", "by-name"), ("tcproutes", "by-port")):
        what = f"the status of {name}"
        (found,) = wait_for(lambda k=kind, n=name: status_of(shop, k, n).get("parents"), what)
        assert conditions(found)["Accepted"] == ("True", "Accepted")
    # Passed through, the bytes reach a program that speaks no TLS and says so in plain HTTP.
    wait_for(lambda: "HTTP/1." in _hello(shop, 9443, "bytes.test"), "an answer of the back end")
    assert _hello(shop, 9443, "unknown.test") == ""


def _who(shop: Instance, port: int) -> str:
    try:
        return ask(shop, "/who", "any.test", port=port, gateway="default/bytes")[1]
    except OSError:
        return ""


def _hello(shop: Instance, port: int, name: str) -> str:
    """What comes back on a TLS greeting for this server name."""
    address, _, bound = shop.gateway(port, "default/bytes").removeprefix("http://").rpartition(":")
    greeting = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), greeting, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    with socket.create_connection((address, int(bound)), timeout=10) as connection:
        connection.sendall(greeting.read())
        with contextlib.suppress(OSError):
            return connection.recv(4096).decode(errors="replace")
    return ""


# --- calls inside the mesh


def test_a_service_as_parent(shop: Instance) -> None:
    def inside(url: str) -> tuple[int, str]:
        return ask(shop, f"/call?url={url}", CLIENT)

    assert inside("http://one/who")[1].endswith("v1")
    spec = {
        "parentRefs": [{"group": "", "kind": "Service", "name": "one", "port": 80}],
        "rules": [{"matches": prefix("/who"), "backendRefs": [to("two")]}],
    }
    body = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "meshed"},
        "spec": spec,
    }
    shop.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    wait_for(lambda: inside("http://one/who")[1].endswith("v2"), "routed in the mesh")
    assert parent(shop, "meshed")["Accepted"] == ("True", "Accepted")
    shop.kubectl("delete", "httproute", "meshed")
    wait_for(lambda: inside("http://one/who")[1].endswith("v1"), "back again")


def test_a_route_for_callers_of_a_namespace(shop: Instance) -> None:
    """In the namespace of callers, with another's Service as parent: for those callers only."""

    def inside(caller: str) -> str:
        url = "http://one.default.svc.cluster.local/who"
        return ask(shop, f"/call?url={url}", f"{caller}.test")[1]

    far = json.dumps([{"backendRefs": [to("far")]}])
    text = route("far", "far.test", far, namespace="other")
    shop.weft("apply", "-f", "-", stdin=text)
    wait_for(lambda: inside("far") == "v1", "a caller in another namespace")
    parent_ref = {"group": "", "kind": "Service", "name": "one", "namespace": "default"}
    rules = [{"matches": prefix("/who"), "backendRefs": [to("far")]}]
    body = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "consumer", "namespace": "other"},
        "spec": {"parentRefs": [parent_ref], "rules": rules},
    }
    shop.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    wait_for(lambda: inside("far") == "v3", "the route of its namespace")
    assert inside("client") == "v1"
    assert parent(shop, "consumer", "other")["Accepted"] == ("True", "Accepted")
    # Without back ends, and with the Service itself as one (no grant says so): it gets the calls.
    modifier = {"add": [{"name": "x-consumer", "value": "yes"}]}
    changed = [{"type": "RequestHeaderModifier", "requestHeaderModifier": modifier}]
    echo = "/call?url=http://one.default.svc.cluster.local/"
    for refs in ([], [to("one", namespace="default")]):
        body["spec"]["rules"] = [{"filters": changed, "backendRefs": refs}]
        shop.kubectl("apply", "-f", "-", stdin=json.dumps(body))
        wait_for(lambda: inside("far") == "v1", "the Service itself")
        assert "x-consumer" in ask(shop, echo, "far.test")[1].lower()
        assert "x-consumer" not in ask(shop, echo, "client.test")[1].lower()
        assert parent(shop, "consumer", "other")["ResolvedRefs"] == ("True", "ResolvedRefs")
        body["spec"]["rules"] = rules
        shop.kubectl("apply", "-f", "-", stdin=json.dumps(body))
        wait_for(lambda: inside("far") == "v3", "the route of its namespace")
    shop.kubectl("delete", "httproute", "consumer", "-n", "other")
    wait_for(lambda: inside("far") == "v1", "back again")

"""Ingresses: real requests through the class that weft serves, as their guides write them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.instance import Instance, ask, wait_for
from tests.e2e.test_gateway_api import certificate

pytestmark = pytest.mark.e2e

GATEWAY = "kube-system/ingress"
INGRESS = """
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  defaultBackend: {service: {name: two, port: {name: http}}}
  rules:
  - host: shop.test
    http:
      paths:
      - {path: /echo, pathType: Prefix, backend: {service: {name: one, port: {number: 80}}}}
      - {path: /who, pathType: Exact, backend: {service: {name: one, port: {name: http}}}}
  - host: "*.wild.test"
    http:
      paths:
      - {pathType: ImplementationSpecific, backend: {service: {name: one, port: {number: 80}}}}
"""


def asked(weft: Instance, path: str, host: str) -> tuple[int, str]:
    return ask(weft, path, host, gateway=GATEWAY)


@pytest.fixture(scope="module")
def weft(isolated: Instance) -> Instance:
    """Without network namespaces the same happens: once is enough."""
    return isolated


@pytest.fixture(scope="module")
def shop(weft: Instance) -> Instance:
    text = m.echo("one", "v1") + "---" + m.echo("two", "v2") + m.service("one") + m.service("two")
    weft.kubectl("apply", "-f", "-", stdin=text + INGRESS)
    for app in ("one", "two"):
        weft.wait_ready(f"app={app}", 1)
    wait_for(lambda: asked(weft, "/who", "shop.test") == (200, "v1"), "the Ingress in force")
    return weft


def test_hosts_paths_and_the_default_backend(shop: Instance) -> None:
    status, body = asked(shop, "/echo/deep?a=b", "shop.test")
    assert (status, json.loads(body)["version"]) == (200, "v1")
    assert json.loads(body)["path"] == "/echo/deep?a=b"
    status, body = asked(shop, "/echoes", "shop.test")
    assert json.loads(body)["version"] == "v2", "a prefix is one of whole segments"
    status, body = asked(shop, "/who/am/i", "shop.test")
    assert json.loads(body)["version"] == "v2", "Exact takes no longer path"
    assert asked(shop, "/who", "a.wild.test") == (200, "v1")
    assert asked(shop, "/who", "wild.test") == (200, "v2")
    assert asked(shop, "/who", "nobody.test") == (200, "v2")


def test_the_status_says_where(shop: Instance) -> None:
    def address() -> Any:
        path = "/apis/networking.k8s.io/v1/namespaces/default/ingresses/shop"
        return shop.read(path)["status"]["loadBalancer"].get("ingress")

    (found,) = wait_for(address, "status.loadBalancer")
    where, port = shop.bound(80, GATEWAY)
    assert found == {"ip": where, "ports": [{"port": port, "protocol": "TCP"}]}
    shown = shop.kubectl("get", "ingress", "shop")
    assert where in shown
    assert "shop.test,*.wild.test" in shown
    assert "weft (default)" not in shop.kubectl("get", "ingressclass")
    assert "weft.dev/ingress-controller" in shop.kubectl("get", "ingressclass", "weft")
    described = shop.kubectl("describe", "ingress", "shop")
    assert "one:80 (" in described.replace("   ", " ")
    assert "error" not in described


def test_tls_with_secrets_of_two_ingresses(shop: Instance, tmp_path: Path) -> None:
    """Two Ingresses share a host; either's paths are served over TLS with its one certificate."""
    pem, _ = certificate(tmp_path, "secure.test")
    (tmp_path / "c.pem").write_text(pem)
    shop.kubectl(
        "create", "secret", "tls", "secure", f"--cert={tmp_path}/tls.crt",
        f"--key={tmp_path}/tls.key",
    )  # fmt: skip
    for name, path in (("one", "/who"), ("two", "/echo")):
        shop.kubectl(
            "create", "ingress", f"secure-{name}", "--class=weft",
            f"--rule=secure.test{path}={name}:80,tls=secure",
        )  # fmt: skip
    address, _, port = shop.gateway(443, GATEWAY).removeprefix("http://").rpartition(":")

    def get(path: str) -> str:
        done = subprocess.run(
            ["curl", "-sS", "--noproxy", "*", "--cacert", f"{tmp_path}/c.pem", "--resolve",
             f"secure.test:{port}:{address}", f"https://secure.test:{port}{path}"],
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
        return done.stdout

    wait_for(lambda: get("/who") == "v1", "TLS for the first Ingress")
    assert json.loads(get("/echo"))["version"] == "v2"
    assert asked(shop, "/who", "secure.test") == (200, "v1"), "plain requests are served as well"


def test_changes_and_other_classes(shop: Instance) -> None:
    patch = [{"op": "replace", "path": "/spec/rules/0/http/paths/1/backend/service/name",
              "value": "two"}]  # fmt: skip
    change = ("patch", "ingress", "shop", "--type=json", "-p")
    slip = json.dumps(patch).replace('"two"', '"nobody"')
    said = shop.kubectl(*change, slip, "--dry-run=server", check=False)
    assert "no Service is named `nobody`" in said
    assert "[WEFT2161]" in said
    assert "Warning" not in shop.kubectl(*change, json.dumps(patch), check=False)
    wait_for(lambda: asked(shop, "/who", "shop.test") == (200, "v2"), "the change in force")
    shop.kubectl("create", "ingress", "other", "--class=nginx", "--rule=nginx.test/*=one:80")
    shop.kubectl("create", "ingress", "late", "--rule=late.test/*=one:80")
    wait_for(lambda: asked(shop, "/who", "late.test") == (200, "v1"), "one without a class")
    assert asked(shop, "/who", "nginx.test") == (200, "v2"), "left to others: the default backend"
    shop.kubectl("delete", "ingress", "late")
    wait_for(lambda: asked(shop, "/who", "late.test") == (200, "v2"), "the deletion in force")

"""Certificates of gateways: what closes a server, and only that one."""

import base64
from typing import Any

import pytest

from tests.golden_support import documents
from tests.mesh.cluster import snapshot
from weft.api.gateway_bindings import bind_owner
from weft.mesh.build import BuildSettings, build
from weft.mesh.server_certificates import referenced_files

PEM = "-----BEGIN X-----\n-----END X-----\n"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def gateway(tls: dict[str, Any], namespace: str = "default") -> dict[str, Any]:
    servers = [
        {"port": {"number": 443, "name": "a", "protocol": "HTTPS"}, "hosts": ["a.b"], "tls": tls},
        {"port": {"number": 80, "name": "b", "protocol": "HTTP"}, "hosts": ["*"]},
    ]
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "edge", "namespace": namespace},
        "spec": {"servers": servers},
    }


def secret(data: dict[str, str], namespace: str = "default") -> dict[str, Any]:
    meta = {"name": "cert", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data}


GOOD = {"tls.crt": encoded(PEM), "tls.key": encoded(PEM)}


@pytest.mark.parametrize(
    ("secrets", "open_ports", "code"),
    [
        ([secret(GOOD)], [80, 443], None),
        ([secret({"cert": encoded(PEM), "key": encoded(PEM)})], [80, 443], None),
        ([secret(GOOD, "istio-system")], [80, 443], None),
        ([secret(GOOD, "elsewhere")], [80], "WEFT2106"),
        ([secret({"tls.crt": encoded(PEM)})], [80], "WEFT2107"),
        ([secret(GOOD | {"tls.key": "?"})], [80], "WEFT2107"),
        ([secret(GOOD | {"tls.key": encoded("no PEM")})], [80], "WEFT2107"),
    ],
)
def test_secrets(secrets: list[dict[str, Any]], open_ports: list[int], code: str | None) -> None:
    built = build(snapshot([gateway({"mode": "SIMPLE", "credentialName": "cert"}), *secrets]))
    assert [g.port for g in built.model.gateways] == open_ports
    assert [d.code for d in built.diagnostics] == ([code] if code else [])


def test_a_missing_file_closes_its_server_only() -> None:
    found = snapshot(documents("mesh", "gateways"))
    assert referenced_files(found) == {"/etc/tls.crt", "/etc/tls.key"}
    missing = build(found, BuildSettings(missing_files=frozenset({"/etc/tls.key"})))
    (port,) = [g for g in missing.model.gateways if g.port == 443]
    assert [s.name for s in port.servers] == ["default/edge/2", "default/edge/5"]
    assert "WEFT2315" in {d.code for d in missing.diagnostics}


def test_a_key_is_not_shown_when_a_model_is_printed() -> None:
    tls = gateway({"mode": "SIMPLE", "credentialName": "cert"})
    model = build(snapshot([tls, secret(GOOD)])).model
    assert "BEGIN" not in repr(model)


def test_addresses_that_servers_name() -> None:
    """The node's agent and the proxy's configuration agree on what a binding is called."""
    listeners = build(snapshot(documents("mesh", "gateways"))).model.gateways
    named = {g.bind: g.binding for g in listeners if g.bind}
    assert named == {a: bind_owner(a) for a in ("127.0.0.2", "2001:db8::1")}
    assert {g.binding for g in listeners if not g.bind} == {""}

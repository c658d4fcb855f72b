"""AuthenticationPolicies: which routes they are for, and that what is lacking closes them."""

from typing import Any

import pytest

from tests.mesh.cluster import snapshot
from weft.mesh.build import Built, build

OBJECTS: list[dict[str, Any]] = [
    {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]},
    },
    {
        "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "edge"},
        "spec": {
            "selector": {"istio": "ingressgateway"},
            "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"},
                         "hosts": ["web.example"]}],
        },
    },
    {
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "web"},
        "spec": {
            "hosts": ["web.example"], "gateways": ["edge", "mesh"],
            "http": [{"route": [{"destination": {"host": "web"}}]}],
        },
    },
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"},
     "stringData": {"shop": "abc"}},
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "users"},
     "stringData": {".htpasswd": "ann:{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA="}},
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "client"},
     "stringData": {"client-secret": "s3cret"}},
]  # fmt: skip


def policy(name: str, target: str = "edge", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "policy.weft.dev/v1alpha1", "kind": "AuthenticationPolicy",
        "metadata": {"name": name},
        "spec": {"targetRef": {"kind": "Gateway", "name": target}, **spec},
    }  # fmt: skip


def built(*policies: dict[str, Any]) -> tuple[list[Any], list[str], Built]:
    made = build(snapshot([*OBJECTS, *policies]))
    tables = made.model.route_tables
    logins = [
        r.login for t in tables for h in t.virtual_hosts for r in h.routes if r.login is not None
    ]
    assert all(t.ignore_port for t in tables for h in t.virtual_hosts for r in h.routes if r.login)
    return logins, [d.code for d in made.diagnostics if d.code.startswith("WEFT262")], made


def test_routes_of_the_gateway_ask_and_those_of_the_mesh_do_not() -> None:
    (login,), codes, _ = built(
        policy("p", apiKey={"secrets": [{"name": "keys"}]}, basic={"secret": {"name": "users"}})
    )
    assert login.api_keys.credentials == (("shop", "abc"),)
    assert login.api_keys.headers == ("x-api-key",)
    assert login.users.startswith("ann:")
    assert not codes


OIDC = {
    "authorizationEndpoint": "http://idp/authorize",
    "tokenEndpoint": "http://web.default.svc.cluster.local/token",
    "clientID": "shop", "clientSecret": {"name": "client"},
}  # fmt: skip


def test_a_login_at_a_provider() -> None:
    (login,), codes, _ = built(policy("p", oidc=OIDC))
    assert login.oidc.token_destination == "outbound|80||web.default.svc.cluster.local"
    assert (login.oidc.redirect_path, login.oidc.logout_path) == ("/oauth2/callback", "/logout")
    assert len(login.oidc.session_key) == 64
    assert login.oidc.session_key != "s3cret"
    assert not codes


@pytest.mark.parametrize(
    "spec",
    [
        {"apiKey": {"secrets": [{"name": "none"}]}},
        {"apiKey": {"secrets": [{"name": "keys"}, {"name": "keys"}]}},
        {"basic": {"secret": {"name": "keys"}}},
        {"oidc": OIDC | {"clientSecret": {"name": "keys"}}},
        {"oidc": OIDC | {"tokenEndpoint": "http://nowhere.example/token"}},
        {"oidc": OIDC | {"tokenEndpoint": "http://web:99999/token"}},
        {"oidc": OIDC | {"tokenEndpoint": "http://[/token"}},
    ],
)
def test_what_is_lacking_closes(spec: dict[str, Any]) -> None:
    (login,), codes, _ = built(policy("p", **spec))
    assert login.closed
    assert login.api_keys is login.oidc is None
    assert set(codes) == {"WEFT2624"}


def test_the_first_of_two_policies_holds_and_one_without_routes_is_told() -> None:
    keys = {"secrets": [{"name": "keys"}]}
    (login,), codes, _ = built(policy("a", apiKey=keys), policy("b", apiKey=keys))
    assert (login.name, codes) == ("default/a", ["WEFT2626"])
    assert built(policy("a", "nothing", apiKey=keys))[:2] == ([], ["WEFT2625"])

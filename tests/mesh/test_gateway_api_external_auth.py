"""Filters that have somebody asked, and filters that nobody knows."""

import re
from typing import Any

import pytest

from tests.mesh.test_gateway_api import built, domain, gateway, reasons, route, service, status, to
from weft.mesh.gateway_api_external_auth import ALL_BUT_OWN

ELSEWHERE = {"name": "authz", "namespace": "other", "port": 80}
GRANT = {
    "apiVersion": "gateway.networking.k8s.io/v1beta1",
    "kind": "ReferenceGrant",
    "metadata": {"name": "g", "namespace": "other"},
    "spec": {
        "from": [
            {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "default"}
        ],
        "to": [{"group": "", "kind": "Service"}],
    },
}


def asking(ref: dict[str, Any], **more: Any) -> dict[str, Any]:
    wanted = {"protocol": "HTTP", "backendRef": ref, "http": {}, **more}
    return {"type": "ExternalAuth", "externalAuth": wanted}


def test_one_authorizer_for_all_that_ask_it_alike() -> None:
    rules = [
        {"backendRefs": [to("web")], "filters": [asking(to("api"))]},
        {"backendRefs": [to("web", filters=[asking(to("api"))])]},
        {"backendRefs": [to("web")], "filters": [asking(to("api"), forwardBody={"maxSize": 9})]},
    ]
    made = built(gateway({}), route("r", rules))
    first, second, third = domain(made, "*")
    assert first.asks == second.asks != third.asks
    assert {a.name for a in made.model.authorizers} == {first.asks[0].name, third.asks[0].name}
    assert third.asks[0].body is not None
    assert not third.asks[0].body.partial
    assert first.asks[0].destination == "outbound|80||api.default.svc.cluster.local"


@pytest.mark.parametrize(
    ("filter_", "reason"),
    [
        (asking(to("nobody")), "BackendNotFound"),
        (asking(ELSEWHERE), "RefNotPermitted"),
        (asking(to("api"), protocol="GRPC", http=None, grpc={}), "UnsupportedProtocol"),
        (
            {"type": "ExtensionRef", "extensionRef": {"group": "a.b", "kind": "C", "name": "d"}},
            "InvalidKind",
        ),
    ],
)
@pytest.mark.parametrize("of_backend", [False, True])
def test_who_cannot_be_asked_lets_nobody_in(
    filter_: dict[str, Any], reason: str, of_backend: bool
) -> None:
    rule: dict[str, Any] = {"backendRefs": [to("web")], "filters": [filter_]}
    if of_backend:
        rule = {"backendRefs": [to("web", filters=[filter_])]}
    made = built(gateway({}), service("authz", "other"), route("r", [rule]))
    (only,) = domain(made, "*")
    assert only.direct_response is not None
    assert only.direct_response.status == 500
    assert not only.destinations
    (parent,) = status(made, "HTTPRoute", "r")["parents"]
    assert reasons(parent)["Accepted"][0] == "True"
    assert reasons(parent)["ResolvedRefs"] == ("False", reason)


def test_one_rule_that_lets_nobody_in_makes_the_route_partly_invalid() -> None:
    rules = [
        {"backendRefs": [to("web")], "filters": [asking(to(name))]} for name in ("api", "nobody")
    ]
    made = built(gateway({}), route("r", rules))
    (parent,) = status(made, "HTTPRoute", "r")["parents"]
    assert reasons(parent)["Accepted"] == ("True", "Accepted")
    assert reasons(parent)["ResolvedRefs"] == ("False", "BackendNotFound")
    assert reasons(parent)["PartiallyInvalid"] == ("True", "UnsupportedValue")


def test_a_grant_permits_authorizers_of_other_namespaces() -> None:
    rule = {"backendRefs": [to("web")], "filters": [asking(ELSEWHERE)]}
    made = built(gateway({}), service("authz", "other"), GRANT, route("r", [rule]))
    (only,) = domain(made, "*")
    assert only.asks[0].host == "authz.other.svc.cluster.local"


def test_a_redirect_waits_for_the_answer_and_none_comes_when_nobody_answers() -> None:
    redirect = {"type": "RequestRedirect", "requestRedirect": {"hostname": "x.example"}}
    made = built(
        gateway({}),
        route("a", [{"filters": [asking(to("api")), redirect]}], hosts=["a.example"]),
        route("b", [{"filters": [asking(to("nobody")), redirect]}], hosts=["b.example"]),
    )
    (asked,), (closed,) = domain(made, "a.example"), domain(made, "b.example")
    assert asked.redirect is not None
    assert asked.asks
    assert closed.redirect is None
    assert closed.direct_response is not None


def test_headers_of_the_answer_itself_never_become_the_requests() -> None:
    def passes(name: str) -> bool:
        return any(re.fullmatch(match.value, name) for match in ALL_BUT_OWN)

    for name in (
        "connection", "content-length", "content-type", "host", "keep-alive", "te", "trailer",
        "proxy-connection", "transfer-encoding", "upgrade", ":status", ":authority",
    ):  # fmt: skip
        assert not passes(name), name
    for name in ("x-user", "c", "content", "connections", "hosts", "hos", "authorization", "tea"):
        assert passes(name), name

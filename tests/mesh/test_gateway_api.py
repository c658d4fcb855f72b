"""The Gateway API in mesh words: attachment, precedence, conflicts, statuses."""

import base64
from typing import Any

import pytest

from tests.mesh.cluster import snapshot
from weft.mesh.build import Built, build
from weft.mesh.consistency import problems
from weft.mesh.model import HttpRoute

GROUP = "gateway.networking.k8s.io"
PEM = base64.b64encode(b"-----BEGIN X-----\nMAA=\n-----END X-----\n").decode()
CLASS = {
    "apiVersion": f"{GROUP}/v1",
    "kind": "GatewayClass",
    "metadata": {"name": "weft"},
    "spec": {"controllerName": "weft.dev/gateway-controller"},
}


def gateway(*listeners: dict[str, Any], name: str = "edge", **meta: Any) -> dict[str, Any]:
    made = [{"name": f"l{i}", "port": 80, "protocol": "HTTP", **x} for i, x in enumerate(listeners)]
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Gateway",
        "metadata": {"name": name, "generation": 3, **meta},
        "spec": {"gatewayClassName": "weft", "listeners": made},
    }


def route(
    name: str,
    rules: list[dict[str, Any]],
    hosts: list[str] | None = None,
    kind: str = "HTTPRoute",
    parents: list[dict[str, Any]] | None = None,
    **meta: Any,
) -> dict[str, Any]:
    spec = {"parentRefs": parents or [{"name": "edge"}], "rules": rules}
    if kind != "TCPRoute":
        spec["hostnames"] = hosts or []
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": kind,
        "metadata": {"name": name, "generation": 2, **meta},
        "spec": spec,
    }


def service(name: str, namespace: str = "default", protocol: str = "http") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "clusterIP": f"10.96.0.{len(name) + len(namespace)}",
            "ports": [{"port": 80, "name": protocol}],
        },
    }


def to(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "port": 80, **more}


def secret(name: str = "cert", namespace: str = "default") -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": meta,
        "data": {"tls.crt": PEM, "tls.key": PEM},
    }


def built(*objects: dict[str, Any]) -> Built:
    made = build(snapshot([CLASS, service("web"), service("api"), *objects]))
    assert problems(made.model) == []
    return made


def status(made: Built, kind: str, name: str) -> dict[str, Any]:
    return next(s.status for s in made.statuses if (s.cls.__name__, s.name) == (kind, name))


def reasons(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in found["conditions"]}


def domain(made: Built, host: str, table: str = "http.80.default.edge") -> tuple[HttpRoute, ...]:
    tables = {t.name: t for t in made.model.route_tables}
    return next(v.routes for v in tables[table].virtual_hosts if v.domains == (host,))


def targets(routes: tuple[HttpRoute, ...]) -> list[str]:
    return [r.name.split("/")[1] if r.destinations else str(r.name) for r in routes]


def path(value: str, kind: str = "PathPrefix", **more: Any) -> dict[str, Any]:
    return {"path": {"type": kind, "value": value}, **more}


def test_precedence_of_matches_then_age() -> None:
    header = [{"name": "a", "value": "b"}]
    web = [to("web")]
    made = built(
        gateway({}),
        route("old", [{"backendRefs": web}], creationTimestamp="2026-01-01T00:00:00Z"),
        route("young", [{"backendRefs": web}], creationTimestamp="2026-02-01T00:00:00Z"),
        route("longer", [{"matches": [path("/long/path")], "backendRefs": web}]),
        route("short", [{"matches": [path("/long")], "backendRefs": web}]),
        route("exact", [{"matches": [path("/l", "Exact")], "backendRefs": web}]),
        route("headers", [{"matches": [path("/long", headers=header)], "backendRefs": web}]),
        route("method", [{"matches": [path("/long", method="GET")], "backendRefs": web}]),
    )
    found = targets(domain(made, "*"))
    assert found == ["exact", "longer", "method", "headers", "short", "old", "young"]


def test_narrower_hosts_first_and_then_wider_ones() -> None:
    made = built(
        gateway({}),
        route("wide", [{"backendRefs": [to("web")]}], ["*.a.test"]),
        route("narrow", [{"matches": [path("/n")], "backendRefs": [to("web")]}], ["b.a.test"]),
    )
    assert targets(domain(made, "b.a.test")) == ["narrow", "wide"]
    assert targets(domain(made, "*.a.test")) == ["wide"]


def test_a_narrower_listener_keeps_its_requests() -> None:
    first = {"name": "edge", "sectionName": "l0"}
    made = built(
        gateway({}, {"hostname": "own.test"}),
        route("all", [{"backendRefs": [to("web")]}], parents=[first]),
    )
    (answer,) = domain(made, "own.test")
    assert answer.direct_response is not None
    assert answer.direct_response.status == 404
    assert targets(domain(made, "*")) == ["all"]


def test_prefixes_are_of_segments() -> None:
    rules = [{"matches": [path("/a/"), path("/")], "backendRefs": [to("web")]}]
    first, second = domain(built(gateway({}), route("r", rules)), "*")
    assert first.matches[0].path_segments
    assert first.matches[0].path is not None
    assert first.matches[0].path.value == "/a"
    assert not second.matches[0].path_segments


@pytest.mark.parametrize(
    ("refs", "reason", "failing"),
    [
        ([to("missing")], "BackendNotFound", 100.0),
        ([to("web", kind="Pod")], "InvalidKind", 100.0),
        ([to("far", namespace="other")], "RefNotPermitted", 100.0),
        ([{"name": "web", "port": 81}], "BackendNotFound", 100.0),
        ([to("web", weight=3), to("missing", weight=1)], "BackendNotFound", 25.0),
        ([to("web", weight=0)], "ResolvedRefs", 100.0),
        ([], "ResolvedRefs", 100.0),
    ],
)
def test_back_ends_that_are_not_there(refs: list[Any], reason: str, failing: float) -> None:
    rules = [{"backendRefs": refs}]
    made = built(gateway({}), service("far", "other"), route("r", rules))
    (parent,) = status(made, "HTTPRoute", "r")["parents"]
    assert reasons(parent)["ResolvedRefs"][1] == reason
    assert reasons(parent)["Accepted"] == ("True", "Accepted")
    first = domain(made, "*")[0]
    assert first.direct_response is not None
    assert (first.direct_response.status, first.matches[0].percent) == (500, failing)


def test_grpc_methods_are_paths() -> None:
    def match(**method: str) -> dict[str, Any]:
        return {"matches": [{"method": method}], "backendRefs": [to("web")]}

    rules = [
        match(method="Get"),
        match(service="a.B"),
        match(service="a.B", method="Get"),
        match(type="RegularExpression", service="a.*"),
    ]
    found = domain(built(gateway({}), route("g", rules, kind="GRPCRoute")), "*")
    paths = [(r.matches[0].path.kind, r.matches[0].path.value) for r in found if r.matches[0].path]
    assert paths == [
        ("exact", "/a.B/Get"),
        ("regex", "/[^/]+/Get"),
        ("regex", "/a.*/[^/]+"),
        ("prefix", "/a.B/"),
    ]


def test_listeners_that_cannot_be_told_apart() -> None:
    tls = {"certificateRefs": [{"name": "cert"}]}
    made = built(
        secret(),
        gateway({}, {}, {"port": 90}, {"port": 90, "protocol": "TCP"}, {"port": 91}),
    )
    listeners = status(made, "Gateway", "edge")["listeners"]
    conflicts = [reasons(each)["Conflicted"][1] for each in listeners]
    assert reasons(listeners[0])["Accepted"] == ("False", "Invalid")
    assert conflicts[:2] == ["HostnameConflict"] * 2
    assert conflicts[2:] == ["ProtocolConflict"] * 2 + ["NoConflicts"]
    assert [g.port for g in made.model.gateways] == [91]
    assert reasons(status(made, "Gateway", "edge"))["Accepted"] == ("True", "ListenersNotValid")
    https = {"port": 443, "protocol": "HTTPS", "tls": tls}
    shared = built(
        secret(),
        gateway(*({**https, "hostname": host} for host in ("a.b", "c.d"))),
    )
    assert [s.hosts for s in shared.model.gateways[0].servers] == [("a.b",), ("c.d",)]


@pytest.mark.parametrize(
    ("ref", "extra", "reason"),
    [
        ({"name": "cert"}, [secret()], "ResolvedRefs"),
        ({"name": "cert"}, [], "InvalidCertificateRef"),
        ({"name": "cert", "kind": "ConfigMap"}, [secret()], "InvalidCertificateRef"),
        ({"name": "cert", "namespace": "safe"}, [secret(namespace="safe")], "RefNotPermitted"),
    ],
)
def test_certificates(ref: dict[str, str], extra: list[Any], reason: str) -> None:
    tls = {"certificateRefs": [ref]}
    made = built(gateway({"port": 443, "protocol": "HTTPS", "tls": tls}), *extra)
    (listener,) = status(made, "Gateway", "edge")["listeners"]
    assert reasons(listener)["ResolvedRefs"][1] == reason
    good = reason == "ResolvedRefs"
    assert reasons(listener)["Programmed"][0] == str(good)
    assert bool(made.model.gateways) == good


def test_kinds_of_routes() -> None:
    kinds = {"kinds": [{"kind": "TCPRoute"}, {"kind": "HTTPRoute"}]}
    made = built(
        gateway({"allowedRoutes": kinds}),
        route("g", [{"backendRefs": [to("web")]}], kind="GRPCRoute"),
        route("h", [{"backendRefs": [to("web")]}]),
    )
    (listener,) = status(made, "Gateway", "edge")["listeners"]
    assert listener["supportedKinds"] == [{"group": GROUP, "kind": "HTTPRoute"}]
    assert reasons(listener)["ResolvedRefs"] == ("False", "InvalidRouteKinds")
    assert listener["attachedRoutes"] == 1
    (parent,) = status(made, "GRPCRoute", "g")["parents"]
    assert reasons(parent)["Accepted"] == ("False", "NotAllowedByListeners")


def test_connections_by_server_name_and_port() -> None:
    through = {"port": 8443, "protocol": "TLS", "tls": {"mode": "Passthrough"}}
    made = built(
        gateway(through, {"port": 9000, "protocol": "TCP"}),
        route("t", [{"backendRefs": [to("web")]}], ["a.test"], kind="TLSRoute"),
        route("c", [{"backendRefs": [to("web", weight=2), to("api")]}], kind="TCPRoute"),
    )
    tls, tcp = made.model.gateways
    assert tls.servers[0].tcp is not None
    assert (tls.port, tls.protocol, tls.servers[0].tcp.sni_hosts) == (8443, "tls", ("a.test",))
    assert tcp.servers[0].tcp is not None
    assert [d.weight for d in tcp.servers[0].tcp.destinations] == [2, 1]


def test_gateways_of_other_classes_are_left_alone() -> None:
    other = gateway({}, name="theirs")
    other["spec"]["gatewayClassName"] = "nginx"
    made = built(other, route("r", [], parents=[{"name": "theirs"}]))
    assert made.model.gateways == ()
    assert status(made, "HTTPRoute", "r") == {"parents": []}
    assert all(s.name != "theirs" for s in made.statuses)


def test_every_gateway_has_ports_of_its_own() -> None:
    istio = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "i"},
        "spec": {
            "servers": [
                {"port": {"number": 80, "name": "h", "protocol": "HTTP"}, "hosts": ["i.test"]},
                {"port": {"number": 81, "name": "t", "protocol": "TCP"}, "hosts": ["*"]},
            ]
        },
    }
    second = gateway({}, name="second")
    made = built(
        istio,
        gateway({}, {"port": 81}),
        second,
        route("r", [{"backendRefs": [to("web")]}]),
        route("s", [{"backendRefs": [to("web")]}], parents=[{"name": "second"}]),
    )
    assert targets(domain(made, "*")) == ["r"]
    assert targets(domain(made, "*", "http.80.default.second")) == ["s"]
    places = {(g.gateway, g.port) for g in made.model.gateways}
    assert {("default/edge", 80), ("default/edge", 81), ("default/second", 80)} <= places
    for each in status(made, "Gateway", "edge")["listeners"]:
        assert reasons(each)["Accepted"] == ("True", "Accepted")


def test_routes_of_services_for_all_or_for_callers_of_a_namespace() -> None:
    parent = [{"group": "", "kind": "Service", "name": "web", "namespace": "default"}]
    made = built(
        route("all", [{"matches": [path("/x")], "backendRefs": [to("api")]}], parents=parent),
        service("mine", "other"),
        route("mine", [{"backendRefs": [to("mine")]}], parents=parent, namespace="other"),
        route("lost", [], parents=[{"group": "", "kind": "Service", "name": "nobody"}]),
    )
    routes = next(
        v.routes for v in made.model.route_tables[0].virtual_hosts if v.name.startswith("web.def")
    )
    assert [r.name for r in routes] == [
        "other/mine/rules[0]",
        "no-route",
        "default/all/rules[0]",
    ]
    assert routes[0].matches[0].source_namespaces == ("other",)
    (lost,) = status(made, "HTTPRoute", "lost")["parents"]
    assert reasons(lost)["Accepted"] == ("False", "NoMatchingParent")


def test_rules_without_back_ends_lead_to_the_service_that_was_called() -> None:
    parents = [{"group": "", "kind": "Service", "name": n} for n in ("web", "api")]
    edge = {"name": "edge", "namespace": "default"}
    made = built(
        gateway({"allowedRoutes": {"namespaces": {"from": "All"}}}),
        route("r", [{}], parents=parents),
        service("far", "other"),
        route("mine", [{"backendRefs": [to("far", namespace="other")]}], parents=[
            {"group": "", "kind": "Service", "name": "far", "namespace": "other"}, edge,
        ]),
    )  # fmt: skip
    hosts = [v for t in made.model.route_tables for v in t.virtual_hosts]
    found = {v.name.split(".")[0]: v.routes for v in hosts if v.routes[0].name != "no-route"}
    for name in ("web", "api"):
        (share,) = found[name][0].destinations
        assert share.destination == f"outbound|80||{name}.default.svc.cluster.local"
    # Who calls a Service anyway needs no grant to name it; at a Gateway it takes one.
    assert [d.destination for d in found["far"][0].destinations] == [
        "outbound|80||far.other.svc.cluster.local"
    ]
    assert domain(made, "*")[0].direct_response is not None
    assert {s.name for s in made.statuses} >= {"r", "mine"}
    for each in status(made, "HTTPRoute", "r")["parents"]:
        assert reasons(each)["ResolvedRefs"] == ("True", "ResolvedRefs")


def test_hosts_count_as_routes_name_them() -> None:
    """Not as they come out where listeners are narrower (`older` would win by its age)."""
    rules, old = [{"backendRefs": [to("web")]}], {"creationTimestamp": "2026-01-01T00:00:00Z"}
    young = {"creationTimestamp": "2026-02-01T00:00:00Z"}
    tls = {"port": 443, "protocol": "TLS", "tls": {"mode": "Passthrough"}}
    made = built(
        gateway({"hostname": "a.b.test"}, {**tls, "hostname": "*.b.test"}),
        route("older", rules, ["*.b.test"], **old),
        route("young", rules, ["a.b.test"], **young),
        route("oldest", rules, ["*.test"], kind="TLSRoute", **old),
        route("narrow", [{"backendRefs": [to("api")]}], ["*.b.test"], kind="TLSRoute", **young),
    )
    assert targets(domain(made, "a.b.test")) == ["young", "older"]
    (server,) = next(g for g in made.model.gateways if g.port == 443).servers
    assert server.tcp is not None
    assert server.tcp.source == "TLSRoute default/narrow"


@pytest.mark.parametrize(
    ("version", "good"),
    [("v1.6.1", True), ("v1.7.0-dev", True), ("v0.0.0", False), ("v1.60.0", False), (None, False)],
)
def test_classes_say_whether_the_installed_definitions_are_known(
    version: str | None, good: bool
) -> None:
    meta: dict[str, Any] = {"name": f"gatewayclasses.{GROUP}"}
    if version:
        meta["annotations"] = {f"{GROUP}/bundle-version": version}
    kind = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    found = reasons(status(built({**kind, "metadata": meta}), "GatewayClass", "weft"))
    reason = "SupportedVersion" if good else "UnsupportedVersion"
    assert found["SupportedVersion"] == (str(good), reason)
    assert found["Accepted"][0] == "True"


def test_a_listener_set_needs_one_listener_that_can_be_opened() -> None:
    edge = gateway({})
    edge["spec"]["allowedListeners"] = {"namespaces": {"from": "Same"}}
    tls = {"certificateRefs": [{"name": "nowhere"}]}
    own = {"name": "own", "port": 443, "protocol": "HTTPS", "tls": tls}
    more = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ListenerSet",
        "metadata": {"name": "more"},
        "spec": {"parentRef": {"name": "edge"}, "listeners": [own]},
    }
    made = built(edge, more)
    for kind in ("Accepted", "Programmed"):
        found = reasons(status(made, "ListenerSet", "more"))[kind]
        assert found == ("False", "ListenersNotValid")
    assert status(made, "Gateway", "edge")["attachedListenerSets"] == 0


def test_what_cannot_be_done_is_said() -> None:
    bad = {"matches": [path("(", "RegularExpression")], "backendRefs": [to("web")]}
    extension = {
        "filters": [{"type": "ExtensionRef", "extensionRef": {"name": "x"}}],
        "backendRefs": [to("web")],
    }
    made = built(
        gateway({}),
        route("some", [bad, {"backendRefs": [to("web")]}]),
        route("none", [extension]),
    )
    (some,) = status(made, "HTTPRoute", "some")["parents"]
    assert reasons(some)["PartiallyInvalid"] == ("True", "UnsupportedValue")
    assert reasons(some)["Accepted"][0] == "True"
    (none,) = status(made, "HTTPRoute", "none")["parents"]
    assert reasons(none)["Accepted"] == ("True", "Accepted")
    assert reasons(none)["ResolvedRefs"] == ("False", "InvalidKind")
    assert "targetRef" in next(c["message"] for c in none["conditions"] if c["status"] == "False")
    assert {c["observedGeneration"] for c in none["conditions"]} == {2}


@pytest.mark.parametrize(
    "rule",
    [
        {"matches": [path("/a?b")], "backendRefs": [to("web")]},
        {
            "filters": [
                {
                    "type": "RequestHeaderModifier",
                    "requestHeaderModifier": {"set": [{"name": "a", "value": "b\nc"}]},
                }
            ],
            "backendRefs": [to("web")],
        },
        {"backendRefs": [to("web", filters=[{"type": ""}])]},
    ],
)
def test_what_a_proxy_would_refuse_never_gets_there(rule: dict[str, Any]) -> None:
    made = built(gateway({}), route("r", [rule, {"backendRefs": [to("web")]}]))
    (parent,) = status(made, "HTTPRoute", "r")["parents"]
    assert reasons(parent)["PartiallyInvalid"] == ("True", "UnsupportedValue")
    assert len(domain(made, "*")) == 1

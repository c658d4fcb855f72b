"""Ingresses as the Gateway, listeners and routes that they mean."""

import pytest

from weft.api.gateway import v1 as gw
from weft.api.k8s.core_v1 import Service, ServicePort, ServiceSpec
from weft.api.k8s.meta_v1 import ObjectMeta, OwnerReference
from weft.api.k8s.networking_v1 import (
    HTTPIngressPath,
    HTTPIngressRuleValue,
    Ingress,
    IngressBackend,
    IngressClass,
    IngressClassSpec,
    IngressRule,
    IngressServiceBackend,
    IngressSpec,
    IngressTLS,
    ServiceBackendPort,
)
from weft.api.wellknown import INGRESS_CONTROLLER
from weft.mesh.gateway_api_rules import source
from weft.mesh.ingresses import GATEWAY, IngressObjects, class_of, ingress_objects, of_rollouts

OURS = IngressClass(
    metadata=ObjectMeta(
        name="weft", annotations={"ingressclass.kubernetes.io/is-default-class": "true"}
    ),
    spec=IngressClassSpec(controller=INGRESS_CONTROLLER),
)
OTHERS = IngressClass(
    metadata=ObjectMeta(name="nginx"), spec=IngressClassSpec(controller="k8s.io/ingress-nginx")
)
WEB = Service(
    metadata=ObjectMeta(name="web", namespace="default"),
    spec=ServiceSpec(ports=(ServicePort(name="http", port=8080),)),
)


def backend(name: str = "web", number: int | None = 80, port: str = "") -> IngressBackend:
    found = ServiceBackendPort(name=port, number=None if port else number)
    return IngressBackend(service=IngressServiceBackend(name=name, port=found))


def rule(host: str, *paths: tuple[str, str], port: str = "") -> IngressRule:
    made = tuple(HTTPIngressPath(path=p, path_type=t, backend=backend(port=port)) for p, t in paths)
    return IngressRule(host=host, http=HTTPIngressRuleValue(paths=made))


def ingress(
    name: str,
    *rules: IngressRule,
    tls: tuple[IngressTLS, ...] = (),
    default: IngressBackend | None = None,
    cls: str = "",
    age: str = "2026-01-01T00:00:00Z",
) -> Ingress:
    meta = ObjectMeta(name=name, namespace="default", uid=name, creation_timestamp=age)
    spec = IngressSpec(ingress_class_name=cls, rules=rules, tls=tls, default_backend=default)
    return Ingress(metadata=meta, spec=spec)


def made(*ingresses: Ingress) -> IngressObjects:
    return ingress_objects(ingresses, (OURS, OTHERS), (WEB,))


def paths(objects: IngressObjects) -> dict[str, list[tuple[str, str]]]:
    return {
        (route.spec.hostnames or ("*",))[0]: [
            (r.matches[0].path.type, r.matches[0].path.value) for r in route.spec.rules
        ]
        for route in objects.http_routes
    }


def test_a_route_for_each_host() -> None:
    one = ingress("a", rule("A.com", ("/x/", "Prefix"), ("/y", "Exact")), rule("", ("", "Any")))
    objects = made(one)
    assert paths(objects) == {
        "a.com": [("PathPrefix", "/x"), ("Exact", "/y")],
        "*": [("PathPrefix", "/")],
    }
    assert source(objects.http_routes[0]) == "Ingress default/a"
    (status,) = objects.statuses
    assert (status.gateway, status.places) == (GATEWAY, ((80, "tcp"),))
    assert objects.listener_sets == ()


def test_what_no_path_takes_goes_to_the_default_backend() -> None:
    objects = made(
        ingress("a", rule("a.com", ("/x", "Prefix")), rule("b.com", ("/", "Prefix")),
                default=backend("rest")),
    )  # fmt: skip
    assert paths(objects) == {
        "a.com": [("PathPrefix", "/x"), ("PathPrefix", "/")],
        "b.com": [("PathPrefix", "/")],
        "*": [("PathPrefix", "/")],
    }
    assert objects.http_routes[0].spec.rules[1].backend_refs[0].name == "rest"


@pytest.mark.parametrize(("port", "number"), [("http", 8080), ("nope", None)])
def test_ports_by_name(port: str, number: int | None) -> None:
    objects = made(ingress("a", rule("a.com", ("/", "Prefix"), port=port)))
    assert objects.http_routes[0].spec.rules[0].backend_refs[0].port == number


def test_the_older_certificate_of_a_host_is_shown_and_serves_all_routes() -> None:
    tls = (IngressTLS(hosts=("a.com",), secret_name="old"),)
    more = (IngressTLS(hosts=("a.com", "*.b.com"), secret_name="new"), IngressTLS(hosts=("c.com",)))
    objects = made(
        ingress("young", rule("a.com", ("/y", "Prefix")), tls=more, age="2026-01-02T00:00:00Z"),
        ingress("old", rule("a.com", ("/", "Prefix")), tls=tls),
    )
    shown = {
        each.hostname: each.tls.certificate_refs[0].name
        for found in objects.listener_sets
        for each in found.spec.listeners
        if each.tls
    }
    assert shown == {"a.com": "old", "*.b.com": "new"}
    sets = {each.metadata.name for each in objects.listener_sets}
    for route in objects.http_routes:
        parents = {p.name for p in route.spec.parent_refs if p.kind == "ListenerSet"}
        assert parents == sets
    assert {len(status.places) for status in objects.statuses} == {2}


def test_classes() -> None:
    named = ingress("a", rule("a.com", ("/", "Prefix")), cls="nginx")
    assert made(named) == IngressObjects()
    assert class_of(ingress("a"), (OURS, OTHERS)) == "weft"
    assert class_of(ingress("a"), (OTHERS,)) == ""
    assert made(ingress("a", rule("a.com", ("/", "Prefix")), cls="weft")).http_routes


def test_other_backends_lead_nowhere() -> None:
    path = HTTPIngressPath(path="/", path_type="Prefix", backend=IngressBackend())
    rules = IngressRule(host="a.com", http=HTTPIngressRuleValue(paths=(path,)))
    assert made(ingress("a", rules)).http_routes[0].spec.rules[0].backend_refs == ()


@pytest.mark.parametrize("kind", ["Rollout", "Canary"])
def test_a_rollout_divides_what_an_ingress_sends_to_its_service(kind: str) -> None:
    """Every path to that Service becomes one for each of the route's rules; others stay."""
    owner = OwnerReference(kind=kind, name="web", uid="r", controller=True)
    backends = (gw.HTTPBackendRef(name="web", port=8080, weight=80),
                gw.HTTPBackendRef(name="canary", port=8080, weight=20))  # fmt: skip
    header = gw.HTTPHeaderMatch(name="x", value="y")
    made = gw.HTTPRoute(
        metadata=ObjectMeta(name="web", namespace="default", owner_references=(owner,)),
        spec=gw.HTTPRouteSpec(
            parent_refs=(gw.ParentReference("", "Service", name="web", port=8080),),
            rules=(
                gw.HTTPRouteRule(
                    name="beta", matches=(gw.HTTPRouteMatch(headers=(header,)),),
                    backend_refs=backends[1:],
                ),
                gw.HTTPRouteRule(backend_refs=backends),
            ),
        ),
    )  # fmt: skip
    theirs = IngressClass(
        metadata=ObjectMeta(name="alb"), spec=IngressClassSpec(controller=INGRESS_CONTROLLER)
    )
    paths = (("/api/*", "ImplementationSpecific"),)
    named = ingress("a", rule("x", *paths, port="use-annotation"), cls="alb")
    assert of_rollouts((made, gw.HTTPRoute())) == (made,)
    [route] = ingress_objects((named,), (theirs,), (WEB,), (made,)).http_routes
    beta, rest = route.spec.rules
    assert (beta.matches[0].path.value, beta.matches[0].headers) == ("/api", (header,))
    assert (rest.matches[0].path.value, rest.backend_refs) == ("/api", backends)
    [route] = ingress_objects((named,), (theirs,), (WEB,)).http_routes
    assert [(b.name, b.port) for b in route.spec.rules[0].backend_refs] == [("web", 8080)]

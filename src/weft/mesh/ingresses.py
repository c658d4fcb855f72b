"""Ingresses, as the Gateway, listeners and routes that they mean.

All Ingresses of weft's class share one Gateway, as they share one load balancer elsewhere: plain
requests at port 80, and TLS at port 443 for the hosts that have a Secret. Where two Ingresses
bring a Secret for one host, the older one's is shown. Source: networking.k8s.io/v1.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.gateway import v1 as gw
from weft.api.gateway.overlaps import both
from weft.api.k8s.core_v1 import Service
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.k8s.networking_v1 import (
    HTTPIngressPath,
    Ingress,
    IngressBackend,
    IngressClass,
    IngressRule,
)
from weft.api.network_columns import CLASS_ANNOTATION
from weft.api.snapshot import controller_of
from weft.api.wellknown import INGRESS_CONTROLLER
from weft.mesh.gateway_api_objects import MADE_FROM, ObjectStatus

DEFAULT_CLASS_ANNOTATION = "ingressclass.kubernetes.io/is-default-class"
GATEWAY_NAMESPACE, GATEWAY_NAME = "kube-system", "ingress"
GATEWAY = f"{GATEWAY_NAMESPACE}/{GATEWAY_NAME}"
HTTP_PORT, HTTPS_PORT = 80, 443
USE_ANNOTATION = "use-annotation"
"""Of Ingresses for load balancers of AWS: a Rollout divides the requests to this Service."""
_CLASS = "weft.dev/ingress"
_EVERYBODY = gw.AllowedRoutes(namespaces=gw.RouteNamespaces(from_="All"))
_Ports = Mapping[tuple[str, str], Mapping[str, int]]
"""(namespace, name) of a Service -> its ports by name."""


class _Known(Struct, frozen=True):
    """What there is to know of the Services that Ingresses name."""

    ports: _Ports
    divided: Mapping[tuple[str, str, int], tuple[gw.HTTPRouteRule, ...]]
    """(namespace, name, port) of a Service whose calls are divided -> how."""


class IngressObjects(Struct, frozen=True):
    """What Ingresses stand for, and the statuses that they shall have."""

    classes: tuple[gw.GatewayClass, ...] = ()
    gateways: tuple[gw.Gateway, ...] = ()
    listener_sets: tuple[gw.ListenerSet, ...] = ()
    http_routes: tuple[gw.HTTPRoute, ...] = ()
    statuses: tuple[ObjectStatus, ...] = ()

    def others(self, statuses: Iterable[ObjectStatus]) -> tuple[ObjectStatus, ...]:
        """Statuses without those of objects that stand here only."""
        here: tuple[gw.GatewayClass | gw.Gateway | gw.ListenerSet | gw.HTTPRoute, ...] = (
            *self.classes, *self.gateways, *self.listener_sets, *self.http_routes,
        )  # fmt: skip
        made = {(type(each), each.metadata.namespace, each.metadata.name) for each in here}
        return tuple(s for s in statuses if (s.cls, s.namespace, s.name) not in made)


def ingress_objects(
    ingresses: Iterable[Ingress],
    classes: Sequence[IngressClass],
    services: Iterable[Service] = (),
    divided: Iterable[gw.HTTPRoute] = (),
) -> IngressObjects:
    """Of all Ingresses whose class is weft's. Only routes need the Services. `divided`: routes that
    divide all calls to a Service, so also those of Ingresses."""
    served = our_classes(classes)
    ours = [each for each in ingresses if class_of(each, classes) in served]
    ours.sort(key=lambda i: (i.metadata.creation_timestamp, i.metadata.namespace, i.metadata.name))
    if not ours:
        return IngressObjects()
    ports = {
        (s.metadata.namespace, s.metadata.name): {p.name: p.port or 0 for p in s.spec.ports}
        for s in services
    }
    sets = tuple(_listener_sets(ours))
    known = _Known(ports, _by_parent(divided))
    routes = tuple(route for each in ours for route in _routes(each, sets, known))
    return IngressObjects(
        classes=(_class(),),
        gateways=(_gateway(ours[0]),),
        listener_sets=sets,
        http_routes=routes,
        statuses=tuple(_status(each, bool(sets)) for each in ours),
    )


def our_classes(classes: Iterable[IngressClass]) -> frozenset[str]:
    """Names of the IngressClasses that weft serves."""
    return frozenset(c.metadata.name for c in classes if c.spec.controller == INGRESS_CONTROLLER)


def class_of(ingress: Ingress, classes: Iterable[IngressClass]) -> str:
    """The class that an Ingress names, else the default one; "" when there is none."""
    named = ingress.spec.ingress_class_name or ingress.metadata.annotations.get(CLASS_ANNOTATION)
    if named:
        return named
    default = (c for c in classes if c.metadata.annotations.get(DEFAULT_CLASS_ANNOTATION) == "true")
    newest = max(default, key=lambda c: c.metadata.creation_timestamp, default=None)
    return newest.metadata.name if newest else ""


# ------------------------------------------------------------------ the Gateway


def _class() -> gw.GatewayClass:
    spec = gw.GatewayClassSpec(controller_name=gw.CONTROLLER_NAME)
    return gw.GatewayClass(metadata=ObjectMeta(name=_CLASS), spec=spec)


def _gateway(oldest: Ingress) -> gw.Gateway:
    """As old as the first Ingress: the oldest Gateway has the node's own gateway address."""
    plain = gw.Listener(
        name="http", port=HTTP_PORT, protocol="HTTP", allowed_routes=_EVERYBODY
    )  # fmt: skip
    anybody = gw.AllowedListeners(namespaces=gw.ListenerNamespaces(from_="All"))
    spec = gw.GatewaySpec(
        gateway_class_name=_CLASS, listeners=(plain,), allowed_listeners=anybody
    )  # fmt: skip
    meta = ObjectMeta(
        name=GATEWAY_NAME,
        namespace=GATEWAY_NAMESPACE,
        creation_timestamp=oldest.metadata.creation_timestamp,
    )
    return gw.Gateway(metadata=meta, spec=spec)


def _listener_sets(ingresses: Iterable[Ingress]) -> Iterator[gw.ListenerSet]:
    """One for each Ingress that brings a Secret for a host that no older one has."""
    claimed: set[str] = set()
    for ingress in ingresses:
        listeners = []
        for tls in ingress.spec.tls:
            if not tls.secret_name:
                continue
            secret = gw.SecretObjectReference(name=tls.secret_name)
            for host in (h.lower() for h in tls.hosts or ("",)):
                if host not in claimed:
                    claimed.add(host)
                    listeners.append(_listener(host, secret))
        if listeners:
            parent = gw.ParentGatewayReference(name=GATEWAY_NAME, namespace=GATEWAY_NAMESPACE)
            spec = gw.ListenerSetSpec(parent_ref=parent, listeners=tuple(listeners))
            yield gw.ListenerSet(metadata=_metadata(ingress, ""), spec=spec)


def _listener(host: str, secret: gw.SecretObjectReference) -> gw.Listener:
    return gw.Listener(
        name=f"https-{host.replace('*', 'any') or 'all'}",
        hostname=host,
        port=HTTPS_PORT,
        protocol="HTTPS",
        tls=gw.ListenerTLSConfig(certificate_refs=(secret,)),
        allowed_routes=_EVERYBODY,
    )


def _metadata(ingress: Ingress, host: str) -> ObjectMeta:
    meta = ingress.metadata
    return ObjectMeta(
        # No object can have this name, so it is nobody else's.
        name=f"Ingress/{meta.name}/{host}",
        namespace=meta.namespace,
        creation_timestamp=meta.creation_timestamp,
        annotations={MADE_FROM: f"Ingress {meta.namespace}/{meta.name}"},
    )


# ------------------------------------------------------------------ routes


def of_rollouts(routes: Iterable[gw.HTTPRoute]) -> tuple[gw.HTTPRoute, ...]:
    """The routes by which Rollouts and Canaries divide the calls to a Service."""
    kinds = ("Rollout", "Canary")
    return tuple(r for r in routes if (o := controller_of(r)) is not None and o.kind in kinds)


def _by_parent(
    divided: Iterable[gw.HTTPRoute],
) -> Mapping[tuple[str, str, int], tuple[gw.HTTPRouteRule, ...]]:
    """Under port 0 stands what is meant where no port is known, as of an action of an Ingress."""
    found: dict[tuple[str, str, int], tuple[gw.HTTPRouteRule, ...]] = {}
    for route in divided:
        for parent in route.spec.parent_refs:
            if parent.kind == "Service":
                for port in (parent.port or 0, 0):
                    key = (route.metadata.namespace, parent.name, port)
                    found.setdefault(key, route.spec.rules)
    return found


def _routes(
    ingress: Ingress, sets: Iterable[gw.ListenerSet], known: _Known
) -> Iterator[gw.HTTPRoute]:
    """One route for each host; what no path of a host takes goes to the default backend."""
    by_host: dict[str, list[IngressRule]] = {}
    for rule in ingress.spec.rules:
        by_host.setdefault(rule.host.lower(), []).append(rule)
    if ingress.spec.default_backend is not None:
        by_host.setdefault("", [])
    parents = (
        gw.ParentReference(namespace=GATEWAY_NAMESPACE, name=GATEWAY_NAME, section_name="http"),
        *(
            gw.ParentReference(
                kind="ListenerSet", namespace=s.metadata.namespace, name=s.metadata.name
            )
            for s in sets
        ),
    )
    for host, rules in by_host.items():
        made = tuple(_rules(ingress, rules, known))
        if made:
            spec = gw.HTTPRouteSpec(
                parent_refs=parents, hostnames=(host,) if host else (), rules=made
            )
            yield gw.HTTPRoute(metadata=_metadata(ingress, host), spec=spec)


def _rules(
    ingress: Ingress, rules: Iterable[IngressRule], known: _Known
) -> Iterator[gw.HTTPRouteRule]:
    namespace, all_taken = ingress.metadata.namespace, False
    for rule in rules:
        for path in rule.http.paths if rule.http else ():
            match = _match(path)
            all_taken = all_taken or (match.type, match.value) == ("PathPrefix", "/")
            backends = _backend(path.backend, namespace, known.ports)
            yield from _divided(gw.HTTPRouteMatch(path=match), backends, namespace, known)
    if ingress.spec.default_backend is not None and not all_taken:
        backends = _backend(ingress.spec.default_backend, namespace, known.ports)
        yield from _divided(gw.HTTPRouteMatch(), backends, namespace, known)


def _divided(
    match: gw.HTTPRouteMatch, backends: tuple[gw.HTTPBackendRef, ...], namespace: str, known: _Known
) -> Iterator[gw.HTTPRouteRule]:
    """The rule; or where a Rollout divides the calls to its Service, what that makes of it."""
    keys = [(namespace, b.name, b.port or 0) for b in backends]
    rules = known.divided.get(keys[0]) if keys else None
    if rules is None:
        yield gw.HTTPRouteRule(matches=(match,), backend_refs=backends)
        return
    for rule in rules:
        matches = tuple(m for own in rule.matches if (m := both(match, own)) is not None)
        if matches:
            yield replace(rule, name="", matches=matches)


def _match(path: HTTPIngressPath) -> gw.HTTPPathMatch:
    """ImplementationSpecific is a prefix here, by whole segments as any other."""
    if path.path_type == "Exact":
        return gw.HTTPPathMatch(type="Exact", value=path.path or "/")
    text = path.path
    if path.path_type == "ImplementationSpecific":
        text = text.removesuffix("/*")  # as load balancers write a prefix
    return gw.HTTPPathMatch(type="PathPrefix", value=text.rstrip("/") or "/")


def _backend(
    backend: IngressBackend | None, namespace: str, ports: _Ports
) -> tuple[gw.HTTPBackendRef, ...]:
    """None for what weft cannot reach: such requests are answered 500."""
    service = backend.service if backend else None
    if service is None:
        return ()
    port = service.port
    number = port.number if port else None
    if port and port.name:
        has = ports.get((namespace, service.name), {})
        number = has.get(port.name)
        if port.name == USE_ANNOTATION:
            number = next(iter(has.values()), None)
    return (gw.HTTPBackendRef(name=service.name, port=number),)


# ------------------------------------------------------------------ status


def _status(ingress: Ingress, secure: bool) -> ObjectStatus:
    tls = secure and any(each.secret_name for each in ingress.spec.tls)
    places = ((HTTP_PORT, "tcp"), (HTTPS_PORT, "tcp")) if tls else ((HTTP_PORT, "tcp"),)
    meta = ingress.metadata
    return ObjectStatus(
        Ingress, meta.namespace, meta.name, meta.uid, {"loadBalancer": {}}, GATEWAY, places
    )

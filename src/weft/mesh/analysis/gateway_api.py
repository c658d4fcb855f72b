"""Gateways and routes of the Gateway API: what they name, who takes them, who is in their way."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from weft.api.gateway import v1 as gw
from weft.api.k8s.core_v1 import Service
from weft.mesh import findings as f
from weft.mesh.analysis import catalogue as c
from weft.mesh.analysis.world import World, oldest_first
from weft.mesh.findings import Findings
from weft.mesh.gateway_api_objects import Route
from weft.mesh.gateway_api_refs import BackendReference, permitted

ROUTES: tuple[type[Route], ...] = (
    gw.HTTPRoute, gw.GRPCRoute, gw.TLSRoute, gw.TCPRoute, gw.UDPRoute,
)  # fmt: skip
_HttpLike = gw.HTTPRoute | gw.GRPCRoute
_LISTENER_CLOSED = frozenset(
    {"PortUnavailable", "ProtocolConflict", "HostnameConflict", "UnsupportedProtocol"}
)


def _routes(world: World) -> Iterator[Route]:
    for cls in ROUTES:
        yield from world.list(cls)


# --- what is named


def classes(world: World, report: Findings) -> None:
    """Gateways of a class that nobody has."""
    known = {found.metadata.name for found in world.list(gw.GatewayClass)}
    for gateway in world.list(gw.Gateway):
        name = gateway.spec.gateway_class_name
        if name not in known:
            path = "spec.gatewayClassName"
            hint = f.suggest(name, known or {gw.CLASS_NAME}, "there are")
            report.add(c.CLASS_UNKNOWN, gateway, path, hint, name=name)


def parents(world: World, report: Findings) -> None:
    """Parents that are not there."""
    there = {
        "Gateway": {_name(g) for g in world.list(gw.Gateway)},
        "ListenerSet": {_name(each) for each in world.list(gw.ListenerSet)},
        "Service": {_name(s) for s in world.list(Service)},
    }
    for route in _routes(world):
        own = route.metadata.namespace
        for index, parent in enumerate(route.spec.parent_refs):
            known = there.get(parent.kind)
            name = f"{parent.namespace or own}/{parent.name}"
            if known is None or name in known:
                continue
            hint = f.suggest(name, known, "there are")
            if parent.kind == "Gateway" and name in world.gateways:
                hint = "that Gateway is Istio's: routes attach to those of " + gw.GROUP
            report.add(
                c.PARENT_UNKNOWN,
                route,
                f"spec.parentRefs[{index}].name",
                hint,
                kind=parent.kind,
                name=name,
            )


def backends(world: World, report: Findings) -> None:
    """Back ends that are not there, lack the port, or may not be named from here."""
    for route in _routes(world):
        for path, ref in _backend_refs(route):
            _backend(world, route, path, ref, report)


_LOST = {
    "HTTPRoute": "its requests are answered 500",
    "GRPCRoute": "its calls are answered UNAVAILABLE",
    "TLSRoute": "its connections are closed",
    "TCPRoute": "its connections are closed",
    "UDPRoute": "its datagrams are dropped",
}
"""What becomes of the share of a back end that cannot be resolved."""


def _backend_refs(route: Route) -> Iterator[tuple[str, BackendReference]]:
    rules: Sequence[Any] = route.spec.rules
    for index, rule in enumerate(rules):
        path = f"spec.rules[{index}]"
        for number, ref in enumerate(rule.backend_refs):
            yield f"{path}.backendRefs[{number}]", ref
        for number, step in enumerate(getattr(rule, "filters", ())):
            if step.request_mirror is not None:
                at = f"{path}.filters[{number}].requestMirror.backendRef"
                yield at, step.request_mirror.backend_ref
            if isinstance(step, gw.HTTPRouteFilter) and step.external_auth is not None:
                at = f"{path}.filters[{number}].externalAuth.backendRef"
                yield at, step.external_auth.backend_ref


def _is_the_called(route: Route, namespace: str, name: str) -> bool:
    """Whether a route is about calls of this Service, and of Services only: these reach it
    anyhow."""
    parents = route.spec.parent_refs
    own = route.metadata.namespace
    return all(p.group == "" and p.kind == "Service" for p in parents) and any(
        (p.namespace or own, p.name) == (namespace, name) for p in parents
    )


def _backend(
    world: World,
    route: Route,
    path: str,
    ref: BackendReference,
    report: Findings,
) -> None:
    own, kind = route.metadata.namespace, type(route).__name__
    lost = "no copies are sent" if "requestMirror" in path else _LOST[kind]
    if ref.group or ref.kind != "Service":
        report.add(
            c.BACKEND_KIND, route, f"{path}.kind", kind=f.quoted([ref.kind]), consequence=lost
        )
        return
    where = ref.namespace or own
    name = f"{where}/{ref.name}"
    grants = world.list(gw.ReferenceGrant)
    source, target = (gw.GROUP, kind, own), ("", "Service", where, ref.name)
    free = where == own or _is_the_called(route, where, ref.name)
    if not free and not permitted(grants, source, target):
        report.add(
            c.GRANT_MISSING,
            route,
            f"{path}.namespace",
            namespace=where,
            kind="Service",
            name=ref.name,
            source=kind,
            own=own,
            consequence=lost,
        )
        return
    service = world.snapshot.get(Service, ref.name, where)
    if service is None:
        known = {s.metadata.name for s in world.snapshot.list(Service, where)}
        hint = f.suggest(ref.name, known, "Services there")
        report.add(c.BACKEND_UNKNOWN, route, f"{path}.name", hint, name=name, consequence=lost)
        return
    transport = "UDP" if kind == "UDPRoute" else "TCP"
    numbers = [p.port for p in service.spec.ports if (p.protocol or "TCP") == transport]
    if ref.port not in numbers:
        report.add(
            c.BACKEND_PORT_UNKNOWN,
            route,
            f"{path}.port",
            name=name,
            transport=transport,
            port="" if ref.port is None else ref.port,
            ports=f.quoted(numbers) or "none",
            consequence=lost,
        )


# --- what the build found out, as it stands in the objects' conditions


def statuses(world: World, report: Findings) -> None:
    """Conditions that say that something is not in force."""
    for wanted in world.built.statuses:
        obj: Any = world.snapshot.get(wanted.cls, wanted.name, wanted.namespace)
        if isinstance(obj, gw.Gateway | gw.ListenerSet):
            _listeners(obj, wanted.status, report)
        elif obj is not None and isinstance(obj, ROUTES):
            _parents(world, obj, wanted.status, report)


def _listeners(
    gateway: gw.Gateway | gw.ListenerSet, status: Mapping[str, Any], report: Findings
) -> None:
    listeners: Sequence[Any] = gateway.spec.listeners
    place = {each.name: index for index, each in enumerate(listeners)}
    for each in status.get("listeners", ()):
        path = f"spec.listeners[{place.get(each['name'], 0)}]"
        for found in each["conditions"]:
            reason, message = found["reason"], found["message"]
            if reason in _LISTENER_CLOSED and found["type"] == "Accepted":
                report.add(c.LISTENER_CONFLICT, gateway, path, reason=reason, message=message)
            elif reason == "InvalidRouteKinds":
                where = f"{path}.allowedRoutes.kinds"
                report.add(f.VALUE_INVALID, gateway, where, problem=message, part="kind")
            elif found["type"] == "ResolvedRefs" and found["status"] == "False":
                where = f"{path}.tls.certificateRefs"
                report.add(c.CERTIFICATE_UNRESOLVED, gateway, where, message=message)


def _parents(world: World, route: Route, status: Mapping[str, Any], report: Findings) -> None:
    own = route.metadata.namespace
    services = world.services
    for each in status.get("parents", ()):
        parent = each["parentRef"]
        path = f"spec.parentRefs[{_index(route, parent)}]"
        name = f"{parent.get('namespace') or own}/{parent['name']}"
        for found in each["conditions"]:
            reason, message = found["reason"], found["message"]
            if reason == "UnsupportedValue":
                text = message.removeprefix("Dropped Rule ")
                report.add(c.RULES_LEFT_OUT, route, text.partition(":")[0], message=text)
            elif found["type"] == "Accepted" and found["status"] == "False":
                space, _, short = name.partition("/")
                there = parent["kind"] != "Service" or _known(services.values(), space, short)
                if there:
                    report.add(
                        c.PARENT_REFUSES, route, path, name=name, reason=reason, message=message
                    )


def _known(services: Iterable[Service], namespace: str, name: str) -> bool:
    return any((s.metadata.namespace, s.metadata.name) == (namespace, name) for s in services)


def _index(route: Route, wanted: Mapping[str, Any]) -> int:
    for index, parent in enumerate(route.spec.parent_refs):
        given = (parent.kind, parent.name, parent.namespace, parent.section_name, parent.port)
        asked = (wanted["kind"], wanted["name"], wanted.get("namespace", ""))
        if given == (*asked, wanted.get("sectionName", ""), wanted.get("port")):
            return index
    return 0


# --- who is in the way


def taken_rules(world: World, report: Findings) -> None:
    """Matches that an older route, or an earlier rule, has for the same parent and host."""
    first: dict[tuple[Any, ...], str] = {}
    found: list[_HttpLike] = [*world.list(gw.HTTPRoute), *world.list(gw.GRPCRoute)]
    for route in oldest_first(found):
        rules: Sequence[gw.HTTPRouteRule | gw.GRPCRouteRule] = route.spec.rules
        for index, rule in enumerate(rules):
            for number, match in enumerate(rule.matches):
                where = f"spec.rules[{index}].matches[{number}]"
                for parent, host in _reach(route):
                    key = (type(route), parent, host, match)
                    me = f"{type(route).__name__} {_name(route)} `{where}`"
                    owner = first.setdefault(key, me)
                    if owner != me:
                        report.add(c.RULE_TAKEN, route, where, other=owner, host=host)
                        break


def _reach(route: _HttpLike) -> Iterator[tuple[tuple[Any, ...], str]]:
    for parent in route.spec.parent_refs:
        namespace = parent.namespace or route.metadata.namespace
        key = (parent.kind, namespace, parent.name, parent.section_name, parent.port)
        for host in route.spec.hostnames or ("*",):
            yield key, host.lower()


def _name(obj: Struct) -> str:
    own: Any = obj
    return f"{own.metadata.namespace}/{own.metadata.name}"


CHECKS = (classes, parents, backends, statuses, taken_rules)

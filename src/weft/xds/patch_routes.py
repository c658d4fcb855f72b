"""Patches of route configurations, virtual hosts and routes."""

from typing import Any

from envoy.config.route.v3 import route_components_pb2 as route_pb2

from weft.mesh.model import EnvoyPatch
from weft.mesh.model.patch import RoutePatchMatch
from weft.xds.identity import NAMESPACE_KEY
from weft.xds.patch_listeners import edit
from weft.xds.patch_values import merge, parsed
from weft.xds.proto import Proto

NO_MATCH = RoutePatchMatch()
INBOUND = "inbound"
_ACTIONS = {"ROUTE": "route", "REDIRECT": "redirect", "DIRECT_RESPONSE": "direct_response"}


def patch_routes(configuration: Proto, patch: EnvoyPatch, ports: tuple[int, ...]) -> None:
    """Apply a patch to a configuration; `ports` are those of the workload or gateway."""
    if patch.listener is not None or patch.cluster is not None:
        return
    match = patch.route or NO_MATCH
    if not _named(configuration.name, match, ports):
        return
    if patch.apply_to == "ROUTE_CONFIGURATION":
        if patch.operation == "MERGE":
            name = configuration.name
            merge(configuration, parsed(patch.apply_to, patch.value), patch.replaces_lists)
            configuration.name = name
        return
    if patch.apply_to == "VIRTUAL_HOST" and patch.operation == "ADD":
        configuration.virtual_hosts.add().CopyFrom(parsed(patch.apply_to, patch.value))
        return
    gone = []
    for number, host in enumerate(configuration.virtual_hosts):
        if namespace := _short_for(host, match.virtual_host):
            _short(host, patch, match, namespace)
            if not host.routes:
                gone.append(number)
        if not _host_matches(host, match, ports):
            continue
        if patch.apply_to == "HTTP_ROUTE":
            _routes(host.routes, patch, match)
        elif patch.operation == "REMOVE":
            gone.append(number)
        elif patch.operation == "MERGE":
            merge(host, parsed(patch.apply_to, patch.value), patch.replaces_lists)
        elif patch.operation == "REPLACE":
            host.CopyFrom(parsed(patch.apply_to, patch.value))
    for number in reversed(gone):
        del configuration.virtual_hosts[number]


def _named(name: str, match: RoutePatchMatch, ports: tuple[int, ...]) -> bool:
    """Whether the match names this configuration. Those of workloads are named by their port, and
    by `inbound|<port>||`; those of gateways `http.<port>`, and `https.<port>.…`."""
    plain = name.partition("@")[0].removesuffix(".egress")
    if plain == INBOUND:
        wanted = match.name.removeprefix(f"{INBOUND}|").rstrip("|")
        port = match.port or (int(wanted) if wanted.isdigit() else 0)
        foreign = match.name and not match.name.startswith(INBOUND)
        return not foreign and (not port or port in ports)
    if match.name and match.name != plain:
        return False
    parts = plain.split(".")
    own = parts[0] if len(parts) == 1 else parts[1]
    return not match.port or str(match.port) == own


def _host_matches(host: Proto, match: RoutePatchMatch, ports: tuple[int, ...]) -> bool:
    if match.domain and match.domain not in host.domains:
        return False
    if not match.virtual_host:
        return True
    if host.name == INBOUND:
        _, _, port = match.virtual_host.rpartition("|")
        return (
            match.virtual_host.startswith(f"{INBOUND}|") and port.isdigit() and int(port) in ports
        )
    return bool(host.name == match.virtual_host)


def _short_for(host: Proto, wanted: str) -> str:
    """The namespace whose callers mean the wanted virtual host by a shorter name: `web:80` stands
    for `web.default.svc.cluster.local:80` where default's call. Else empty."""
    full, _, port = wanted.rpartition(":")
    name, _, rest = full.partition(".")
    namespace, _, domain = rest.partition(".")
    return namespace if domain.startswith("svc.") and host.name == f"{name}:{port}" else ""


def _short(host: Proto, patch: EnvoyPatch, match: RoutePatchMatch, namespace: str) -> None:
    """Apply a patch to the part of a virtual host that is for callers of a namespace. What is said
    of a virtual host as a whole holds only where it is for these alone."""
    own = [route for route in host.routes if _callers(route) == namespace]
    if not own:
        return
    others = [route for route in host.routes if _callers(route) != namespace]
    condition = next(s for s in own[0].match.filter_state if s.key == NAMESPACE_KEY)
    part = route_pb2.VirtualHost(routes=own)
    if patch.apply_to == "HTTP_ROUTE":
        _routes(part.routes, patch, match)
    elif patch.operation in ("REMOVE", "REPLACE"):
        del part.routes[:]
    elif patch.operation == "MERGE" and not others:
        part = route_pb2.VirtualHost.FromString(host.SerializeToString())
        merge(part, parsed(patch.apply_to, patch.value), patch.replaces_lists)
        name, domains = host.name, list(host.domains)
        host.CopyFrom(part)
        host.name, host.domains[:] = name, domains
    for route in part.routes:
        if not _callers(route):
            route.match.filter_state.append(condition)
    routes = [*part.routes, *others]
    del host.routes[:]
    host.routes.extend(routes)


def _callers(route: Proto) -> str:
    """The namespace that a route is for; empty when it is for all."""
    found = (s.string_match.exact for s in route.match.filter_state if s.key == NAMESPACE_KEY)
    return next(found, "")


def _routes(routes: Any, patch: EnvoyPatch, match: RoutePatchMatch) -> None:
    if patch.operation in ("ADD", "INSERT_FIRST"):
        edit(routes, patch, "")
        return
    places = [n for n, route in enumerate(routes) if _route_matches(route, match)]
    if patch.operation == "REMOVE":
        for place in reversed(places):
            del routes[place]
    elif patch.operation == "MERGE":
        for place in places:
            merge(routes[place], parsed(patch.apply_to, patch.value), patch.replaces_lists)
    elif patch.operation == "REPLACE":
        for place in places:
            routes[place].CopyFrom(parsed(patch.apply_to, patch.value))
    elif places:
        edit(routes, patch, routes[places[0]].name)


def _route_matches(route: Proto, match: RoutePatchMatch) -> bool:
    if match.route and route.name != match.route:
        return False
    return not match.action or route.WhichOneof("action") == _ACTIONS[match.action]

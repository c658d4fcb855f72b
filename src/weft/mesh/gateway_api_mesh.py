"""Routes with a Service as parent: calls inside the mesh (GAMMA).

A route in the Service's own namespace is for all callers, one in another namespace for the callers
of that namespace only.
"""

from collections.abc import Iterable

from weft.api.gateway import v1 as gw
from weft.mesh.gateway_api_attach import ParentResult
from weft.mesh.gateway_api_edge import NOTHING_ATTACHED
from weft.mesh.gateway_api_objects import ServiceRoutes
from weft.mesh.gateway_api_refs import References
from weft.mesh.gateway_api_rules import Ranked, http_rules
from weft.mesh.hosts import Host, HostPort
from weft.mesh.model import HttpRoute
from weft.mesh.names import service_host
from weft.mesh.protocols import HTTP

HttpLike = gw.HTTPRoute | gw.GRPCRoute
_Found = dict[tuple[str, int], dict[str, list[Ranked]]]


def service_routes(
    routes: Iterable[HttpLike], references: References
) -> tuple[ServiceRoutes, dict[int, list[ParentResult]]]:
    """The routes by Service and port, and by `id` of each route how it fares with its Services."""
    found: _Found = {}
    results: dict[int, list[ParentResult]] = {}
    for route in routes:
        for parent in route.spec.parent_refs:
            if parent.group == "" and parent.kind == "Service":
                result = _attach(route, parent, references, found)
                results.setdefault(id(route), []).append(result)
    by_port = {
        place: tuple((client, _ordered(client, ranked)) for client, ranked in sorted(by.items()))
        for place, by in found.items()
    }
    return ServiceRoutes(by_port), results


def _ordered(client: str, ranked: list[Ranked]) -> tuple[HttpRoute, ...]:
    routes = tuple(r.route for r in sorted(ranked, key=lambda r: r.key))
    # What callers with routes of their own ask for and these do not know is not found; without
    # this it would go to the routes for all.
    return (*routes, NOTHING_ATTACHED) if client else routes


def _attach(
    route: HttpLike, parent: gw.ParentReference, references: References, found: _Found
) -> ParentResult:
    own = route.metadata.namespace
    namespace = parent.namespace or own
    host = references.directory.hosts.get(service_host(parent.name, namespace))
    if host is None:
        return _refused(parent, f"Service `{namespace}/{parent.name}` does not exist")
    ports = [port for port in host.ports if _wanted(parent, port)]
    if not ports:
        return _refused(parent, f"Service `{namespace}/{parent.name}` has no such port for HTTP")
    for port in ports:
        _add(route, host, port, references, found)
    return ParentResult(parent)


def _wanted(parent: gw.ParentReference, port: HostPort) -> bool:
    named = parent.port in (None, port.number) and parent.section_name in ("", port.name)
    return named and port.protocol in HTTP


def _add(
    route: HttpLike, host: Host, port: HostPort, references: References, found: _Found
) -> None:
    own = route.metadata.namespace
    client = "" if own == host.namespace else own
    ranked = http_rules(route, port.number, references).ranked
    found.setdefault((host.host, port.number), {}).setdefault(client, []).extend(ranked)


def _refused(parent: gw.ParentReference, message: str) -> ParentResult:
    return ParentResult(parent, refused="NoMatchingParent", message=message)

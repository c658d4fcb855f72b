"""Copies of requests (mirrors) to what policies protect.

The proxy sends copies past the filters of a destination, and they carry no caller's identity: no
policy would be asked. So where a policy may refuse requests, no copies are sent.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from weft.api.diagnostics import Diagnostic
from weft.mesh import findings as f
from weft.mesh.model import Destination, HttpRoute, RouteTable, VirtualHost


class Mirrored(Struct, frozen=True):
    """Route tables without those copies, and what was left out."""

    tables: tuple[RouteTable, ...]
    findings: tuple[Diagnostic, ...] = ()


def protected(destinations: Iterable[Destination]) -> frozenset[str]:
    """The names of the destinations whose policies may refuse a request, or that look at tokens:
    the tokens of copies are checked by nobody."""
    return frozenset(
        d.name
        for d in destinations
        if d.authentication is not None
        or any(p.action != "audit" and not p.dry_run for each in d.access for p in each.policies)
    )


def without_protected_mirrors(tables: tuple[RouteTable, ...], names: frozenset[str]) -> Mirrored:
    """The tables without copies to these destinations."""
    lost: dict[Diagnostic, None] = {}
    return Mirrored(tuple(_table(table, names, lost) for table in tables), tuple(lost))


def _table(table: RouteTable, names: frozenset[str], lost: dict[Diagnostic, None]) -> RouteTable:
    hosts = tuple(_host(host, names, lost) for host in table.virtual_hosts)
    if all(a is b for a, b in zip(hosts, table.virtual_hosts, strict=True)):
        return table
    return replace(table, virtual_hosts=hosts)


def _host(host: VirtualHost, names: frozenset[str], lost: dict[Diagnostic, None]) -> VirtualHost:
    if not any([r.mirrors for r in host.routes]):  # noqa: C419 - there are thousands
        return host
    routes = tuple(_route(route, names, lost) for route in host.routes)
    if all(a is b for a, b in zip(routes, host.routes, strict=True)):
        return host
    return replace(host, routes=routes)


def _route(route: HttpRoute, names: frozenset[str], lost: dict[Diagnostic, None]) -> HttpRoute:
    kept = tuple(mirror for mirror in route.mirrors if mirror.destination not in names)
    if len(kept) == len(route.mirrors):
        return route
    kind, _, where = route.source.partition(" ")
    namespace, _, name = where.partition("/")
    for mirror in route.mirrors:
        if mirror.destination in names:
            finding = f.MIRROR_PROTECTED
            text = finding.message.format(destination=mirror.destination)
            lost[
                Diagnostic(
                    finding.code, finding.severity, text, kind, namespace, name, hint=finding.hint
                )
            ] = None
    return replace(route, mirrors=kept)

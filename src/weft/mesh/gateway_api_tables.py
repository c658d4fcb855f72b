"""Route tables of Gateways: virtual hosts from the routes at their listeners.

With thousands of routes most of a table stays as it is when one of them changes; a virtual host is
made anew only when one of the routes that it is made of is another.
"""

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from weft.api.gateway import v1 as gw
from weft.mesh.gateway_api_attach import ParentResult
from weft.mesh.gateway_api_objects import Attached, Listener, Route
from weft.mesh.gateway_api_resolve import PlacedRules, Vias, port_of, way_of
from weft.mesh.gateway_api_rules import NOTHING_ATTACHED, Ranked
from weft.mesh.memo import Memo
from weft.mesh.model import DirectResponse, HttpRoute, RouteTable, VirtualHost
from weft.mesh.names import covers, specificity

MISDIRECTED = 421
ANOTHERS = HttpRoute(name="misdirected", direct_response=DirectResponse(MISDIRECTED))
"""What it answers to requests for hosts of another listener: the caller opened the connection for
a host of this one, with this one's certificate (RFC 9110 section 15.5.20)."""


class Entry(Struct, frozen=True):
    """A route's rules for one host at one listener."""

    table: str
    listener: str
    host: str
    written: str
    """The host as the route names it."""
    ranked: tuple[Ranked, ...]


Entries = tuple[Entry, ...]


def table_name(listener: Listener) -> str:
    """Listeners of plain HTTP share a table by port; each one of HTTPS has its own, for the
    certificate that the caller asked for says which one is meant."""
    gateway = listener.gateway_name.replace("/", ".")
    if listener.spec.protocol == "HTTP":
        return f"http.{listener.port}.{gateway}"
    rest = listener.name.removeprefix(f"{listener.gateway_name}/").replace("/", ".")
    return f"https.{listener.port}.{gateway}.{rest}"


def entries(
    route: Route, results: Sequence[ParentResult], rules: PlacedRules, vias: Vias
) -> Entries:
    """What a route adds to tables."""
    if not isinstance(route, gw.HTTPRoute | gw.GRPCRoute):
        return ()
    return tuple(
        Entry(table_name(each.listener), each.listener.name, host, written, ranked)
        for each in distinct(results)
        if each.listener.serves
        and (ranked := rules.at((way_of(each.listener, vias),
                                 port_of(route, each.listener.port))).ranked)
        for host, written in zip(each.hosts, each.written, strict=True)
    )  # fmt: skip


def distinct(results: Iterable[ParentResult]) -> Iterator[Attached]:
    """Attachments, each listener once: several parents may name the same one."""
    seen: set[str] = set()
    for result in results:
        for each in result.attached:
            if each.listener.name not in seen:
                seen.add(each.listener.name)
                yield each


def tables(
    listeners: Iterable[Listener], found: Iterable[Entries], memo: Memo
) -> tuple[RouteTable, ...]:
    """The tables of all listeners that carry HTTP. `found` is in the order of the routes' age."""
    groups: dict[str, list[Listener]] = {}
    beside: dict[tuple[str, int], list[Listener]] = {}
    for each in listeners:
        if each.serves and each.spec.protocol in ("HTTP", "HTTPS"):
            groups.setdefault(table_name(each), []).append(each)
            if each.spec.protocol == "HTTPS":
                beside.setdefault((each.gateway_name, each.port), []).append(each)
    by_table: dict[str, dict[str, list[Entry]]] = {name: {} for name in groups}
    for one in found:
        for entry in one:
            by_table[entry.table].setdefault(entry.host, []).append(entry)
    made = []
    for name, group in groups.items():
        first = group[0]
        others = beside.get((first.gateway_name, first.port), ())
        others = [each for each in others if each is not first]
        hosts = _hosts(name, group, others, by_table[name], memo)
        made.append(memo.keep(("table", name), RouteTable(name, hosts, False, True)))
    return tuple(made)


def _hosts(
    table: str,
    group: Sequence[Listener],
    others: Sequence[Listener],
    by_host: dict[str, list[Entry]],
    memo: Memo,
) -> tuple[VirtualHost, ...]:
    """A virtual host for each host that a listener or a route names. Where listeners of a port
    share a host, the narrowest of them has its requests."""
    for listener in group:
        by_host.setdefault(listener.host, [])
    several = len(group) > 1 or bool(others)
    wild = [host for host, own in by_host.items() if host.startswith("*") and own]
    port = group[0].port
    if not (several or wild):
        rows = [(domain, tuple(own)) for domain, own in by_host.items()]
        return memo.mapped(("virtual hosts", table), _virtual_host, rows, port)
    rows = []
    for domain, own in by_host.items():
        owner = _narrowest([*group, *others], domain) if several else group[0]
        if owner in others:
            continue
        found = [*own]
        for host in wild:
            if host != domain and covers(host, domain):
                found += by_host[host]
        rows.append((domain, tuple(e for e in found if not several or e.listener == owner.name)))
    hosts = memo.mapped(("virtual hosts", table), _virtual_host, rows, port)
    foreign = tuple(
        VirtualHost(f"{each.host}:{port}", (each.host,), (ANOTHERS,)) for each in others
    )
    return (*hosts, *foreign)


def _narrowest(listeners: Iterable[Listener], domain: str) -> Listener:
    """The listener whose requests for a domain these are."""
    covering = (each for each in listeners if covers(each.host, domain))
    return max(covering, key=lambda each: specificity(each.host))


def _virtual_host(domain: str, found: Entries, port: int) -> VirtualHost:
    """Rules of narrower hosts, as routes name them, come first; then the rules' own precedence,
    then age."""
    ranked: list[tuple[tuple[int, ...], HttpRoute]] = []
    for entry in found:
        exact, length = specificity(entry.written)
        ranked += [((not exact, -length, *r.key), r.route) for r in entry.ranked]
    ranked.sort(key=lambda each: each[0])
    routes = tuple(route for _, route in ranked) or (NOTHING_ATTACHED,)
    return VirtualHost(f"{domain}:{port}", (domain,), routes)

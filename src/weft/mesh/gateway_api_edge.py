"""Listeners of Gateways with their routes, in mesh words."""

from collections.abc import Iterable, Sequence

from weft.api.gateway import v1 as gw
from weft.mesh.gateway_api_listeners import LAYERS
from weft.mesh.gateway_api_objects import Attached, Listener, Route
from weft.mesh.gateway_api_refs import References
from weft.mesh.gateway_api_rules import Ranked, Rules, http_rules
from weft.mesh.model import (
    DirectResponse,
    GatewayListener,
    GatewayServer,
    HttpRoute,
    RouteTable,
    TcpRoute,
    VirtualHost,
    WeightedDestination,
)
from weft.mesh.names import covers, specificity

NOT_FOUND = 404
NOTHING_ATTACHED = HttpRoute(name="no-route", direct_response=DirectResponse(NOT_FOUND))
"""What a listener without a route for a host answers: its requests are not another listener's."""


class Edge:
    """Builds the listeners; rules are read once for each port."""

    def __init__(self, attached: Sequence[Attached], references: References) -> None:
        self._by_listener: dict[str, list[Attached]] = {}
        for each in attached:
            self._by_listener.setdefault(each.listener.name, []).append(each)
        self._references = references
        self._rules: dict[tuple[int, int], Rules] = {}

    def rules(self, route: gw.HTTPRoute | gw.GRPCRoute, port: int) -> Rules:
        """The rules of a route as they apply at a port."""
        key = (id(route), port)
        if key not in self._rules:
            self._rules[key] = http_rules(route, port, self._references)
        return self._rules[key]

    def parts(
        self, listeners: Iterable[Listener]
    ) -> tuple[tuple[GatewayListener, ...], tuple[RouteTable, ...]]:
        """Listeners that serve, by port, and the tables of those that carry HTTP."""
        by_port: dict[int, list[Listener]] = {}
        for each in listeners:
            if each.serves:
                by_port.setdefault(each.port, []).append(each)
        made: list[GatewayListener] = []
        tables: list[RouteTable] = []
        for port, group in sorted(by_port.items()):
            layer = LAYERS[group[0].spec.protocol]
            if layer == "http":
                table = self._table(f"http.{port}", group)
                tables.append(table)
                servers = [GatewayServer(each.name, (each.host,), table.name) for each in group]
            else:
                servers = [s for each in group for s in self._servers(each, tables)]
            protocol = "https" if any(s.route_table for s in servers) and layer == "tls" else layer
            if servers:
                made.append(GatewayListener(port, protocol, tuple(servers)))  # type: ignore[arg-type]
        return tuple(made), tuple(tables)

    def _servers(self, listener: Listener, tables: list[RouteTable]) -> list[GatewayServer]:
        if listener.spec.protocol == "HTTPS":
            name = f"https.{listener.port}.{listener.name.replace('/', '.')}"
            tables.append(self._table(name, [listener]))
            return [GatewayServer(listener.name, (listener.host,), name, tls=listener.tls)]
        made: list[GatewayServer] = []
        claimed: set[str] = set()
        for each in self._by_listener.get(listener.name, ()):
            hosts = tuple(h for h in each.hosts if h not in claimed)
            shares = self._shares(each.route)
            if not hosts or not shares:
                continue
            claimed.update(hosts)
            route = TcpRoute(
                addresses=(),
                port=listener.port,
                destinations=shares,
                sni_hosts=() if "*" in hosts else hosts,
                source=_source(each.route),
            )
            name = f"{listener.name}.{len(made)}" if made else listener.name
            made.append(GatewayServer(name, hosts, "", tcp=route, tls=listener.tls))
        return made

    def _shares(self, route: Route) -> tuple[WeightedDestination, ...]:
        """Back ends of the first rule; those that cannot be resolved get nothing."""
        kind, namespace = type(route).__name__, route.metadata.namespace
        refs = route.spec.rules[0].backend_refs if route.spec.rules else ()
        found = ((ref, self._references.backend(ref, kind, namespace)) for ref in refs)
        return tuple(
            WeightedDestination(backend.destination, ref.weight)
            for ref, backend in found
            if backend.destination and ref.weight
        )

    def _table(self, name: str, group: Sequence[Listener]) -> RouteTable:
        """A virtual host for each host that a listener or a route names. Rules of narrower hosts
        come first, then the rules' own precedence, then age."""
        pairs: dict[str, list[Attached]] = {each.host: [] for each in group}
        for listener in group:
            for each in self._by_listener.get(listener.name, ()):
                for host in each.hosts:
                    pairs.setdefault(host, []).append(each)
        wild = [host for host in pairs if host.startswith("*")]
        hosts = []
        for domain in sorted(pairs, key=lambda d: (not specificity(d)[0], -len(d), d)):
            owners = _owners(group, domain)
            found: list[tuple[tuple[int, ...], HttpRoute]] = []
            for host in dict.fromkeys([domain, *(w for w in wild if covers(w, domain))]):
                exact, length = specificity(host)
                for each in {id(a): a for a in pairs[host]}.values():
                    if each.listener.name in owners:
                        ranked = self._ranked(each)
                        found += [((not exact, -length, *r.key), r.route) for r in ranked]
            found.sort(key=lambda entry: entry[0])
            routes = tuple(route for _, route in found) or (NOTHING_ATTACHED,)
            hosts.append(VirtualHost(f"{domain}:{group[0].port}", (domain,), routes))
        return RouteTable(name, tuple(hosts), passthrough=False, ignore_port=True)

    def _ranked(self, each: Attached) -> Sequence[Ranked]:
        route = each.route
        if not isinstance(route, gw.HTTPRoute | gw.GRPCRoute):
            return ()
        return self.rules(route, each.listener.port).ranked


def _owners(group: Sequence[Listener], domain: str) -> set[str]:
    """Of each Gateway the one listener whose requests these are: the narrowest that covers them."""
    best: dict[str, Listener] = {}
    for each in group:
        known = best.get(each.gateway_name)
        if covers(each.host, domain) and (
            known is None or specificity(each.host) > specificity(known.host)
        ):
            best[each.gateway_name] = each
    return {each.name for each in best.values()}


def _source(route: Route) -> str:
    return f"{type(route).__name__} {route.metadata.namespace}/{route.metadata.name}"

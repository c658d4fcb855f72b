"""A node model to the resources of the node's Envoy. Pure, and the same bytes for equal input."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from weft.mesh.model import (
    AccessPolicy,
    Authorizer,
    Destination,
    EnvoyPatch,
    GatewayBinding,
    GatewayListener,
    HashKey,
    NodeModel,
    NodeSettings,
    RateLimit,
    RouteTable,
    ServiceListener,
    Workload,
)
from weft.xds import udp
from weft.xds.access import destination_policies
from weft.xds.clusters import cluster_resource, node_clusters, passthrough_cluster
from weft.xds.endpoints import endpoints_resource
from weft.xds.external_authorization import authorizer_configuration
from weft.xds.forward import ResolvedPorts, resolved_ports
from weft.xds.gateways import (
    EdgeSettings,
    alternative_services,
    binding_of,
    egress_listener,
    gateway_listener,
    gateway_name,
    http3_listener,
    redirected_hosts,
)
from weft.xds.holding import asleep, has_no_cluster, wakeable
from weft.xds.host import proxy_listener, service_listener
from weft.xds.listeners import inbound_listener, outbound_listener
from weft.xds.logins import login_resources
from weft.xds.nodes_listener import nodes_listener
from weft.xds.own_network import own_listeners
from weft.xds.patcher import Patcher
from weft.xds.rate_limits import buckets_extension, local_limits
from weft.xds.resource import ROUTES, Resource, content_version
from weft.xds.routes import Parts, TableFacts, destinations_of, divided_table, route_table
from weft.xds.scoped_routes import scopes, shall_be_scoped
from weft.xds.tcp import TcpFacts, times, tunnels
from weft.xds.tls import secret_resource, secrets
from weft.xds.tokens import Asked, at_both, remembered, tokens_configuration, with_earlier

_Build = Callable[..., list[Resource]]
_Element = tuple[str, str, _Build, tuple[Any, ...]]
"""(kind, name, builder, all that the builder reads)"""


def translate(model: NodeModel) -> tuple[Resource, ...]:
    """All resources of a node, clusters first."""
    return Translator().translate(model)


class Translator:
    """Translates one node model after another and builds anew only what changed.

    An element of a model (a destination, a pod, a table) together with the few other values its
    resources depend on is the whole input of its builder; while that input is equal, the resources
    made from it are handed out again, the same objects.
    """

    def __init__(self) -> None:
        self._built: dict[tuple[str, str], tuple[tuple[Any, ...], list[Resource]]] = {}
        self._parts: dict[str, Parts] = {}
        """Of route tables, by name."""
        self._patcher = Patcher()
        self._scoped: frozenset[str] = frozenset()
        """Route tables that are divided by host."""
        self._asked: tuple[Asked, ...] = ()
        """Of tokens, lately."""

    @property
    def applied(self) -> frozenset[EnvoyPatch]:
        """The patches that changed anything in the last translation."""
        return self._patcher.applied

    def translate(self, model: NodeModel) -> tuple[Resource, ...]:
        """All resources of a node, clusters first."""
        self._patcher.begin(model)
        self._scoped = _scoped_tables(model, self._scoped)
        previous, self._built = self._built, {}
        result: list[Resource] = []
        for kind, name, build, inputs in _elements(model, self._scoped):
            if kind == "tokens":
                self._asked = remembered(self._asked, inputs[0])
                inputs = (with_earlier(inputs[0], self._asked),)  # noqa: PLW2901
            known = previous.get((kind, name))
            if known is None or not _same(known[0], inputs):
                known = (inputs, self._build(kind, name, build, inputs))
            self._built[kind, name] = known
            result.extend(self._patcher.patched(kind, name, inputs[0], known[1]))
        result.extend(self._patcher.added(result))
        for gone in self._parts.keys() - {table.name for table in model.route_tables}:
            del self._parts[gone]
        return tuple(result)

    def _build(
        self, kind: str, name: str, build: _Build, inputs: tuple[Any, ...]
    ) -> list[Resource]:
        if kind == "table":
            return build(*inputs, self._parts.setdefault(name, Parts()))
        return build(*inputs)


def _same(left: tuple[Any, ...], right: tuple[Any, ...]) -> bool:
    return all(a is b or a == b for a, b in zip(left, right, strict=True))


def _scoped_tables(model: NodeModel, before: frozenset[str]) -> frozenset[str]:
    """Route tables to divide; none where patches may be about the routes of gateways."""
    if any(patch.context in ("ANY", "GATEWAY") for patch in model.patches):
        return frozenset()
    return frozenset(t.name for t in model.route_tables if shall_be_scoped(t, t.name in before))


def _elements(model: NodeModel, scoped: frozenset[str]) -> list[_Element]:
    """Everything in a model that resources are made from."""
    # A Gateway that comes or goes is nothing to the others.
    node = replace(model.node, gateway_ports=(), gateway_bindings=(), places=())
    elements: list[_Element] = [("node", node.name, node_clusters, (node,))]
    for name, (content, key) in secrets(model).items():
        elements.append(("secret", name, _secret, (name, content, key)))
    for destination in model.destinations:
        elements.append(("destination", destination.name, _destination, (destination, node)))
    hash_keys = {
        d.name: d.load_balancer.hash_key for d in model.destinations if d.load_balancer.hash_key
    }
    measured = {
        d.name for d in model.destinations if d.load_balancer.algorithm == "least_response_time"
    }
    tokens = {d.name: d.authentication.name for d in model.destinations if d.authentication}
    asking = _asking(model)
    for login in model.logins:
        elements.append(("login", login.name, login_resources, (login,)))
    for authorizer in model.authorizers:
        elements.append(("authorizer", authorizer.name, _authorizer, (authorizer,)))
    asked = _asked(model, tokens)
    if asked != Asked():
        elements.append(("tokens", "", _tokens, (asked,)))
    resolved = resolved_ports(model.destinations)
    held = asleep(model.destinations)
    tcp_facts = _tcp_facts(model, resolved, scoped)
    redirects = redirected_hosts(model.gateways)
    alternatives = alternative_services(model.gateways, model.node)
    addresses = _service_addresses(model.service_listeners)
    edges = {s.route_table for g in model.gateways for s in g.servers}
    for table in model.route_tables:
        keys = _used_keys(table, hash_keys)
        reports = bool(measured) and not measured.isdisjoint(destinations_of(table))
        facts = TableFacts(
            https_hosts=redirects.get(table.name, ()),
            addresses=addresses.get(table.name, {}),
            resolved=frozenset(resolved) & destinations_of(table) if resolved else frozenset(),
            measured=reports,
            alt_svc=alternatives.get(table.name, ""),
            tokens=_of_table(table, tokens),
            scoped=table.name in scoped,
            at_gateway=table.name in edges,
            asking={n: asking[n] for n in destinations_of(table) if n in asking} if asking else {},
            asleep=held & destinations_of(table) if held else held,
        )
        if facts.at_gateway:
            elements.append(("buckets", table.name, _buckets, (table.name, local_limits(table))))
        inputs = (table, keys, node, facts)
        elements.append(("table", table.name, _table, inputs))
    for workload in model.workloads:
        elements.append(("workload", workload.uid, _workload, (workload, node, tcp_facts)))
    if model.entrances:
        elements.append(("nodes", "", nodes_listener, (model.entrances, node)))
    for listener in model.service_listeners:
        name = f"{listener.address}:{listener.port}{'/udp' if listener.udp else ''}"
        elements.append(("service", name, _service, (listener, node, tcp_facts)))
    domains = tuple(dict.fromkeys((model.trust_domain, *node.peers.trust_domains)))
    for gateway in model.gateways:
        place = binding_of(gateway, model.node)
        edge = EdgeSettings(
            node, model.gateway_reporting, domains, node.authorizers, node.logins, node.adaptive
        )
        kind = "egress" if gateway.egress else "gateway"
        facts_of = (gateway, place, edge, tcp_facts)
        elements.append((kind, gateway_name(gateway), _gateway, facts_of))
    return elements


def _of_table(table: RouteTable, tokens: dict[str, str]) -> dict[str, str]:
    """What is asked of tokens on the ways to the destinations of a table."""
    if not tokens:
        return {}
    used = {name: tokens[name] for name in destinations_of(table) if name in tokens}
    if table.authentication is None:
        return used
    own = table.authentication.name
    return {name: at_both(own, asked) for name, asked in used.items()}


def _tcp_facts(model: NodeModel, resolved: ResolvedPorts, scoped: frozenset[str]) -> TcpFacts:
    known = model.destinations
    return TcpFacts(resolved, scoped, tunnels(known), times(known), wakeable(known))


def _asking(model: NodeModel) -> dict[str, tuple[AccessPolicy, ...]]:
    """Destination -> the policies for which somebody is asked about requests to it."""
    return {d.name: d.asked for d in model.destinations if d.asked}


def _asked(model: NodeModel, tokens: dict[str, str]) -> Asked:
    """All that routes of the node ask of tokens."""
    destinations = {d.authentication for d in model.destinations if d.authentication}
    gateways = {t.authentication for t in model.route_tables if t.authentication}
    joined = {
        (table.authentication.name, tokens[name])
        for table in (model.route_tables if gateways and tokens else ())
        if table.authentication
        for name in destinations_of(table)
        if name in tokens
    }
    return Asked(
        tuple(sorted(destinations, key=lambda each: each.name)),
        tuple(sorted(gateways, key=lambda each: each.name)),
        tuple(sorted(joined)),
    )


def _used_keys(table: RouteTable, hash_keys: dict[str, HashKey]) -> dict[str, HashKey]:
    if not hash_keys:
        return {}
    used = destinations_of(table)
    return {name: key for name, key in hash_keys.items() if name in used}


def _service_addresses(listeners: tuple[ServiceListener, ...]) -> dict[str, dict[str, str]]:
    """Route table -> service address -> host."""
    found: dict[str, dict[str, str]] = {}
    for listener in listeners:
        if listener.route_table and listener.host and not listener.owner:
            found.setdefault(listener.route_table, {})[listener.address] = listener.host
    return found


def _destination(destination: Destination, node: NodeSettings) -> list[Resource]:
    if has_no_cluster(destination):
        return []
    cluster = cluster_resource(destination, node)
    policies = destination_policies(destination)
    if destination.discovery != "endpoints":
        return [cluster, *policies]
    return [cluster, endpoints_resource(destination, node), *policies]


def _table(
    table: RouteTable,
    hash_keys: Mapping[str, HashKey],
    node: NodeSettings,
    facts: TableFacts,
    parts: Parts,
) -> list[Resource]:
    if facts.scoped:
        return [*scopes(table.name), *divided_table(table, hash_keys, facts, parts)]
    cluster = passthrough_cluster(node)
    body = route_table(table, hash_keys, cluster, facts, parts)
    return [Resource(ROUTES, table.name, content_version(body), body)]


def _workload(workload: Workload, node: NodeSettings, facts: TcpFacts) -> list[Resource]:
    if node.isolation == "netns":
        if not workload.netns:
            return []
        return [
            outbound_listener(workload, node, facts),
            inbound_listener(workload, node),
            *udp.pod_listeners(workload),
            *own_listeners(workload, node, facts),
        ]
    listener = proxy_listener(workload, node)
    return [] if listener is None else [listener]


def _service(listener: ServiceListener, node: NodeSettings, facts: TcpFacts) -> list[Resource]:
    if listener.udp is not None:
        return [udp.service_listener(listener, listener.udp)]
    return [service_listener(listener, node, facts)]


def _gateway(
    gateway: GatewayListener,
    binding: GatewayBinding,
    edge: EdgeSettings,
    facts: TcpFacts,
) -> list[Resource]:
    if gateway.egress:
        found = [egress_listener(gateway, edge, facts)]
    else:
        found = [
            gateway_listener(gateway, binding, edge, facts),
            http3_listener(gateway, binding, edge, facts),
        ]
    return [listener for listener in found if listener is not None]


def _buckets(table: str, limits: tuple[RateLimit, ...]) -> list[Resource]:
    return [buckets_extension(table, limits)]


def _tokens(asked: Asked) -> list[Resource]:
    return [tokens_configuration(asked)]


def _authorizer(authorizer: Authorizer) -> list[Resource]:
    return [authorizer_configuration(authorizer)]


def _secret(name: str, content: str, key: str) -> list[Resource]:
    return [secret_resource(name, content, key)]

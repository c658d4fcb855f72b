"""All objects of the mesh, as one model.

Never raises on what users wrote: what is wrong is reported, and the rest stays in force.
"""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from weft.api.apiextensions_v1 import CustomResourceDefinition
from weft.api.diagnostics import Diagnostic
from weft.api.gateway import v1 as gw
from weft.api.istio import networking_v1 as istio
from weft.api.istio import telemetry
from weft.api.k8s.core_v1 import ConfigMap, Namespace, Node, Secret, Service
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.k8s.networking_v1 import Ingress, IngressClass
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import Snapshot, meta
from weft.api.weft.policy_v1alpha1 import AuthenticationPolicy, BackendPolicy, RateLimitPolicy
from weft.api.wellknown import (
    ANNOTATION_NODE_ISOLATION,
    ISOLATION_HOST,
    LABEL_SERVICE_NAME,
    TRUST_DOMAIN_DEFAULT,
)
from weft.mesh import findings as f
from weft.mesh.backend_policies import with_backend_policies
from weft.mesh.backend_routes import with_backend_routes
from weft.mesh.callers import (
    Callers,
    Scoping,
    ScopingObjects,
    callers,
    read_scoping,
    rule_selectors,
    with_scopes,
)
from weft.mesh.destinations import host_destinations
from weft.mesh.egress_gateways import with_egress_gateways
from weft.mesh.envoy_filters import reached_through_listeners, read_envoy_filters
from weft.mesh.exposure import exposed_pods, with_local_endpoints
from weft.mesh.findings import Findings
from weft.mesh.gateway_api import gateway_api
from weft.mesh.gateway_api_derived import derived_destinations
from weft.mesh.gateway_api_external_auth import asked_by_routes
from weft.mesh.gateway_api_objects import GatewayApiObjects, ObjectStatus, ServiceRoutes
from weft.mesh.gateway_authentication import Guarded, with_logins
from weft.mesh.hosts import Host, HostPort
from weft.mesh.http3 import AnyGateway, with_http3
from weft.mesh.ingresses import IngressObjects, ingress_objects, of_rollouts
from weft.mesh.issuer_keys import IssuerKeys
from weft.mesh.istio_policies import Policy
from weft.mesh.memo import Memo
from weft.mesh.mesh_config import MeshConfig, mesh_config
from weft.mesh.model import (
    PASS_UNKNOWN,
    AppProtocol,
    ClientLimits,
    Destination,
    Endpoint,
    EnvoyPatch,
    GatewayListener,
    MeshModel,
    Reporting,
    RouteTable,
    UnknownHosts,
    Workload,
)
from weft.mesh.node_settings import locality, node_addresses
from weft.mesh.rate_limits import Limited, with_rate_limits
from weft.mesh.reporting import read_telemetry, with_reporting
from weft.mesh.routing import NO_RULES, ClientRules, Routing, RoutingObjects, route, shape
from weft.mesh.security import Securable, secure
from weft.mesh.service_entries import Endpoints, entry_hosts, report_network
from weft.mesh.services import build_host, served_ports, slices_by_service
from weft.mesh.sidecar_ingress import through_ingress
from weft.mesh.sidecars import Scope
from weft.mesh.workloads import Calls, PodFacts, pod_facts, workload

T = TypeVar("T", bound=Struct)
PodKey = tuple[str, str]
Served = Mapping[PodKey, dict[int, AppProtocol]]
ServiceRow = tuple[Service, tuple[EndpointSlice, ...], tuple[PodFacts | None, ...]]
WorkloadRow = tuple[PodFacts, dict[int, AppProtocol] | None, Calls]


class BuildSettings(Struct, frozen=True):
    """What the model depends on besides objects."""

    trust_domain: str = TRUST_DOMAIN_DEFAULT
    unknown_hosts: UnknownHosts = PASS_UNKNOWN
    """What becomes of calls to unknown hosts where no MeshConfig says so."""
    connection_seconds: float = 3 * 3600.0
    """How long a connection between nodes may last: less than the certificates that it begins with.
    """
    clients: ClientLimits = ClientLimits()
    issuer_keys: IssuerKeys = IssuerKeys()
    missing_files: frozenset[str] = frozenset()
    """Of the files that `server_certificates.referenced_files` names, those that do not exist."""

    @property
    def mesh(self) -> MeshConfig:
        """What holds where no MeshConfig says otherwise."""
        return MeshConfig(self.unknown_hosts, trust_domain=self.trust_domain)


DEFAULTS = BuildSettings()


class Built(Struct, frozen=True):
    """A model and what is wrong with the objects it was made from."""

    model: MeshModel
    diagnostics: tuple[Diagnostic, ...] = ()
    statuses: tuple[ObjectStatus, ...] = ()
    """Statuses that Gateway API objects shall have."""


def build(
    snapshot: Snapshot, settings: BuildSettings = DEFAULTS, memo: Memo | None = None
) -> Built:
    """The model of all objects of a snapshot. Pass the same `memo` to each build in turn, and what
    did not change is taken over from the last one."""
    memo = memo or Memo()
    report = Findings()
    wide = mesh_config(snapshot, settings.mesh, report)
    facts = memo.mapped("pods", pod_facts, zip(snapshot.list(Pod)), wide.trust_domain)
    pods = memo("pods by name", _by_name, facts)
    hosts, served = _service_hosts(snapshot, pods, memo)
    _add_entries(hosts, snapshot, pods, wide, report)
    _resolve_aliases(hosts)
    hosts = with_egress_gateways(hosts, snapshot.list(istio.Gateway), snapshot.list(Service))
    shapes = memo.mapped("shapes", shape, zip(hosts.values()))
    edges = _ingresses(snapshot, memo)
    api = gateway_api(_gateway_api_objects(snapshot, edges, memo), shapes, memo)
    patches = _patches(snapshot, memo, report)
    known = ScopingObjects(
        unknown=wide.unknown, patches=patches, missing_files=settings.missing_files
    )
    scoping, scopes, patches = _scoping(snapshot, facts, known, memo, report)
    objects = _routing_objects(snapshot, settings, api.service_routes)
    objects = replace(objects, scopes=scopes, unknown=wide.unknown, patches=patches)
    routing = memo("routing", route, shapes, objects, memo.routes)
    gateways = with_http3((*routing.gateways, *api.listeners), _named_gateways(snapshot), report)
    backend_policies = tuple(snapshot.list(BackendPolicy))
    tables = (*routing.tables, *api.tables)
    limited = _limited(snapshot, tables, gateways, memo, report)
    unaltered = _destinations(hosts, routing, wide, memo)
    backends = memo("backends", with_backend_policies, unaltered, backend_policies)
    derived = memo("derived", derived_destinations, api.derived, backends.destinations)
    guarded = _guarded(snapshot, limited.tables, gateways, backends.destinations, memo)
    exposed = replace(routing.exposed, tables=guarded.tables)
    exposed = with_local_endpoints(exposed, backends.destinations)
    of_pods = exposed_pods(facts)
    for each in (routing, limited, backends, guarded):
        report.extend(each.findings)
    workloads = _workloads(facts, served, callers(routing, scoping, memo), memo)
    workloads, of_gateways = _reporting(snapshot, workloads, memo, report)
    # Pods with a network of their own apply their policies themselves there.
    judged = tuple(d for d in of_pods.destinations if not d.through_inbound)
    unjudged = tuple(d for d in of_pods.destinations if d.through_inbound)
    every = (*backends.destinations, *derived, *exposed.destinations, *judged)
    destinations = through_ingress(_patched(every, routing, facts, patches), workloads)
    listeners = (*routing.listeners, *exposed.listeners, *of_pods.listeners)
    plain = Securable(
        destinations, workloads, exposed.tables, gateways, listeners, authorizers=wide.authorizers
    )
    secured = secure(snapshot, plain, wide, settings.issuer_keys, memo)
    report.extend(secured.findings)
    model = MeshModel(
        localities=_localities(snapshot),
        trust_domain=wide.trust_domain,
        trust_domain_aliases=wide.trust_domain_aliases,
        nodes=node_addresses(snapshot.list(Node)),
        connection_seconds=settings.connection_seconds,
        workloads=secured.workloads,
        destinations=(*secured.destinations, *unjudged),
        route_tables=secured.tables,
        service_listeners=secured.listeners,
        gateways=secured.gateways,
        rate_limits=limited.shared,
        patches=patches,
        authorizers=(*secured.authorizers, *memo("asking", asked_by_routes, secured.tables)),
        access_log=wide.access_log,
        gateway_reporting=of_gateways,
    )
    memo.end()
    return Built(model, report.all(), (*edges.others(api.statuses), *edges.statuses))


def _limited(
    snapshot: Snapshot,
    tables: tuple[RouteTable, ...],
    gateways: tuple[GatewayListener, ...],
    memo: Memo,
    report: Findings,
) -> Limited:
    """The tables under the policies of back ends and rate limits."""
    backends = tuple(snapshot.list(BackendPolicy))
    governed = memo("governed", with_backend_routes, tables, backends)
    report.extend(governed.findings)
    policies = tuple(snapshot.list(RateLimitPolicy))
    return memo("limits", with_rate_limits, governed.tables, gateways, policies)


def _reporting(
    snapshot: Snapshot, workloads: tuple[Workload, ...], memo: Memo, report: Findings
) -> tuple[tuple[Workload, ...], Reporting]:
    """The workloads with what is reported of their calls, and what is of gateways'."""
    rules = memo("telemetry", read_telemetry, tuple(snapshot.list(telemetry.Telemetry)))
    report.extend(rules.findings)
    if rules.selected:
        workloads = memo.mapped("reporting", with_reporting, zip(workloads), rules)
    return workloads, rules.of_gateways()


def _named_gateways(snapshot: Snapshot) -> tuple[AnyGateway, ...]:
    return (*snapshot.list(istio.Gateway), *snapshot.list(gw.Gateway))


def _guarded(
    snapshot: Snapshot,
    tables: tuple[RouteTable, ...],
    gateways: tuple[GatewayListener, ...],
    destinations: tuple[Destination, ...],
    memo: Memo,
) -> Guarded:
    """The tables with what callers from outside must show."""
    policies = tuple(snapshot.list(AuthenticationPolicy))
    if not policies:
        return Guarded(tables)
    names = memo.keep("reachable names", tuple(d.name for d in destinations))
    secrets = tuple(snapshot.list(Secret))
    return memo("logins", with_logins, tables, gateways, policies, secrets, names)


def _patches(snapshot: Snapshot, memo: Memo, report: Findings) -> tuple[EnvoyPatch, ...]:
    filters = memo.mapped("filters", _without_status, zip(snapshot.list(istio.EnvoyFilter)))
    if not filters:
        return ()
    return read_envoy_filters(filters, snapshot.list(istio.Gateway), report)


def _scoping(
    snapshot: Snapshot,
    pods: tuple[PodFacts, ...],
    known: ScopingObjects,
    memo: Memo,
    report: Findings,
) -> tuple[Scoping, tuple[Scope, ...], tuple[EnvoyPatch, ...]]:
    """The scopes, those that pods are in, and the patches with the scopes that they made."""
    sidecars = memo.mapped("sidecars", _without_status, zip(snapshot.list(istio.Sidecar)))
    with_tls = any(i.tls is not None for s in sidecars for i in s.spec.ingress)
    objects = replace(
        known,
        sidecars=sidecars,
        namespaces=tuple(sorted({pod.namespace for pod in pods})) if sidecars else (),
        selectors=rule_selectors(snapshot.list(istio.DestinationRule)),
        secrets=tuple(snapshot.list(Secret)) if with_tls else (),
    )
    scoping, findings = memo("scoping", read_scoping, objects)
    report.extend(findings)
    scopes = scoping.scopes(pods)
    return scoping, scopes, with_scopes(known.patches, scopes)


def _patched(
    destinations: tuple[Destination, ...],
    routing: Routing,
    pods: tuple[PodFacts, ...],
    patches: tuple[EnvoyPatch, ...],
) -> tuple[Destination, ...]:
    """With the destinations that patches change for some callers only, and with how those are
    reached whose inbound listeners are changed."""
    if not patches:
        return destinations
    by_name = {d.name: d for d in destinations}
    copies = [
        replace(by_name[old], name=new)
        for scope in routing.scopes.values()
        for old, new in scope.copies
        if old in by_name
    ]
    return reached_through_listeners((*destinations, *copies), pods, patches)


def _by_name(facts: tuple[PodFacts, ...]) -> dict[PodKey, PodFacts]:
    return {(pod.namespace, pod.name): pod for pod in facts}


def _service_hosts(
    snapshot: Snapshot, pods: Mapping[PodKey, PodFacts], memo: Memo
) -> tuple[dict[str, Host], Served]:
    """Services as hosts, and which pod serves which ports."""
    services, slices = tuple(snapshot.list(Service)), tuple(snapshot.list(EndpointSlice))
    keys = memo.mapped("keys", _pod_keys, zip(slices))
    rows = memo("service rows", _service_rows, services, slices, keys, pods)
    made = memo.mapped("services", _service, rows)
    served = memo("served", _joined, tuple(ports for _, ports in made))
    return {host.host: host for host, _ in made}, served


def _service_rows(
    services: tuple[Service, ...],
    slices: tuple[EndpointSlice, ...],
    keys: tuple[tuple[PodKey, ...], ...],
    pods: Mapping[PodKey, PodFacts],
) -> tuple[ServiceRow, ...]:
    """Each service with its slices and the pods of their endpoints."""
    own = slices_by_service(slices, LABEL_SERVICE_NAME)
    keys_of = dict(zip(map(id, slices), keys, strict=True))
    rows = []
    for service in services:
        found = own.get((service.metadata.namespace, service.metadata.name), ())
        named = chain.from_iterable(keys_of[id(each)] for each in found)
        rows.append((service, found, tuple(map(pods.get, named))))
    return tuple(rows)


def _pod_keys(each: EndpointSlice) -> tuple[PodKey, ...]:
    """The pods of the endpoints; a key that no pod has for those without."""
    namespace = each.metadata.namespace
    return tuple((namespace, e.target_ref.name if e.target_ref else "") for e in each.endpoints)


def _service(
    service: Service, slices: tuple[EndpointSlice, ...], pods: tuple[PodFacts | None, ...]
) -> tuple[Host, Served]:
    host = build_host(service, slices, pods)
    return host, served_ports(host, slices)


def _joined(parts: tuple[Served, ...]) -> Served:
    joined: dict[PodKey, dict[int, AppProtocol]] = {}
    for part in parts:
        for pod, ports in part.items():
            known = joined.get(pod)
            joined[pod] = ports if known is None else _merged(known, ports)
    return joined


def _merged(first: dict[int, AppProtocol], later: dict[int, AppProtocol]) -> dict[int, AppProtocol]:
    """Ports of a pod behind two services: what the first one declares holds."""
    return later | {p: what for p, what in first.items() if what != "auto" or p not in later}


def _add_entries(
    hosts: dict[str, Host],
    snapshot: Snapshot,
    pods: Mapping[PodKey, PodFacts],
    wide: MeshConfig,
    report: Findings,
) -> None:
    labels = {n.metadata.name: n.metadata.labels for n in snapshot.list(Namespace)}
    entries = sorted(
        snapshot.list(istio.ServiceEntry),
        key=lambda e: (e.metadata.creation_timestamp, e.metadata.namespace, e.metadata.name),
    )
    machines = snapshot.list(istio.WorkloadEntry)
    for machine in machines:
        report_network(machine, "spec", machine.spec, report)
    for entry in entries:
        endpoints = Endpoints(pods, machines, wide.trust_domain)
        namespace = entry.metadata.namespace
        seen = wide.entries.of(labels.get(namespace, {})) if wide.entries else ""
        for host in entry_hosts(entry, endpoints, report) if seen != "NONE" else ():
            if seen == "NAMESPACE":
                host = replace(host, visible_in=(namespace,))  # noqa: PLW2901
            known = hosts.setdefault(host.host, host)
            if known is not host:
                report.add(
                    f.HOST_DEFINED_TWICE,
                    entry,
                    "spec.hosts",
                    host=host.host,
                    other=known.source,
                )


def _resolve_aliases(hosts: dict[str, Host]) -> None:
    """ExternalName services: the service they stand for, or a name that DNS resolves."""
    for name, host in list(hosts.items()):
        if not host.alias_of:
            continue
        target = hosts.get(host.alias_of)
        if target is not None and not target.alias_of:
            wanted = [p.number for p in host.ports] or [p.number for p in target.ports]
            ports = tuple(p for n in wanted if (p := target.port(n)) is not None)
            hosts[name] = replace(host, ports=ports, discovery=target.discovery)
            continue
        named = tuple(
            HostPort(p.number, p.name, p.protocol, (Endpoint(host.alias_of, p.number),))
            for p in host.ports
        )
        hosts[name] = replace(host, ports=named, discovery="dns", external=True)


def _routing_objects(
    snapshot: Snapshot, settings: BuildSettings, service_routes: ServiceRoutes
) -> RoutingObjects:
    gateways = snapshot.list(istio.Gateway)
    rules = snapshot.list(istio.DestinationRule)
    return RoutingObjects(
        virtual_services=snapshot.list(istio.VirtualService),
        destination_rules=rules,
        gateways=gateways,
        secrets=snapshot.list(Secret) if gateways or _named_secrets(rules) else (),
        missing_files=settings.missing_files,
        service_routes=service_routes,
        service_listeners=_any_host_isolation(snapshot),
    )


def _ingresses(snapshot: Snapshot, memo: Memo) -> IngressObjects:
    found = memo.mapped(Ingress, _without_status, zip(snapshot.list(Ingress)))
    if not found:
        return IngressObjects()
    classes, services = snapshot.list(IngressClass), snapshot.list(Service)
    ours = of_rollouts(snapshot.list(gw.HTTPRoute))
    divided = memo.mapped("routes of Rollouts", _without_status, zip(ours))
    return memo("ingresses", ingress_objects, found, tuple(classes), tuple(services), divided)


def _gateway_api_objects(
    snapshot: Snapshot, edges: IngressObjects, memo: Memo
) -> GatewayApiObjects:
    def specs(cls: type[T]) -> tuple[T, ...]:
        return memo.mapped(cls, _without_status, zip(snapshot.list(cls)))

    gateways = (*specs(gw.Gateway), *edges.gateways)
    return GatewayApiObjects(
        classes=(*specs(gw.GatewayClass), *edges.classes),
        bundle=_bundle(snapshot.list(CustomResourceDefinition)),
        gateways=gateways,
        http_routes=(*specs(gw.HTTPRoute), *edges.http_routes),
        grpc_routes=specs(gw.GRPCRoute),
        tls_routes=specs(gw.TLSRoute),
        tcp_routes=specs(gw.TCPRoute),
        udp_routes=specs(gw.UDPRoute),
        listener_sets=(*specs(gw.ListenerSet), *edges.listener_sets),
        tls_policies=specs(gw.BackendTLSPolicy),
        grants=specs(gw.ReferenceGrant),
        namespaces=specs(Namespace) if gateways else (),
        secrets=tuple(snapshot.list(Secret)) if gateways else (),
        config_maps=tuple(snapshot.list(ConfigMap)) if gateways else (),
    )


def _bundle(definitions: Iterable[CustomResourceDefinition]) -> str | None:
    """The version of the Gateway API's definitions, if they are installed."""
    found = (d.metadata for d in definitions if d.metadata.name == gw.CLASS_DEFINITION)
    return next((meta.annotations.get(gw.BUNDLE_VERSION, "") for meta in found), None)


def _without_status(obj: T) -> T:
    """Writing a status must not have all routes built anew."""
    known = meta(obj)
    kept = ObjectMeta(
        name=known.name,
        namespace=known.namespace,
        uid=known.uid,
        generation=known.generation,
        creation_timestamp=known.creation_timestamp,
        labels=known.labels,
        annotations=known.annotations,
    )
    bare = type(obj)()
    changes = {"status": bare.status} if hasattr(bare, "status") else {}
    return replace(obj, metadata=kept, **changes)


def _destinations(
    hosts: Mapping[str, Host], routing: Routing, wide: MeshConfig, memo: Memo
) -> tuple[Destination, ...]:
    rules = routing.rules.get
    rows = ((host, rules(name, NO_RULES)) for name, host in hosts.items())
    made: dict[str, Destination] = {}
    for found in memo.mapped("destinations", _of_host, rows, wide.traffic):
        for each in found:
            made.setdefault(each.name, each)
    for missing in routing.missing:
        made.setdefault(missing.name, missing)
    return tuple(made.values())


def _of_host(host: Host, rules: ClientRules, base: Policy) -> tuple[Destination, ...]:
    return tuple(
        each for client, rule in rules for each in host_destinations(host, rule, client, base)
    )


def _workloads(
    pods: tuple[PodFacts, ...], served: Served, callers: Callers, memo: Memo
) -> tuple[Workload, ...]:
    rows = memo("workload rows", _workload_rows, pods, served, callers)
    return memo.mapped("workloads", _workload, rows)


def _workload_rows(
    pods: tuple[PodFacts, ...], served: Served, callers: Callers
) -> tuple[WorkloadRow, ...]:
    """Each pod with a network of its own: what it serves, and how its calls are routed."""
    return tuple(
        (pod, served.get((pod.namespace, pod.name)), callers.calls(pod))
        for pod in pods
        if pod.connected
    )


def _workload(pod: PodFacts, ports: dict[int, AppProtocol] | None, calls: Calls) -> Workload:
    if pod.proxy_address:
        calls = Calls(outbound=calls.proxied, unknown=calls.unknown)
    return workload(pod, ports or {}, calls)


def _named_secrets(rules: Iterable[istio.DestinationRule]) -> bool:
    """Whether any rule takes certificates from a Secret."""
    all_policies = (
        p
        for r in rules
        for p in (r.spec.traffic_policy, *(s.traffic_policy for s in r.spec.subsets))
    )
    found = (p for p in all_policies if p is not None)
    settings = (tls for p in found for tls in (p.tls, *(s.tls for s in p.port_level_settings)))
    return any(tls is not None and tls.credential_name for tls in settings)


def _localities(snapshot: Snapshot) -> tuple[tuple[str, str], ...]:
    found = ((n.metadata.name, locality(n)) for n in snapshot.list(Node))
    return tuple(sorted((name, place) for name, place in found if place))


def _any_host_isolation(snapshot: Snapshot) -> bool:
    nodes: Iterable[Node] = snapshot.list(Node)
    return any(
        n.metadata.annotations.get(ANNOTATION_NODE_ISOLATION) == ISOLATION_HOST for n in nodes
    )

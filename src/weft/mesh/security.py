"""Security policies of all kinds, laid over a model that knows nothing of them yet."""

from msgspec import Struct
from msgspec.structs import replace

from weft.api.diagnostics import Diagnostic
from weft.api.gateway import v1 as gw
from weft.api.istio import networking_v1 as istio
from weft.api.istio import security
from weft.api.k8s.core_v1 import Namespace
from weft.api.k8s.networking_v1 import NetworkPolicy
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import Snapshot
from weft.mesh import findings as f
from weft.mesh.access import (
    BYTES,
    SecurityObjects,
    by_address,
    denials,
    destination_of,
    secured_destination,
    secured_gateway,
    secured_listener,
    secured_tables,
    secured_workload,
    security_rules,
    tokens_differ,
    with_owners,
)
from weft.mesh.authorization import ROOT_NAMESPACE
from weft.mesh.external_authorization import with_asked
from weft.mesh.issuer_keys import IssuerKeys
from weft.mesh.memo import Memo
from weft.mesh.mesh_config import CONFIG_MAP, MeshConfig
from weft.mesh.mirrors import protected, without_protected_mirrors
from weft.mesh.model import (
    GATEWAY_ACCOUNT,
    Authorizer,
    Destination,
    GatewayListener,
    RouteTable,
    ServiceListener,
    TcpRoute,
    Workload,
)
from weft.mesh.network_policies import NetworkRules, network_rules, policy_pod, with_walls
from weft.mesh.strict_callers import with_strict_callees


class Securable(Struct, frozen=True):
    """The parts of a model that policies are laid over."""

    destinations: tuple[Destination, ...]
    workloads: tuple[Workload, ...]
    tables: tuple[RouteTable, ...]
    gateways: tuple[GatewayListener, ...]
    listeners: tuple[ServiceListener, ...]
    findings: tuple[Diagnostic, ...] = ()
    authorizers: tuple[Authorizer, ...] = ()


def secure(
    snapshot: Snapshot, plain: Securable, wide: MeshConfig, issuers: IssuerKeys, memo: Memo
) -> Securable:
    """The same parts under the snapshot's policies. `plain.authorizers` have no destinations."""
    reachable = memo("authorizers", reached, plain.authorizers, plain.destinations)
    plain = replace(plain, authorizers=reachable.authorizers, findings=reachable.findings)
    objects = SecurityObjects(
        tuple(snapshot.list(security.AuthorizationPolicy)),
        tuple(snapshot.list(security.PeerAuthentication)),
        tuple(snapshot.list(security.RequestAuthentication)),
    )
    walls = _network_rules(snapshot, wide, memo)
    if not objects and not walls:
        return plain
    domains = (wide.trust_domain, *wide.trust_domain_aliases)
    names = memo.keep("destination names", tuple(d.name for d in plain.destinations))
    providers = tuple(each.name for each in plain.authorizers)
    rules = memo("security rules", security_rules, objects, names, providers, domains, issuers)
    rules = memo.keep("rules", replace(rules, network=walls))
    owned = memo("owners", with_owners, plain.destinations, plain.workloads)
    secured = memo.mapped("secured", secured_destination, owned, rules)
    secured = memo.mapped("asked", with_asked, zip(secured))
    # What carries bytes is let through or not by the caller's listener: once a connection is
    # open, a server that speaks first has been heard.
    # Routes for connections may lead to what is declared as HTTP, too.
    carried = memo("carried", connected_to, plain.workloads, plain.listeners, plain.gateways)
    guarded = memo.keep(
        "guarded",
        tuple(d for d in secured if d.access and (d.protocol in BYTES or d.name in carried)),
    )
    addressed = memo.keep("by address", by_address(guarded))
    looked_at = {d.name for d in addressed}
    others = memo.keep("by identity", tuple(d for d in guarded if d.name not in looked_at))
    principals = memo.keep("principals", frozenset(w.principal for w in plain.workloads))
    denied = memo("denials", denials, others, principals)
    rows = zip(plain.workloads)
    callers = memo.mapped("secured callers", secured_workload, rows, denied, addressed, rules)
    own = tuple(snapshot.list(gw.Gateway))
    edges = tuple(snapshot.list(istio.Gateway))
    shielded = memo.keep("protected", protected(secured))
    mirrored = memo("mirrored", without_protected_mirrors, plain.tables, shielded)
    tables = memo(
        "secured tables", secured_tables, mirrored.tables, plain.gateways, edges, own, rules
    )
    listeners = memo.mapped("secured listeners", secured_listener, zip(plain.listeners), guarded)
    gateway = f"spiffe://{wide.trust_domain}/{GATEWAY_ACCOUNT}"
    gateways = memo.mapped(
        "secured gateways", secured_gateway, zip(plain.gateways), guarded, gateway
    )
    differing = memo("tokens differ", tokens_differ, secured)
    findings = (*plain.findings, *rules.findings, *mirrored.findings, *differing)
    outward = with_strict_callees(listeners, tables, secured, rules.peers)
    callers = memo("walls", with_walls, callers, walls)
    return Securable(
        secured, callers, outward.tables, gateways, outward.listeners, findings, plain.authorizers
    )


def _network_rules(snapshot: Snapshot, wide: MeshConfig, memo: Memo) -> NetworkRules:
    policies = tuple(snapshot.list(NetworkPolicy))
    if not policies:
        return NetworkRules()
    seen = memo.mapped("policy pods", policy_pod, zip(snapshot.list(Pod)))
    pods = memo.keep("all policy pods", tuple(pod for pod in seen if pod is not None))
    gateway = f"{wide.trust_domain}/{GATEWAY_ACCOUNT}"
    namespaces = tuple(snapshot.list(Namespace))
    return memo("network rules", network_rules, policies, pods, namespaces, gateway)


class Reached(Struct, frozen=True):
    """Authorizers with their destinations, and which of them have none."""

    authorizers: tuple[Authorizer, ...] = ()
    findings: tuple[Diagnostic, ...] = ()


def reached(authorizers: tuple[Authorizer, ...], destinations: tuple[Destination, ...]) -> Reached:
    """Authorizers with the destinations through which they are asked."""
    known = {d.name: d for d in destinations} if authorizers else {}
    names, found, lost = frozenset(known), [], []
    for each in authorizers:
        name = destination_of(names, each.host, each.port)
        problem = ""
        if not name:
            problem = f"no Service or ServiceEntry has `{each.host}` with port {each.port}"
        elif each.grpc and known[name].protocol not in ("http2", "grpc"):
            problem = f"port {each.port} of `{each.host}` is not declared as gRPC"
        if problem:
            finding = f.PROVIDER_UNREACHABLE
            text = finding.message.format(provider=each.name, problem=problem)
            lost.append(
                Diagnostic(
                    finding.code, finding.severity, text, "ConfigMap", ROOT_NAMESPACE, CONFIG_MAP
                )
            )
        found.append(replace(each, destination="" if problem else name))
    return Reached(tuple(found), tuple(lost))


def connected_to(
    workloads: tuple[Workload, ...],
    listeners: tuple[ServiceListener, ...],
    gateways: tuple[GatewayListener, ...],
) -> frozenset[str]:
    """The names of all destinations that connections are passed on to as bytes."""
    routes: list[TcpRoute] = []
    for shared in {id(w.tcp): w.tcp for w in workloads}.values():
        routes.extend(shared)
    routes.extend(each.tcp for each in listeners if each.tcp is not None)
    routes.extend(s.tcp for g in gateways for s in g.servers if s.tcp is not None)
    return frozenset(part.destination for route in routes for part in route.destinations)

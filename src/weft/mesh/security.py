"""Security policies of all kinds, laid over a model that knows nothing of them yet."""

from msgspec import Struct

from weft.api.diagnostics import Diagnostic
from weft.api.gateway import v1 as gw
from weft.api.istio import networking_v1 as istio
from weft.api.istio import security
from weft.api.snapshot import Snapshot
from weft.mesh.access import (
    BYTES,
    SecurityObjects,
    by_address,
    denials,
    secured_destination,
    secured_gateway,
    secured_listener,
    secured_tables,
    secured_workload,
    security_rules,
    tokens_differ,
    with_owners,
)
from weft.mesh.memo import Memo
from weft.mesh.mirrors import protected, without_protected_mirrors
from weft.mesh.model import (
    GATEWAY_ACCOUNT,
    Destination,
    GatewayListener,
    RouteTable,
    ServiceListener,
    TcpRoute,
    Workload,
)
from weft.mesh.strict_callers import with_strict_callees


class Securable(Struct, frozen=True):
    """The parts of a model that policies are laid over."""

    destinations: tuple[Destination, ...]
    workloads: tuple[Workload, ...]
    tables: tuple[RouteTable, ...]
    gateways: tuple[GatewayListener, ...]
    listeners: tuple[ServiceListener, ...]
    findings: tuple[Diagnostic, ...] = ()


def secure(snapshot: Snapshot, plain: Securable, trust_domain: str, memo: Memo) -> Securable:
    """The same parts under the snapshot's policies."""
    objects = SecurityObjects(
        tuple(snapshot.list(security.AuthorizationPolicy)),
        tuple(snapshot.list(security.PeerAuthentication)),
        tuple(snapshot.list(security.RequestAuthentication)),
    )
    if not objects:
        return plain
    names = memo.keep("destination names", tuple(d.name for d in plain.destinations))
    rules = memo("security rules", security_rules, objects, names)
    owned = memo("owners", with_owners, plain.destinations, plain.workloads)
    secured = memo.mapped("secured", secured_destination, owned, rules)
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
    gateway = f"spiffe://{trust_domain}/{GATEWAY_ACCOUNT}"
    gateways = memo.mapped(
        "secured gateways", secured_gateway, zip(plain.gateways), guarded, gateway
    )
    differing = memo("tokens differ", tokens_differ, secured)
    findings = (*rules.findings, *mirrored.findings, *differing)
    outward = with_strict_callees(listeners, tables, secured, rules.peers)
    return Securable(secured, callers, outward.tables, gateways, outward.listeners, findings)


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

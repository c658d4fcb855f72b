"""Sidecars: which hosts the workloads of a namespace, or some of them, can reach.

A scope is what a Sidecar means for one namespace. Its workloads have route tables and connection
routes of their own, with nothing in them but what they can reach; all other workloads share the
tables of the mesh.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from weft.api.istio import networking_v1 as istio
from weft.mesh import findings as f
from weft.mesh.findings import Findings
from weft.mesh.hosts import Host
from weft.mesh.istio_policies import ROOT_NAMESPACE
from weft.mesh.mesh_config import MODES
from weft.mesh.model import PASS_UNKNOWN, UnknownHosts
from weft.mesh.names import covers

ANY = "*"
OWN = "."
NONE = "~"


class EgressHosts(Struct, frozen=True):
    """Hosts that are known on a port; on all that no other entry names when it is 0."""

    port: int
    patterns: tuple[tuple[str, str], ...]
    """(namespace or `*`, host pattern)."""


class Scope(Struct, frozen=True):
    """What a Sidecar means for the workloads of a namespace."""

    name: str
    """`<namespace of the callers>/<name of the Sidecar>`."""
    namespace: str
    """Of the callers."""
    listeners: tuple[EgressHosts, ...] = ()
    """Empty: all hosts are known."""
    unknown: UnknownHosts = PASS_UNKNOWN
    proxy: istio.Destination | None = None
    """A service that gets what is unknown."""
    sidecar: istio.Sidecar = istio.Sidecar()
    rules: tuple[str, ...] = ()
    """Names of the namespace's DestinationRules that select these workloads."""

    def sees(self, namespace: str, host: str, port: int | None = None) -> bool:
        """Whether a host of a namespace is known, on a port or on any."""
        if not self.listeners:
            return True
        own = [each for each in self.listeners if each.port == port] if port is not None else []
        wanted = own or (
            [each for each in self.listeners if each.port == 0]
            if port is not None
            else self.listeners
        )
        return any(
            where in (ANY, namespace) and (covers(pattern, host) or covers(host, pattern))
            for each in wanted
            for where, pattern in each.patterns
        )

    def narrowed(self, host: Host) -> Host | None:
        """The host with the ports on which it is known; None when there are none."""
        if not self.listeners:
            return host
        ports, udp = (
            tuple(p for p in found if self.sees(host.namespace, host.host, p.number))
            for found in (host.ports, host.udp_ports)
        )
        return replace(host, ports=ports, udp_ports=udp) if ports or udp else None


class ScopeRule(Struct, frozen=True):
    """A scope, and the labels that a workload must have to be in it."""

    labels: tuple[tuple[str, str], ...]
    scope: Scope


ScopeRules = Mapping[str, tuple[ScopeRule, ...]]
"""By namespace of the callers; the first that holds for a workload is its scope."""


def read_sidecars(
    sidecars: Iterable[istio.Sidecar],
    namespaces: Iterable[str],
    unknown: UnknownHosts,
    report: Findings,
) -> ScopeRules:
    """The scopes of each of these namespaces. Sidecars with a selector come first, then the
    namespace's own default, then that of the root namespace."""
    ordered = sorted(
        sidecars,
        key=lambda s: (s.metadata.creation_timestamp, s.metadata.namespace, s.metadata.name),
    )
    general: dict[str, istio.Sidecar] = {}
    special: dict[str, list[istio.Sidecar]] = {}
    for sidecar in ordered:
        namespace = sidecar.metadata.namespace
        _report(sidecar, report)
        if sidecar.spec.workload_selector is not None and namespace != ROOT_NAMESPACE:
            special.setdefault(namespace, []).append(sidecar)
            continue
        first = general.setdefault(namespace, sidecar)
        if first is not sidecar:
            other = f"Sidecar {namespace}/{first.metadata.name}"
            report.add(f.SIDECAR_TWICE, sidecar, "spec", other=other, namespace=namespace)
    rules: dict[str, tuple[ScopeRule, ...]] = {}
    for namespace in sorted(namespaces):
        chosen = [*special.get(namespace, ())]
        default = general.get(namespace) or general.get(ROOT_NAMESPACE)
        found = [
            ScopeRule(_labels(sidecar), _scope(sidecar, namespace, unknown))
            for sidecar in (*chosen, *((default,) if default else ()))
        ]
        if found:
            rules[namespace] = tuple(found)
    return rules


def scope_of(rules: ScopeRules, namespace: str, labels: Iterable[tuple[str, str]]) -> Scope | None:
    """The scope of a workload; None when it knows the whole mesh."""
    own = rules.get(namespace)
    if not own:
        return None
    known = set(labels)
    return next((rule.scope for rule in own if known.issuperset(rule.labels)), None)


def scopes(rules: ScopeRules) -> tuple[Scope, ...]:
    """All scopes, each once."""
    return tuple(rule.scope for own in rules.values() for rule in own)


def _labels(sidecar: istio.Sidecar) -> tuple[tuple[str, str], ...]:
    selector = sidecar.spec.workload_selector
    return tuple(sorted(selector.labels.items())) if selector else ()


def _scope(sidecar: istio.Sidecar, namespace: str, unknown: UnknownHosts) -> Scope:
    spec = sidecar.spec
    policy = spec.outbound_traffic_policy
    return Scope(
        name=f"{namespace}/{sidecar.metadata.name}",
        namespace=namespace,
        listeners=tuple(_hosts(each, namespace) for each in spec.egress),
        unknown=MODES.get(policy.mode or "REGISTRY_ONLY", unknown) if policy else unknown,
        proxy=policy.egress_proxy if policy else None,
        sidecar=sidecar,
    )


def _hosts(listener: istio.IstioEgressListener, namespace: str) -> EgressHosts:
    patterns = []
    for written in listener.hosts:
        where, _, host = written.lower().rpartition("/")
        if NONE in {where, host}:
            continue
        patterns.append((namespace if where in (OWN, "") else where, host.rstrip(".")))
    port = listener.port.number if listener.port and listener.port.number else 0
    return EgressHosts(port, tuple(patterns))


def _report(sidecar: istio.Sidecar, report: Findings) -> None:
    """What is accepted and has no effect."""
    spec = sidecar.spec
    unheard = [
        ("ingress", bool(spec.ingress), "calls go to the ports of the workload's services"),
        ("inboundConnectionPool", spec.inbound_connection_pool is not None,
         "set `connectionPool` in a DestinationRule for the workload's service"),
    ]  # fmt: skip
    for index, each in enumerate(spec.egress):
        path = f"egress[{index}].bind"
        unheard.append((path, bool(each.bind), "all calls are redirected, no listener is opened"))
    for name, given, consequence in unheard:
        if given:
            report.add(f.SIDECAR_PART, sidecar, f"spec.{name}", field=name, consequence=consequence)

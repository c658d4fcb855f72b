"""Sidecars: which hosts the workloads of a namespace, or some of them, can reach.

A scope is what a Sidecar means for one namespace. Its workloads have route tables and connection
routes of their own, with nothing in them but what they can reach; all other workloads share the
tables of the mesh.
"""

import ipaddress
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
from weft.mesh.protocols import HTTP, of_istio
from weft.mesh.server_certificates import Certificates
from weft.mesh.sidecar_ingress import Ingress, read_ingress

ANY = "*"
OWN = "."
NONE = "~"
LOOPBACK = "127.0.0.1"


class EgressHosts(Struct, frozen=True):
    """Hosts that are known on a port; on all that no other entry names when it is 0."""

    port: int
    patterns: tuple[tuple[str, str], ...]
    """(namespace or `*`, host pattern)."""
    excluded: tuple[tuple[str, str], ...] = ()
    """What is not known, although a pattern holds for it."""
    bind: str = ""
    """Where the proxy listens for calls to the port, besides taking redirected ones."""
    http: bool = False
    """What comes there are requests."""

    def holds(self, namespace: str, host: str) -> bool:
        """Whether a host of a namespace is known here."""
        return any(
            where in (ANY, namespace) and (covers(pattern, host) or covers(host, pattern))
            for where, pattern in self.patterns
        ) and not any(
            where in (ANY, namespace) and covers(pattern, host) for where, pattern in self.excluded
        )


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
    ingress: Ingress = Ingress()
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
        return any(each.holds(namespace, host) for each in wanted)

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
    certificates: Certificates,
) -> ScopeRules:
    """The scopes of each of these namespaces. Sidecars with a selector come first, then the
    namespace's own default, then that of the root namespace."""
    report = certificates.report
    ordered = sorted(
        sidecars,
        key=lambda s: (s.metadata.creation_timestamp, s.metadata.namespace, s.metadata.name),
    )
    ingress: dict[int, Ingress] = {}
    general: dict[str, istio.Sidecar] = {}
    special: dict[str, list[istio.Sidecar]] = {}
    for sidecar in ordered:
        namespace = sidecar.metadata.namespace
        _report(sidecar, report)
        ingress[id(sidecar)] = read_ingress(sidecar, certificates)
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
            ScopeRule(
                _labels(sidecar),
                replace(_scope(sidecar, namespace, unknown), ingress=ingress[id(sidecar)]),
            )
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
    patterns: list[tuple[str, str]] = []
    excluded: list[tuple[str, str]] = []
    for written in listener.hosts:
        where, _, host = written.lower().rpartition("/")
        host = host.rstrip(".")
        if host == NONE or (where, host) == (NONE, ANY):
            continue
        kind = excluded if where.startswith(NONE) else patterns
        where = where.removeprefix(NONE) or (ANY if where else OWN)
        kind.append((namespace if where == OWN else where, host))
    port = listener.port if listener.port and listener.port.number else None
    return EgressHosts(
        port=(port.number or 0) if port else 0,
        patterns=tuple(patterns),
        excluded=tuple(excluded),
        bind=_bind(listener) if port else "",
        http=port is not None and of_istio(port.protocol, port.number or 0) in HTTP,
    )


def _bind(listener: istio.IstioEgressListener) -> str:
    """The address to listen on; empty when all calls are redirected anyway, or it cannot be."""
    if not listener.bind:
        return LOOPBACK if listener.capture_mode == "NONE" else ""
    try:
        address = ipaddress.ip_address(listener.bind)
    except ValueError:
        return ""
    return str(address) if address.is_loopback else ""


def _report(sidecar: istio.Sidecar, report: Findings) -> None:
    """What is accepted and has no effect."""
    for index, each in enumerate(sidecar.spec.egress):
        path = f"egress[{index}]"
        if each.bind.startswith("unix:"):
            consequence = "sockets in the workloads' file systems are not listened on"
        elif each.bind and each.bind not in ("0.0.0.0", "::") and not _bind(each):  # noqa: S104
            consequence = "a workload's network has no such address: name one of 127.0.0.0/8"
        elif (each.bind or each.capture_mode == "NONE") and not each.port:
            consequence = "without `port` there is nothing to listen on"
        else:
            continue
        name = "bind" if each.bind else "captureMode"
        where = f"spec.{path}.{name}"
        report.add(f.SIDECAR_PART, sidecar, where, field=name, consequence=consequence)

"""Which routing holds for which workload: the mesh's, its namespace's, or its Sidecar's."""

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from weft.api.diagnostics import Diagnostic
from weft.api.istio import networking_v1 as istio
from weft.mesh.findings import Findings
from weft.mesh.memo import Memo
from weft.mesh.model import OutboundPort, UnknownHosts
from weft.mesh.routing import Routing
from weft.mesh.sidecars import ScopeRules, read_sidecars, scope_of
from weft.mesh.tables import PROXY_TABLE
from weft.mesh.workloads import Calls, PodFacts

PROXIED = (OutboundPort(0, PROXY_TABLE),)
"""Outbound ports of a pod that calls through its own HTTP proxy listener."""


class Callers(Struct, frozen=True):
    """The routing of all workloads."""

    general: Calls
    namespaces: Mapping[str, Calls]
    """Of namespaces that differ."""
    rules: ScopeRules
    scopes: Mapping[str, Calls]

    def calls(self, pod: PodFacts) -> Calls:
        """How the calls of a pod are routed."""
        scope = scope_of(self.rules, pod.namespace, pod.labels)
        if scope is not None:
            return self.scopes[scope.name]
        return self.namespaces.get(pod.namespace, self.general)


def callers(routing: Routing, rules: ScopeRules, unknown: UnknownHosts, memo: Memo) -> Callers:
    """Who is routed how. Parts that are equal to those of the last build are kept as they are:
    every workload refers to them."""
    general = Calls(
        outbound=memo.keep("outbound", routing.outbound),
        tcp=memo.keep("tcp", routing.tcp),
        udp=memo.keep("udp", routing.udp),
        unknown=unknown,
        proxied=PROXIED,
    )
    namespaces = {
        ns: replace(
            general,
            tcp=memo.keep(("tcp", ns), tcp),
            udp=memo.keep(("udp", ns), routing.udp_special[ns]),
        )
        for ns, tcp in routing.tcp_special.items()
    }
    scopes = {
        name: Calls(
            outbound=memo.keep(("scope outbound", name), each.outbound),
            tcp=memo.keep(("scope tcp", name), each.tcp),
            udp=memo.keep(("scope udp", name), each.udp),
            unknown=each.unknown,
            proxied=each.proxied,
        )
        for name, each in routing.scopes.items()
    }
    return Callers(general, namespaces, rules, scopes)


def read_scopes(
    sidecars: tuple[istio.Sidecar, ...],
    pods: tuple[PodFacts, ...],
    unknown: UnknownHosts,
    memo: Memo,
    report: Findings,
) -> ScopeRules:
    """The scopes that matter to the pods there are."""
    if not sidecars:
        return {}
    namespaces = tuple(sorted({pod.namespace for pod in pods}))
    rules, findings = memo("scopes", _read, sidecars, namespaces, unknown)
    report.extend(findings)
    return rules


def _read(
    sidecars: tuple[istio.Sidecar, ...], namespaces: tuple[str, ...], unknown: UnknownHosts
) -> tuple[ScopeRules, tuple[Diagnostic, ...]]:
    report = Findings()
    return read_sidecars(sidecars, namespaces, unknown, report), report.all()

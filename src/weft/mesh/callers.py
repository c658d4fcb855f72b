"""Which routing holds for which workload: the mesh's, its namespace's, or its Sidecar's."""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from weft.api.diagnostics import Diagnostic
from weft.api.istio import networking_v1 as istio
from weft.api.k8s.core_v1 import Secret
from weft.api.snapshot import ObjectSnapshot
from weft.mesh.envoy_filters import shaping
from weft.mesh.findings import Findings
from weft.mesh.istio_policies import Labels, selected_labels
from weft.mesh.memo import Memo
from weft.mesh.model import PASS_UNKNOWN, EnvoyPatch, OutboundPort, UnknownHosts
from weft.mesh.routing import Routing
from weft.mesh.server_certificates import Certificates
from weft.mesh.sidecars import Scope, ScopeRules, read_sidecars, scope_of
from weft.mesh.tables import PROXY_TABLE
from weft.mesh.workloads import Calls, PodFacts

PROXIED = (OutboundPort(0, PROXY_TABLE),)
"""Outbound ports of a pod that calls through its own HTTP proxy listener."""


class RuleSelector(Struct, frozen=True):
    """A DestinationRule that holds for some workloads of its namespace."""

    name: str
    labels: Labels


RuleSelectors = tuple[tuple[str, tuple[RuleSelector, ...]], ...]
"""By namespace."""


def rule_selectors(rules: Iterable[istio.DestinationRule]) -> RuleSelectors:
    """The DestinationRules with a workload selector."""
    found: dict[str, list[RuleSelector]] = {}
    for rule in rules:
        labels = selected_labels(rule)
        if labels is not None:
            own = RuleSelector(rule.metadata.name, labels)
            found.setdefault(rule.metadata.namespace, []).append(own)
    return tuple((ns, tuple(sorted(found[ns], key=lambda each: each.name))) for ns in sorted(found))


class Scoping(Struct, frozen=True):
    """Which scope a workload is in: its Sidecar's, narrowed by EnvoyFilters and DestinationRules
    that change for some workloads what they otherwise share."""

    rules: ScopeRules = {}
    shaping: tuple[EnvoyPatch, ...] = ()
    unknown: UnknownHosts = PASS_UNKNOWN
    selectors: Mapping[str, tuple[RuleSelector, ...]] = {}

    def scope(self, pod: PodFacts) -> Scope | None:
        """None for a workload that shares the tables of the mesh."""
        base = scope_of(self.rules, pod.namespace, pod.labels)
        if selectors := self.selectors.get(pod.namespace):
            labels = set(pod.labels)
            chosen = tuple(each.name for each in selectors if labels.issuperset(each.labels))
            if chosen:
                base = base or self._unscoped(pod)
                base = replace(base, name="~".join((base.name, *chosen)), rules=chosen)
        if not self.shaping:
            return base
        own = (p for p in self.shaping if p.selects(pod.namespace, pod.labels))
        filters = dict.fromkeys(p.source.partition(" ")[2] for p in own)
        if not filters:
            return base
        base = base or self._unscoped(pod)
        return replace(base, name="+".join((base.name, *filters)))

    def _unscoped(self, pod: PodFacts) -> Scope:
        return Scope(f"{pod.namespace}/*", pod.namespace, unknown=self.unknown)

    def scopes(self, pods: Iterable[PodFacts]) -> tuple[Scope, ...]:
        """The scopes of these pods, each once."""
        if not (self.rules or self.shaping or self.selectors):
            return ()
        found = {s.name: s for pod in pods if (s := self.scope(pod)) is not None}
        return tuple(found[name] for name in sorted(found))


class Callers(Struct, frozen=True):
    """The routing of all workloads."""

    general: Calls
    namespaces: Mapping[str, Calls]
    """Of namespaces that differ."""
    scoping: Scoping
    scopes: Mapping[str, Calls]

    def calls(self, pod: PodFacts) -> Calls:
        """How the calls of a pod are routed."""
        scope = self.scoping.scope(pod)
        if scope is not None:
            calls = self.scopes[scope.name]
            return replace(calls, ingress=scope.ingress) if scope.ingress else calls
        return self.namespaces.get(pod.namespace, self.general)


def callers(routing: Routing, scoping: Scoping, memo: Memo) -> Callers:
    """Who is routed how. Parts that are equal to those of the last build are kept as they are:
    every workload refers to them."""
    general = Calls(
        outbound=memo.keep("outbound", routing.outbound),
        tcp=memo.keep("tcp", routing.tcp),
        udp=memo.keep("udp", routing.udp),
        unknown=scoping.unknown,
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
            local=memo.keep(("scope local", name), each.local),
            unknown=each.unknown,
            proxied=each.proxied,
        )
        for name, each in routing.scopes.items()
    }
    return Callers(general, namespaces, scoping, scopes)


class ScopingObjects(Struct, frozen=True):
    """All that scopes are made of."""

    sidecars: tuple[istio.Sidecar, ...] = ()
    namespaces: tuple[str, ...] = ()
    """That pods are in."""
    unknown: UnknownHosts = PASS_UNKNOWN
    patches: tuple[EnvoyPatch, ...] = ()
    selectors: RuleSelectors = ()
    secrets: tuple[Secret, ...] = ()
    missing_files: frozenset[str] = frozenset()
    """Of those that Sidecars name."""


def read_scoping(objects: ScopingObjects) -> tuple[Scoping, tuple[Diagnostic, ...]]:
    """The scopes that matter to pods of these namespaces, and what is wrong with Sidecars."""
    report = Findings()
    certificates = Certificates(ObjectSnapshot(objects.secrets), objects.missing_files, report)
    sidecars, unknown = objects.sidecars, objects.unknown
    rules: ScopeRules = {}
    if sidecars:
        rules = read_sidecars(sidecars, objects.namespaces, unknown, certificates)
    found = Scoping(rules, shaping(objects.patches), unknown, dict(objects.selectors))
    return found, report.all()


def with_scopes(patches: tuple[EnvoyPatch, ...], scopes: Iterable[Scope]) -> tuple[EnvoyPatch, ...]:
    """The patches, with the scopes that their EnvoyFilters made."""
    filters = [(scope.name, scope.name.split("+")[1:]) for scope in scopes]
    if not filters:
        return patches
    return tuple(
        replace(
            patch,
            scopes=tuple(name for name, own in filters if patch.source.partition(" ")[2] in own),
        )
        if not patch.everywhere
        else patch
        for patch in patches
    )

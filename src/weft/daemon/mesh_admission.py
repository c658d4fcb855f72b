"""What the mesh thinks of a write, said to whoever writes: warnings of kubectl and `weft apply`."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from weft.api.argo.rollout import Rollout
from weft.api.diagnostics import Diagnostic
from weft.api.gateway import v1 as gw
from weft.api.istio import networking_v1 as istio
from weft.api.istio import security, telemetry
from weft.api.k8s.apps_v1 import Deployment
from weft.api.k8s.batch_v1 import Job
from weft.api.k8s.core_v1 import Namespace, Node, Secret, Service
from weft.api.k8s.networking_v1 import Ingress, IngressClass, NetworkPolicy
from weft.api.k8s.pod_v1 import Pod
from weft.api.objects import decode
from weft.api.snapshot import ObjectSnapshot, Snapshot
from weft.api.validation import rule_errors
from weft.api.weft.policy_v1alpha1 import AuthenticationPolicy, BackendPolicy, RateLimitPolicy
from weft.apiserver.access import Review, Verdict
from weft.mesh.analysis import analyze
from weft.mesh.analysis.at_admission import said, sentences
from weft.mesh.analysis.neighbours import Neighbours
from weft.mesh.build import BuildSettings
from weft.mesh.envoy_filters import read_envoy_filters
from weft.mesh.findings import Findings
from weft.mesh.patch_findings import patch_findings
from weft.runtime.informer import Informers
from weft.xds.patch_values import problem

REVIEWED: tuple[type[Struct], ...] = (
    istio.VirtualService,
    istio.DestinationRule,
    istio.Gateway,
    istio.ServiceEntry,
    istio.WorkloadEntry,
    gw.Gateway,
    gw.HTTPRoute,
    gw.GRPCRoute,
    gw.TLSRoute,
    gw.TCPRoute,
    gw.UDPRoute,
    gw.ListenerSet,
    istio.Sidecar,
    istio.EnvoyFilter,
    RateLimitPolicy,
    AuthenticationPolicy,
    BackendPolicy,
    security.AuthorizationPolicy,
    security.PeerAuthentication,
    security.RequestAuthentication,
    telemetry.Telemetry,
    Service,
    Ingress,
    Deployment,
    Rollout,
    Job,
    NetworkPolicy,
)
FILED: frozenset[type[Struct]] = frozenset(
    {*REVIEWED, IngressClass, gw.GatewayClass, gw.ReferenceGrant, Namespace, Secret, Pod}
)
NO_VERDICT = Verdict()


class MeshAdmission:
    """Refuses objects that mean nothing whatever else there is, and warns about what an object
    names and the mesh does not have. Looks at the objects around the one that is written only."""

    def __init__(self, informers: Informers, settings: BuildSettings) -> None:
        self._neighbours = Neighbours()
        self._settings = settings
        self._cache = informers.cache
        for cls in FILED:
            informers.add(cls)
        informers.subscribe(self._on_change)

    def _on_change(self, cls: type[Struct], before: Struct | None, after: Struct | None) -> None:
        if cls in FILED:
            self._neighbours.put(before, after)

    async def review(self, asked: Review) -> Verdict:
        kind, new = asked.kind, asked.new
        if new is None or kind.struct not in REVIEWED or _unchanged(new, asked.old):
            return NO_VERDICT
        try:
            obj = decode(kind.struct, new)
        except msgspec.ValidationError:
            return NO_VERDICT  # validation has the better words for it
        around: Snapshot = self._neighbours.around(obj)
        if isinstance(obj, NetworkPolicy):
            around = ObjectSnapshot((obj, *self._cache.list(Node)))
        findings = analyze(around, self._settings)
        if isinstance(obj, istio.EnvoyFilter):
            patches = read_envoy_filters((obj,), (), Findings())
            findings = (*findings, *patch_findings(patches, problem))
        found = said(findings, obj, asked.old is None)
        if found.refused and rule_errors(kind, new):
            return NO_VERDICT  # as above
        return Verdict(warnings=sentences(found.warned), errors=tuple(map(_cause, found.refused)))


def _unchanged(new: Mapping[str, Any], old: Mapping[str, Any] | None) -> bool:
    """Whether a write is about other things: status, finalizers, owners, replicas."""
    if old is None:
        return False
    before, after = old.get("metadata") or {}, new.get("metadata") or {}
    return new.get("spec") == old.get("spec") and all(
        before.get(key) == after.get(key) for key in ("labels", "annotations")
    )


def _cause(found: Diagnostic) -> Mapping[str, Any]:
    """As validation says it: a cause of the refusal."""
    hint = f" ({found.hint})" if found.hint else ""
    text = f"{found.message}{hint} [{found.code}]"
    return {"reason": "FieldValueInvalid", "message": text, "field": found.path}

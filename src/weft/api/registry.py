"""Which kinds weft serves, and how to find one by what people and clients call it."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from msgspec import Struct, structs

from weft.api.argo import v1alpha1 as argo
from weft.api.flagger import v1beta1 as flagger
from weft.api.gateway import v1 as gateway_v1
from weft.api.istio import networking_v1, security, telemetry
from weft.api.kinds import ISTIO_VERSIONS, KUBERNETES_KINDS, Kind
from weft.api.kueue import v1beta2 as kueue
from weft.api.weft import monitoring_v1alpha1, policy_v1alpha1, queue_v1alpha1

_ISTIO_CATEGORIES = ("istio-io", "networking-istio-io")


def _networking(struct: type[Struct], plural: str, short: str) -> Kind:
    return Kind(
        "networking.istio.io", "v1", struct.__name__, plural,
        short_names=(short,) if short else (), categories=_ISTIO_CATEGORIES,
        subresources=("status",), served_versions=ISTIO_VERSIONS, struct=struct,
    )  # fmt: skip


ISTIO_KINDS = (
    _networking(networking_v1.VirtualService, "virtualservices", "vs"),
    _networking(networking_v1.DestinationRule, "destinationrules", "dr"),
    _networking(networking_v1.Gateway, "gateways", "gw"),
    _networking(networking_v1.ServiceEntry, "serviceentries", "se"),
    _networking(networking_v1.WorkloadEntry, "workloadentries", "we"),
    _networking(networking_v1.WorkloadGroup, "workloadgroups", "wg"),
    _networking(networking_v1.Sidecar, "sidecars", ""),
    _networking(networking_v1.EnvoyFilter, "envoyfilters", "ef"),
)


def _security(struct: type[Struct], plural: str, short: str) -> Kind:
    return Kind(
        "security.istio.io", "v1", struct.__name__, plural, short_names=(short,),
        categories=("istio-io", "security-istio-io"), subresources=("status",),
        served_versions=("v1", "v1beta1"), struct=struct,
    )  # fmt: skip


SECURITY_KINDS = (
    _security(security.AuthorizationPolicy, "authorizationpolicies", "ap"),
    _security(security.PeerAuthentication, "peerauthentications", "pa"),
    _security(security.RequestAuthentication, "requestauthentications", "ra"),
)


TELEMETRY_KINDS = (
    Kind(
        "telemetry.istio.io", "v1", "Telemetry", "telemetries", short_names=("telemetry",),
        categories=("istio-io", "telemetry-istio-io"), subresources=("status",),
        served_versions=("v1", "v1alpha1"), struct=telemetry.Telemetry,
    ),
)  # fmt: skip


def _gateway(
    struct: type[Struct], plural: str, short: str = "", *, others: tuple[str, ...] = ("v1beta1",)
) -> Kind:
    """`others` are versions before v1, which clients may still use: the same messages."""
    name = struct.__name__
    return Kind(
        gateway_v1.GROUP, "v1", name, plural, short_names=(short,) if short else (),
        categories=("gateway-api",), served_versions=("v1", *others), struct=struct,
        namespaced=name != "GatewayClass",
        subresources=() if name == "ReferenceGrant" else ("status",),
    )  # fmt: skip


GATEWAY_KINDS = (
    _gateway(gateway_v1.GatewayClass, "gatewayclasses", "gc"),
    _gateway(gateway_v1.Gateway, "gateways", "gtw"),
    _gateway(gateway_v1.HTTPRoute, "httproutes"),
    _gateway(gateway_v1.GRPCRoute, "grpcroutes", others=("v1alpha2",)),
    _gateway(gateway_v1.TLSRoute, "tlsroutes", others=("v1alpha3", "v1alpha2")),
    _gateway(gateway_v1.TCPRoute, "tcproutes", others=("v1alpha2",)),
    _gateway(gateway_v1.UDPRoute, "udproutes", others=("v1alpha2",)),
    _gateway(gateway_v1.ListenerSet, "listenersets", "lset", others=()),
    _gateway(gateway_v1.BackendTLSPolicy, "backendtlspolicies", "btlspolicy", others=("v1alpha3",)),
    _gateway(gateway_v1.ReferenceGrant, "referencegrants", "refgrant"),
)
WEFT_KINDS = (
    Kind("policy.weft.dev", "v1alpha1", "RateLimitPolicy", "ratelimitpolicies",
         short_names=("rlp",), subresources=("status",),
         struct=policy_v1alpha1.RateLimitPolicy),
    Kind("policy.weft.dev", "v1alpha1", "BackendPolicy", "backendpolicies",
         short_names=("bp",), subresources=("status",), struct=policy_v1alpha1.BackendPolicy),
    Kind("policy.weft.dev", "v1alpha1", "AuthenticationPolicy", "authenticationpolicies",
         short_names=("authnp",), subresources=("status",),
         struct=policy_v1alpha1.AuthenticationPolicy),
    Kind("queue.weft.dev", "v1alpha1", "Queue", "queues", namespaced=False,
         subresources=("status",), struct=queue_v1alpha1.Queue),
    Kind("monitoring.weft.dev", "v1alpha1", "AlertRule", "alertrules",
         subresources=("status",), struct=monitoring_v1alpha1.AlertRule),
    Kind("monitoring.weft.dev", "v1alpha1", "ServiceLevelObjective", "servicelevelobjectives",
         short_names=("slo",), subresources=("status",),
         struct=monitoring_v1alpha1.ServiceLevelObjective),
    Kind("monitoring.weft.dev", "v1alpha1", "AlertReceiver", "alertreceivers",
         subresources=("status",), struct=monitoring_v1alpha1.AlertReceiver),
)  # fmt: skip


def _argo(struct: type[Struct], plural: str, short: str, *subresources: str) -> Kind:
    name = struct.__name__
    return Kind(
        argo.GROUP, "v1alpha1", name, plural, short_names=(short,), subresources=subresources,
        namespaced=not name.startswith("Cluster"), struct=struct,
    )  # fmt: skip


ARGO_KINDS = (
    _argo(argo.Rollout, "rollouts", "ro", "status", "scale"),
    _argo(argo.AnalysisTemplate, "analysistemplates", "at"),
    _argo(argo.ClusterAnalysisTemplate, "clusteranalysistemplates", "cat"),
    _argo(argo.AnalysisRun, "analysisruns", "ar", "status"),
    _argo(argo.Experiment, "experiments", "exp", "status"),
)


def _kueue(
    struct: type[Struct], plural: str, *short: str, older: bool = False, status: bool = True
) -> tuple[Kind, ...]:
    """`older`: v1beta1 has other words for it (`weft.api.kueue.v1beta1`)."""
    name = struct.__name__
    made = Kind(
        kueue.GROUP, "v1beta2", name, plural, short_names=short, struct=struct,
        namespaced=name in ("LocalQueue", "Workload"),
        subresources=("status",) if status else (),
        served_versions=() if older else ("v1beta2", "v1beta1"),
    )  # fmt: skip
    if not older:
        return (made,)
    view = structs.replace(made, version="v1beta1", struct=None, view_of=(kueue.GROUP, "v1beta2"))
    return made, view


KUEUE_KINDS = (
    *_kueue(kueue.ClusterQueue, "clusterqueues", "cq", older=True),
    *_kueue(kueue.LocalQueue, "localqueues", "lq", older=True),
    *_kueue(kueue.Workload, "workloads", "wl", older=True),
    *_kueue(kueue.Cohort, "cohorts"),
    *_kueue(kueue.ResourceFlavor, "resourceflavors", "flavor", "flavors", "rf", status=False),
    *_kueue(kueue.WorkloadPriorityClass, "workloadpriorityclasses", status=False),
)
"""Without LocalQueue's short names `queue` and `queues`, which are names of weft's own kind."""
FLAGGER_KINDS = tuple(
    Kind(flagger.GROUP, "v1beta1", struct.__name__, plural, categories=("all",),
         subresources=("status",) if struct is flagger.Canary else (), struct=struct)
    for struct, plural in (
        (flagger.Canary, "canaries"), (flagger.MetricTemplate, "metrictemplates"),
        (flagger.AlertProvider, "alertproviders"),
    )
)  # fmt: skip
KINDS: tuple[Kind, ...] = (
    KUBERNETES_KINDS
    + ISTIO_KINDS
    + SECURITY_KINDS
    + TELEMETRY_KINDS
    + WEFT_KINDS
    + GATEWAY_KINDS
    + ARGO_KINDS
    + KUEUE_KINDS
    + FLAGGER_KINDS
)
"""Where two groups have a kind of one name (Gateway), the bare name means the first."""


@cache
def _by_struct() -> Mapping[type[Struct], Kind]:
    return {kind.struct: kind for kind in KINDS if kind.struct is not None}


@cache
def _by_kind() -> Mapping[tuple[str, str, str], Kind]:
    return {(k.group, version, k.kind): k for k in KINDS for version in k.versions}


@cache
def _by_resource() -> Mapping[tuple[str, str, str], Kind]:
    return {(k.group, version, k.plural): k for k in KINDS for version in k.versions}


@cache
def _by_name() -> Mapping[str, Kind]:
    names: dict[str, Kind] = {}
    for kind in KINDS:
        for name in (kind.plural, kind.singular, *kind.short_names):
            names.setdefault(name, kind)
            if kind.group:
                names.setdefault(f"{name}.{kind.group}", kind)
                for version in kind.versions:
                    names.setdefault(f"{name}.{version}.{kind.group}", kind)
    return names


def stored(kind: Kind) -> Kind:
    """The kind whose objects are stored: itself, but for views."""
    if kind.view_of is None:
        return kind
    return _by_kind()[(*kind.view_of, kind.kind)]


def kind_for(cls: type[Struct]) -> Kind:
    """The kind whose objects this struct holds. Raises KeyError when there is none."""
    return _by_struct()[cls]


def group_told(cls: type[Struct]) -> str:
    """The API group of a kind whose bare name means a kind of another group; "" for all others.

    It stands beside the kind wherever the two could be mixed up (Gateway)."""
    kind = _by_struct().get(cls)
    if kind is None or _by_name()[kind.singular] is kind:
        return ""
    return kind.group


def find(group: str, version: str, kind: str) -> Kind | None:
    """By group, any served version, and kind name (`apps`, `v1`, `Deployment`)."""
    return _by_kind().get((group, version, kind))


def find_api_version(api_version: str, kind: str) -> Kind | None:
    """As written in manifests: (`apps/v1`, `Deployment`)."""
    group, _, version = api_version.rpartition("/")
    return find(group, version, kind)


def kind_of(obj: Mapping[str, Any]) -> Kind | None:
    """The kind that an object's JSON declares."""
    return find_api_version(str(obj.get("apiVersion") or ""), str(obj.get("kind") or ""))


def by_resource(group: str, version: str, plural: str) -> Kind | None:
    """As in URL paths: (`apps`, `v1`, `deployments`)."""
    return _by_resource().get((group, version, plural))


def by_name(name: str) -> Kind | None:
    """As typed on a command line: plural, singular, kind or short name, optionally with the
    group (`deploy`, `deployments`, `Deployment`, `deployments.apps`, `deployment.v1.apps`)."""
    return _by_name().get(name.lower())

"""Generate `src/weft/api/data/*.json.gz`: the schemas of every kind that weft serves.

Run with `make generate`. Kubernetes' come from the definitions in the `kubernetes-validate`
package (a development dependency, Apache-2.0) plus what those lack: enums and defaults, written
here. Those of Istio, the Gateway API, Argo Rollouts, Kueue, Flagger and weft itself are derived
from the structs in `weft.api.istio`, `.gateway`, `.argo`, `.kueue`, `.flagger` and `.weft`, whose
docstrings are the field descriptions. The files are committed; users need no generator.
"""

import ast
import gzip
import inspect
import json
import textwrap
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec import inspect as msginspect

import generate_api
from weft.api import metrics_v1beta1
from weft.api.argo import analysis, common, experiment, rollout, strategy
from weft.api.argo import v1alpha1 as argo
from weft.api.flagger import canary as flagger_canary
from weft.api.flagger import v1beta1 as flagger
from weft.api.gateway import v1 as gateway_v1
from weft.api.istio import networking_v1, security, telemetry
from weft.api.kueue import v1beta1 as kueue_v1beta1
from weft.api.kueue import v1beta2 as kueue
from weft.api.kueue.common import FlavorQuotas, ResourceGroup, ResourceQuota
from weft.api.weft import monitoring_v1alpha1, policy_v1alpha1, queue_v1alpha1

OUT = Path(__file__).parent.parent / "src/weft/api/data"
META = "io.k8s.apimachinery.pkg.apis.meta.v1"
CRD = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1"
AGGREGATOR = "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1"
ISTIO = "io.istio.networking.v1"
SECURITY = "io.istio.security.v1"
GATEWAY = "io.k8s.networking.gateway.v1"
WEFT = "dev.weft.policy.v1alpha1"
MONITORING = "dev.weft.monitoring.v1alpha1"
QUEUE = "dev.weft.queue.v1alpha1"
TELEMETRY = "io.istio.telemetry.v1"
ARGO = "io.argoproj.v1alpha1"
KUEUE = "io.x-k8s.kueue"
FLAGGER = "app.flagger.v1beta1"
METRICS = "io.k8s.metrics.pkg.apis.metrics.v1beta1"
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
EXTRA = (
    f"{META}.DeleteOptions",
    f"{META}.Status",
    f"{META}.WatchEvent",
    f"{META}.LabelSelector",
    "io.k8s.api.autoscaling.v1.Scale",
    "io.k8s.api.core.v1.Binding",
    f"{CRD}.CustomResourceDefinition",
    f"{CRD}.CustomResourceDefinitionList",
    f"{AGGREGATOR}.APIService",
    f"{AGGREGATOR}.APIServiceList",
)
# Kinds that are served, but that no code of ours reads as typed values.
SERVED = (
    "authorization.v1.SelfSubjectAccessReview", "authorization.v1.SelfSubjectRulesReview",
    "authorization.v1.SubjectAccessReview", "authorization.v1.LocalSubjectAccessReview",
    "authentication.v1.SelfSubjectReview", "authentication.v1.TokenReview",
    "authentication.v1.TokenRequest",
    "autoscaling.v1.HorizontalPodAutoscaler", "events.v1.Event", "policy.v1.Eviction",
)  # fmt: skip
FIXED: dict[str, dict[str, Any]] = {
    f"{CRD}.JSONSchemaProps": {  # mentions itself: checked by weft.api.crd.structural instead
        "description": "A structural OpenAPI v3 schema.",
        "type": "object",
    },
    QUANTITY: {
        "description": "A number with an optional suffix, such as 250m, 1.5 or 128Mi.",
        "oneOf": [{"type": "string"}, {"type": "number"}],
        "format": "quantity",
    },
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        "description": "A whole number, or a string such as a port name or a percentage.",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
        "format": "int-or-string",
    },
}
_PROTOCOLS = ["SCTP", "TCP", "UDP"]
_EFFECTS = ["NoExecute", "NoSchedule", "PreferNoSchedule"]
_PULL = ["Always", "IfNotPresent", "Never"]
_MESSAGES = ["FallbackToLogsOnError", "File"]
_RECLAIM = ["Delete", "Recycle", "Retain"]
_UPDATES = ["OnDelete", "RollingUpdate"]
_VOLUME_MODES = ["Block", "Filesystem"]
_TRAFFIC = ["Cluster", "Local"]
_NODE_OPERATORS = ["DoesNotExist", "Exists", "Gt", "In", "Lt", "NotIn"]
# Values that Kubernetes accepts, by definition and field; the definitions file lost them.
ENUMS: dict[str, dict[str, list[str]]] = {
    "io.k8s.api.core.v1.PodSpec": {
        "restartPolicy": ["Always", "Never", "OnFailure"],
        "dnsPolicy": ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
        "preemptionPolicy": ["Never", "PreemptLowerPriority"],
    },
    "io.k8s.api.core.v1.Container": {
        "imagePullPolicy": _PULL, "terminationMessagePolicy": _MESSAGES,
    },
    "io.k8s.api.core.v1.EphemeralContainer": {
        "imagePullPolicy": _PULL, "terminationMessagePolicy": _MESSAGES,
    },
    "io.k8s.api.core.v1.ContainerPort": {"protocol": _PROTOCOLS},
    "io.k8s.api.core.v1.HTTPGetAction": {"scheme": ["HTTP", "HTTPS"]},
    "io.k8s.api.core.v1.ServicePort": {"protocol": _PROTOCOLS},
    "io.k8s.api.core.v1.ServiceSpec": {
        "type": ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        "sessionAffinity": ["ClientIP", "None"],
        "externalTrafficPolicy": _TRAFFIC,
        "internalTrafficPolicy": _TRAFFIC,
        "ipFamilyPolicy": ["PreferDualStack", "RequireDualStack", "SingleStack"],
    },
    "io.k8s.api.core.v1.Toleration": {"operator": ["Equal", "Exists"], "effect": _EFFECTS},
    "io.k8s.api.core.v1.Taint": {"effect": _EFFECTS},
    "io.k8s.api.core.v1.NodeSelectorRequirement": {"operator": _NODE_OPERATORS},
    "io.k8s.api.core.v1.TopologySpreadConstraint": {
        "whenUnsatisfiable": ["DoNotSchedule", "ScheduleAnyway"],
    },
    "io.k8s.api.core.v1.VolumeMount": {
        "mountPropagation": ["Bidirectional", "HostToContainer", "None"],
    },
    "io.k8s.api.core.v1.PodOS": {"name": ["linux", "windows"]},
    "io.k8s.api.core.v1.PodStatus": {
        "phase": ["Failed", "Pending", "Running", "Succeeded", "Unknown"],
    },
    "io.k8s.api.apps.v1.DeploymentStrategy": {"type": ["Recreate", "RollingUpdate"]},
    "io.k8s.api.batch.v1.JobSpec": {
        "completionMode": ["Indexed", "NonIndexed"],
        "podReplacementPolicy": ["Failed", "TerminatingOrFailed"],
    },
    "io.k8s.api.scheduling.v1.PriorityClass": {
        "preemptionPolicy": ["Never", "PreemptLowerPriority"],
    },
    "io.k8s.api.certificates.v1.CertificateSigningRequestCondition": {
        "status": ["False", "True", "Unknown"],
    },
    "io.k8s.api.discovery.v1.EndpointSlice": {"addressType": ["FQDN", "IPv4", "IPv6"]},
    "io.k8s.api.discovery.v1.EndpointPort": {"protocol": _PROTOCOLS},
    "io.k8s.api.core.v1.EndpointPort": {"protocol": _PROTOCOLS},
    "io.k8s.api.apps.v1.StatefulSetSpec": {"podManagementPolicy": ["OrderedReady", "Parallel"]},
    "io.k8s.api.apps.v1.StatefulSetUpdateStrategy": {"type": _UPDATES},
    "io.k8s.api.apps.v1.DaemonSetUpdateStrategy": {"type": _UPDATES},
    "io.k8s.api.apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy": {
        "whenDeleted": ["Delete", "Retain"], "whenScaled": ["Delete", "Retain"],
    },
    "io.k8s.api.batch.v1.CronJobSpec": {"concurrencyPolicy": ["Allow", "Forbid", "Replace"]},
    "io.k8s.api.autoscaling.v2.HPAScalingRules": {"selectPolicy": ["Disabled", "Max", "Min"]},
    "io.k8s.api.autoscaling.v2.HPAScalingPolicy": {"type": ["Percent", "Pods"]},
    "io.k8s.api.autoscaling.v2.MetricSpec": {
        "type": ["ContainerResource", "External", "Object", "Pods", "Resource"],
    },
    "io.k8s.api.autoscaling.v2.MetricTarget": {"type": ["AverageValue", "Utilization", "Value"]},
    "io.k8s.api.policy.v1.PodDisruptionBudgetSpec": {
        "unhealthyPodEvictionPolicy": ["AlwaysAllow", "IfHealthyBudget"],
    },
    "io.k8s.api.core.v1.PersistentVolumeSpec": {
        "persistentVolumeReclaimPolicy": _RECLAIM, "volumeMode": _VOLUME_MODES,
    },
    "io.k8s.api.core.v1.PersistentVolumeClaimSpec": {"volumeMode": _VOLUME_MODES},
    "io.k8s.api.storage.v1.StorageClass": {
        "reclaimPolicy": ["Delete", "Retain"],
        "volumeBindingMode": ["Immediate", "WaitForFirstConsumer"],
    },
    "io.k8s.api.networking.v1.HTTPIngressPath": {
        "pathType": ["Exact", "ImplementationSpecific", "Prefix"],
    },
    "io.k8s.api.networking.v1.NetworkPolicyPort": {"protocol": _PROTOCOLS},
}  # fmt: skip
# Defaults of fields that are keys of list-maps: server-side apply needs them in the schema.
DEFAULTS: dict[str, dict[str, Any]] = {
    "io.k8s.api.core.v1.ContainerPort": {"protocol": "TCP"},
    "io.k8s.api.core.v1.ServicePort": {"protocol": "TCP"},
}
# Required in the definitions, but an absent value is accepted as Go's zero value.
ABSENT_IS_ZERO: dict[str, set[str]] = {
    "io.k8s.api.core.v1.HTTPHeader": {"value"},
    "io.k8s.api.discovery.v1.EndpointSlice": {"endpoints"},
    "io.k8s.api.core.v1.Event": {"metadata"},
}
STRUCT_REQUIRED: dict[type[Struct], list[str]] = {
    ResourceGroup: ["coveredResources", "flavors"],
    FlavorQuotas: ["name", "resources"],
    ResourceQuota: ["name", "nominalQuota"],
    kueue.WorkloadPriorityClass: ["value"],
    flagger_canary.CanarySpec: ["targetRef", "analysis"],
    flagger_canary.ObjectRef: ["apiVersion", "kind", "name"],
    flagger_canary.AutoscalerRef: ["apiVersion", "kind", "name"],
    flagger_canary.NamespacedRef: ["name"],
    flagger_canary.CanaryService: ["port"],
    flagger_canary.CanaryMetric: ["name"],
    flagger_canary.CanaryAlert: ["name", "providerRef"],
    flagger_canary.CanaryWebhook: ["name", "url"],
    networking_v1.Destination: ["host"],
    networking_v1.HTTPRouteDestination: ["destination"],
    networking_v1.RouteDestination: ["destination"],
    networking_v1.HTTPMirrorPolicy: ["destination"],
    networking_v1.HTTPDirectResponse: ["status"],
    networking_v1.TLSRoute: ["match"],
    networking_v1.TLSMatchAttributes: ["sniHosts"],
    networking_v1.DestinationRuleSpec: ["host"],
    networking_v1.Subset: ["name"],
    networking_v1.HTTPCookie: ["name"],
    networking_v1.HTTPCookieAttribute: ["name"],
    networking_v1.TunnelSettings: ["targetHost", "targetPort"],
    networking_v1.Server: ["port", "hosts"],
    networking_v1.ServicePort: ["number", "name"],
    networking_v1.ServiceEntrySpec: ["hosts"],
    networking_v1.WarmupConfiguration: ["duration"],
    security.TargetReference: ["kind", "name"],
    security.Condition: ["key"],
    security.JWTRule: ["issuer"],
    security.JWTHeader: ["name"],
    security.ClaimToHeader: ["header", "claim"],
    gateway_v1.ParentReference: ["name"],
    gateway_v1.BackendObjectReference: ["name"],
    gateway_v1.BackendRef: ["name"],
    gateway_v1.HTTPExternalAuthFilter: ["protocol", "backendRef"],
    gateway_v1.HTTPBackendRef: ["name"],
    gateway_v1.GRPCBackendRef: ["name"],
    gateway_v1.SecretObjectReference: ["name"],
    gateway_v1.LocalObjectReference: ["group", "kind", "name"],
    gateway_v1.ParametersReference: ["group", "kind", "name"],
    gateway_v1.HTTPHeader: ["name", "value"],
    gateway_v1.Fraction: ["numerator"],
    gateway_v1.HTTPRequestMirrorFilter: ["backendRef"],
    gateway_v1.HTTPHeaderMatch: ["name", "value"],
    gateway_v1.GRPCHeaderMatch: ["name", "value"],
    gateway_v1.HTTPQueryParamMatch: ["name", "value"],
    gateway_v1.HTTPPathModifier: ["type"],
    gateway_v1.HTTPRouteFilter: ["type"],
    gateway_v1.GRPCRouteFilter: ["type"],
    gateway_v1.GatewayClassSpec: ["controllerName"],
    gateway_v1.GatewaySpec: ["gatewayClassName", "listeners"],
    gateway_v1.Listener: ["name", "port", "protocol"],
    gateway_v1.RouteGroupKind: ["kind"],
    gateway_v1.ReferenceGrantFrom: ["group", "kind", "namespace"],
    gateway_v1.ReferenceGrantTo: ["group", "kind"],
    gateway_v1.ReferenceGrantSpec: ["from", "to"],
    gateway_v1.TLSRouteSpec: ["hostnames", "rules"],
    gateway_v1.TCPRouteSpec: ["rules"],
    gateway_v1.TLSRouteRule: ["backendRefs"],
    gateway_v1.TCPRouteRule: ["backendRefs"],
    gateway_v1.UDPRouteSpec: ["rules"],
    gateway_v1.UDPRouteRule: ["backendRefs"],
    gateway_v1.ObjectReference: ["group", "kind", "name"],
    gateway_v1.FrontendTLSValidation: ["caCertificateRefs"],
    gateway_v1.TLSPortConfig: ["port", "tls"],
    gateway_v1.FrontendTLSConfig: ["default"],
    gateway_v1.ParentGatewayReference: ["name"],
    gateway_v1.ListenerSetSpec: ["parentRef", "listeners"],
    gateway_v1.LocalPolicyTargetReferenceWithSectionName: ["group", "kind", "name"],
    gateway_v1.SubjectAltName: ["type"],
    gateway_v1.BackendTLSPolicyValidation: ["hostname"],
    gateway_v1.BackendTLSPolicySpec: ["targetRefs", "validation"],
    policy_v1alpha1.PolicyTarget: ["kind", "name"],
    policy_v1alpha1.RateLimitKey: ["type"],
    policy_v1alpha1.RateLimitAmount: ["requests", "per"],
    policy_v1alpha1.RateLimitRule: ["limit"],
    policy_v1alpha1.RateLimitPolicySpec: ["targetRef"],
    policy_v1alpha1.BackendPolicySpec: ["targetRef"],
    policy_v1alpha1.AuthenticationPolicySpec: ["targetRef"],
    monitoring_v1alpha1.AlertRuleSpec: ["signal"],
    monitoring_v1alpha1.ServiceLevelObjectiveSpec: ["service", "objective"],
    telemetry.ProviderRef: ["name"],
    telemetry.LiteralTag: ["value"],
    telemetry.EnvironmentTag: ["name"],
    telemetry.HeaderTag: ["name"],
    telemetry.FormatterTag: ["value"],
    policy_v1alpha1.SecretName: ["name"],
    policy_v1alpha1.ApiKeyAuthentication: ["secrets"],
    policy_v1alpha1.BasicAuthentication: ["secret"],
    policy_v1alpha1.OidcAuthentication: [
        "authorizationEndpoint",
        "tokenEndpoint",
        "clientID",
        "clientSecret",
    ],
    common.DryRun: ["metricName"],
    common.MeasurementRetention: ["metricName", "limit"],
    common.RunArgument: ["name"],
    common.FieldRef: ["fieldPath"],
    analysis.Argument: ["name"],
    analysis.SecretKeyRef: ["name", "key"],
    analysis.Metric: ["name", "provider"],
    analysis.JobMetric: ["spec"],
    analysis.WebMetric: ["url"],
    analysis.AnalysisRunSpec: ["metrics"],
    experiment.TemplateSpec: ["name", "selector", "template"],
    experiment.ExperimentSpec: ["templates"],
    experiment.ExperimentAnalysisTemplateRef: ["name", "templateName"],
    rollout.ObjectRef: ["kind", "name"],
    strategy.BlueGreenStrategy: ["activeService"],
    strategy.SetMirrorRoute: ["name"],
    strategy.HeaderRoutingMatch: ["headerName", "headerValue"],
    strategy.ExperimentStep: ["templates"],
    strategy.ExperimentStepTemplate: ["name", "specRef"],
    strategy.ExperimentStepAnalysis: ["name", "templateName"],
    strategy.IstioDestinationRule: ["name", "canarySubsetName", "stableSubsetName"],
    strategy.IstioVirtualService: ["name"],
    strategy.ManagedRoute: ["name"],
}
K8S_PREFIX = {"meta_v1": META, "batch_v1": "io.k8s.api.batch.v1"}
"""Of the definitions that messages of Kubernetes have, by module; else those of core/v1."""


def plain(schema: Any) -> Any:
    """The definition as OpenAPI means it: no `null` types, names as references."""
    if isinstance(schema, list):
        return [plain(value) for value in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: plain(value) for key, value in schema.items()}
    kinds = made.get("type")
    if isinstance(kinds, list):
        made["type"] = next(kind for kind in kinds if kind != "null")
    if isinstance(made.get("$ref"), str):
        made["$ref"] = made["$ref"].rsplit("/", 1)[-1]
    return made


def with_additions(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties", {})
    for constant in ("apiVersion", "kind"):
        properties.get(constant, {}).pop("enum", None)
    if "metadata" in properties:  # some kinds say nothing about theirs
        properties["metadata"].setdefault("description", "Standard object's metadata.")
    for field, values in ENUMS.get(name, {}).items():
        properties[field]["enum"] = values
    for field, value in DEFAULTS.get(name, {}).items():
        properties[field]["default"] = value
    absent = ABSENT_IS_ZERO.get(name, set())
    if absent:
        schema["required"] = [field for field in schema["required"] if field not in absent]
    return schema


def kubernetes() -> dict[str, Any]:
    definitions = generate_api.definitions()
    roots = [f"io.k8s.api.{root}" for root in (*generate_api.ROOTS, *SERVED)]
    lists = [f"{root}List" for root in roots if f"{root}List" in definitions]
    generate_api.SCALARS.clear()  # the data holds scalars like any other definition
    for name, fixed in FIXED.items():
        definitions[name] = dict(fixed)
    names = sorted(generate_api.closure([*roots, *lists, *EXTRA], definitions))
    return {
        name: FIXED.get(name) or with_additions(name, plain(definitions[name])) for name in names
    }


def field_docs(cls: type[Struct]) -> dict[str, str]:
    """Attribute name to the docstring under it."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    found: dict[str, str] = {}
    body = tree.body[0].body  # type: ignore[attr-defined]
    for statement, after in pairwise(body):
        text = after.value.value if isinstance(after, ast.Expr) else None  # type: ignore[attr-defined]
        if isinstance(statement, ast.AnnAssign) and isinstance(text, str):
            found[statement.target.id] = " ".join(text.split())  # type: ignore[union-attr]
    return found


class StructSchemas:
    """Walks the structs from the kinds down."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.found: dict[str, Any] = {}

    def message(self, cls: type[Struct]) -> str:
        if cls.__module__.startswith("weft.api.k8s"):
            module = cls.__module__.rpartition(".")[2]
            return f"{K8S_PREFIX.get(module, 'io.k8s.api.core.v1')}.{cls.__name__}"
        name = f"{self.prefix}.{cls.__name__}"
        if name not in self.found:
            schema: dict[str, Any] = {"description": inspect.getdoc(cls), "type": "object"}
            self.found[name] = schema
            schema["properties"] = self.properties(cls)
            if cls in STRUCT_REQUIRED:
                schema["required"] = STRUCT_REQUIRED[cls]
        return name

    def properties(self, cls: type[Struct]) -> dict[str, Any]:
        docs = field_docs(cls)
        info = msginspect.type_info(cls)
        assert isinstance(info, msginspect.StructType)
        return {
            field.encode_name: {"description": docs[field.name]} | self.value(field.type)
            for field in info.fields
        }

    def value(self, found: msginspect.Type) -> dict[str, Any]:
        if isinstance(found, msginspect.Metadata):
            return self.value(found.type) | dict(found.extra_json_schema or {})
        if isinstance(found, msginspect.UnionType):
            only, *more = (t for t in found.types if not isinstance(t, msginspect.NoneType))
            if any(isinstance(t, msginspect.FloatType) for t in more):
                return {"$ref": QUANTITY}
            return {"type": "string", "format": "int-or-string"} if more else self.value(only)
        if isinstance(found, msginspect.StructType):
            return {"$ref": self.message(found.cls)}
        if isinstance(found, msginspect.LiteralType):
            return {"type": "string", "enum": sorted(v for v in found.values if v)}
        if isinstance(found, msginspect.VarTupleType):
            return {"type": "array", "items": self.value(found.item_type)}
        if isinstance(found, msginspect.DictType):
            return {"type": "object", "additionalProperties": self.value(found.value_type)}
        if isinstance(found, msginspect.AnyType):
            return {"type": "object"}
        return dict(SCALARS[type(found)])


SCALARS: Mapping[type[msginspect.Type], Mapping[str, Any]] = {
    msginspect.StrType: {"type": "string"},
    msginspect.BoolType: {"type": "boolean"},
    msginspect.IntType: {"type": "integer", "format": "int64"},
    msginspect.FloatType: {"type": "number"},
}
GATEWAY_ROOTS = (
    gateway_v1.GatewayClass, gateway_v1.Gateway, gateway_v1.HTTPRoute, gateway_v1.GRPCRoute,
    gateway_v1.TLSRoute, gateway_v1.TCPRoute, gateway_v1.UDPRoute, gateway_v1.ReferenceGrant,
    gateway_v1.ListenerSet, gateway_v1.BackendTLSPolicy,
)  # fmt: skip
ISTIO_ROOTS = (
    networking_v1.VirtualService, networking_v1.DestinationRule, networking_v1.Gateway,
    networking_v1.ServiceEntry, networking_v1.WorkloadEntry, networking_v1.WorkloadGroup,
    networking_v1.Sidecar, networking_v1.EnvoyFilter,
)  # fmt: skip
SECURITY_ROOTS = (
    security.AuthorizationPolicy, security.PeerAuthentication, security.RequestAuthentication,
)  # fmt: skip
ARGO_ROOTS = (
    argo.Rollout, argo.AnalysisTemplate, argo.ClusterAnalysisTemplate, argo.AnalysisRun,
    argo.Experiment,
)  # fmt: skip
KUEUE_ROOTS = (
    kueue.ClusterQueue, kueue.LocalQueue, kueue.Workload, kueue.Cohort, kueue.ResourceFlavor,
    kueue.WorkloadPriorityClass,
)  # fmt: skip
FLAGGER_ROOTS = (flagger.Canary, flagger.MetricTemplate, flagger.AlertProvider)
WEFT_ROOTS = (
    policy_v1alpha1.RateLimitPolicy,
    policy_v1alpha1.BackendPolicy,
    policy_v1alpha1.AuthenticationPolicy,
)

MONITORING_ROOTS = (
    monitoring_v1alpha1.AlertRule,
    monitoring_v1alpha1.ServiceLevelObjective,
    monitoring_v1alpha1.AlertReceiver,
)


def of_structs(
    roots: Iterable[type[Struct]], prefix: str, group: str, version: str
) -> dict[str, Any]:
    schemas = StructSchemas(prefix)
    for root in roots:
        name = schemas.message(root)
        kind = root.__name__
        schemas.found[name]["x-kubernetes-group-version-kind"] = [
            {"group": group, "kind": kind, "version": version}
        ]
        schemas.found[f"{name}List"] = {
            "description": f"A list of objects of kind {kind}.",
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"description": "The version of the API.", "type": "string"},
                "kind": {"description": f"{kind}List.", "type": "string"},
                "metadata": {"description": "About the list.", "$ref": f"{META}.ListMeta"},
                "items": {
                    "description": "The objects.", "type": "array", "items": {"$ref": name},
                },
            },
        }  # fmt: skip
    return dict(sorted(schemas.found.items()))


def of_older_kueue(newer: Mapping[str, Any]) -> dict[str, Any]:
    """v1beta1, from v1beta2: other names for some fields."""
    text = json.dumps(newer).replace(f"{KUEUE}.v1beta2.", f"{KUEUE}.v1beta1.")
    found: dict[str, Any] = json.loads(text.replace('"version": "v1beta2"', '"version": "v1beta1"'))
    for name in (*kueue_v1beta1.RENAMED, *kueue_v1beta1.ADDED):
        properties = found[f"{KUEUE}.v1beta1.{name}"]["properties"]
        for new, old in kueue_v1beta1.RENAMED.get(name, {}).items():
            if new in properties:
                properties[old] = properties.pop(new)
        for gone in kueue_v1beta1.REMOVED.get(name, ()):
            properties.pop(gone, None)
        properties |= kueue_v1beta1.ADDED.get(name, {})
    return found


def write(name: str, definitions: dict[str, Any], source: str) -> None:
    text = json.dumps({"source": source, "definitions": definitions}, sort_keys=True)
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.json.gz"
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{path.name}: {len(definitions)} definitions, {path.stat().st_size // 1000} kB")


def main() -> None:
    version = generate_api.KUBERNETES_VERSION
    minor = version.rsplit(".", 1)[0]
    write(f"kubernetes-{minor}", kubernetes(), f"Kubernetes {version} OpenAPI (Apache-2.0)")
    istio = of_structs(ISTIO_ROOTS, ISTIO, "networking.istio.io", "v1")
    write("istio-networking-v1", istio, "weft.api.istio")
    secure = of_structs(SECURITY_ROOTS, SECURITY, "security.istio.io", "v1")
    write("istio-security-v1", secure, "weft.api.istio.security")
    gateway = of_structs(GATEWAY_ROOTS, GATEWAY, gateway_v1.GROUP, "v1")
    write("gateway-api-v1", gateway, "weft.api.gateway")
    roots = (metrics_v1beta1.PodMetrics, metrics_v1beta1.NodeMetrics)
    write("metrics-v1beta1", of_structs(roots, METRICS, "metrics.k8s.io", "v1beta1"), "weft.api")
    own = of_structs(WEFT_ROOTS, WEFT, "policy.weft.dev", "v1alpha1")
    write("weft-policy-v1alpha1", own, "weft.api.weft")
    watched = of_structs(MONITORING_ROOTS, MONITORING, "monitoring.weft.dev", "v1alpha1")
    write("weft-monitoring-v1alpha1", watched, "weft.api.weft")
    queued = of_structs((queue_v1alpha1.Queue,), QUEUE, "queue.weft.dev", "v1alpha1")
    write("weft-queue-v1alpha1", queued, "weft.api.weft")
    signals = of_structs((telemetry.Telemetry,), TELEMETRY, "telemetry.istio.io", "v1")
    write("istio-telemetry-v1", signals, "weft.api.istio.telemetry")
    write("argo-v1alpha1", of_structs(ARGO_ROOTS, ARGO, argo.GROUP, "v1alpha1"), "weft.api.argo")
    batch = of_structs(FLAGGER_ROOTS, FLAGGER, flagger.GROUP, "v1beta1")
    write("flagger-v1beta1", batch, "weft.api.flagger")
    batch = of_structs(KUEUE_ROOTS, f"{KUEUE}.v1beta2", kueue.GROUP, "v1beta2")
    write("kueue-v1beta2", batch, "weft.api.kueue")
    write("kueue-v1beta1", of_older_kueue(batch), "weft.api.kueue")


if __name__ == "__main__":
    main()

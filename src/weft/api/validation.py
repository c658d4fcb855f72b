"""Validate the JSON of objects: shape, then the rules of the kind. Never raises on user input.

Order of a write: decode, `structure_errors` (strict decoding), default, prepare, then
`validate_create` or `validate_update`. Offline, `check_manifest` does all of it on a copy.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from weft.api import structure
from weft.api.conversions import conversion
from weft.api.crd import names as crd_names
from weft.api.defaults import default
from weft.api.field_errors import FieldError
from weft.api.kinds import Kind
from weft.api.objects import without_nulls
from weft.api.validate import (
    admission,
    analyses,
    autoscaling,
    certificates,
    config,
    cron_jobs,
    flagger,
    gateway_api,
    ingresses,
    istio_edge,
    istio_policies,
    istio_scopes,
    istio_security,
    istio_virtual_service,
    kueue,
    metadata,
    monitoring,
    pods,
    policies,
    priorities,
    queues,
    quotas,
    rbac,
    rollouts,
    services,
    stateful_sets,
    storage,
    weft_policies,
    workloads,
)
from weft.api.validate import gateway_api_gateways as gateways
from weft.api.validate import gateway_api_policies as gateway_policies

Json = Mapping[str, Any]

_ADMISSION = "admissionregistration.k8s.io"
_KUEUE = "kueue.x-k8s.io"
_RULES: dict[tuple[str, str], Callable[[Json], list[FieldError]]] = {
    ("", "Pod"): pods.validate,
    ("", "Service"): services.validate_service,
    ("", "ConfigMap"): config.validate_config_map,
    ("", "Secret"): config.validate_secret,
    ("", "Event"): config.validate_event,
    ("", "Node"): config.validate_node,
    ("discovery.k8s.io", "EndpointSlice"): services.validate_endpoint_slice,
    ("coordination.k8s.io", "Lease"): config.validate_lease,
    ("scheduling.k8s.io", "PriorityClass"): priorities.validate,
    ("certificates.k8s.io", "CertificateSigningRequest"): certificates.validate,
    ("apps", "Deployment"): workloads.validate_deployment,
    ("apps", "ReplicaSet"): workloads.validate_replica_set,
    ("batch", "Job"): workloads.validate_job,
    ("", "ResourceQuota"): quotas.validate,
    ("", "ReplicationController"): workloads.validate_replication_controller,
    ("", "PodTemplate"): workloads.validate_pod_template,
    ("apps", "StatefulSet"): stateful_sets.validate_stateful_set,
    ("apps", "DaemonSet"): stateful_sets.validate_daemon_set,
    ("apps", "ControllerRevision"): stateful_sets.validate_controller_revision,
    ("batch", "CronJob"): cron_jobs.validate,
    ("autoscaling", "HorizontalPodAutoscaler"): autoscaling.validate_autoscaler,
    ("policy", "PodDisruptionBudget"): autoscaling.validate_disruption_budget,
    ("", "PersistentVolume"): storage.validate_volume,
    ("", "PersistentVolumeClaim"): storage.validate_claim,
    ("storage.k8s.io", "StorageClass"): storage.validate_class,
    ("networking.k8s.io", "Ingress"): ingresses.validate_ingress,
    ("networking.k8s.io", "IngressClass"): ingresses.validate_ingress_class,
    ("networking.k8s.io", "NetworkPolicy"): ingresses.validate_network_policy,
    ("node.k8s.io", "RuntimeClass"): ingresses.validate_runtime_class,
    ("", "Endpoints"): ingresses.validate_endpoints,
    (_ADMISSION, "ValidatingAdmissionPolicy"): admission.validate_policy,
    (_ADMISSION, "ValidatingAdmissionPolicyBinding"): admission.validate_binding,
    (_ADMISSION, "MutatingAdmissionPolicy"): admission.validate_mutating_policy,
    (_ADMISSION, "MutatingAdmissionPolicyBinding"): admission.validate_mutating_binding,
    (_ADMISSION, "ValidatingWebhookConfiguration"): admission.validate_webhooks,
    (_ADMISSION, "MutatingWebhookConfiguration"): admission.validate_webhooks,
    ("", "LimitRange"): policies.validate_limit_range,
    (rbac.GROUP, "Role"): rbac.validate_role,
    (rbac.GROUP, "ClusterRole"): rbac.validate_cluster_role,
    (rbac.GROUP, "RoleBinding"): rbac.validate_role_binding,
    (rbac.GROUP, "ClusterRoleBinding"): rbac.validate_cluster_role_binding,
    ("gateway.networking.k8s.io", "GatewayClass"): gateways.validate_gateway_class,
    ("gateway.networking.k8s.io", "Gateway"): gateways.validate_gateway,
    ("gateway.networking.k8s.io", "ListenerSet"): gateways.validate_listener_set,
    ("gateway.networking.k8s.io", "HTTPRoute"): gateway_api.validate_route,
    ("gateway.networking.k8s.io", "GRPCRoute"): gateway_api.validate_route,
    ("gateway.networking.k8s.io", "TLSRoute"): gateway_api.validate_route,
    ("gateway.networking.k8s.io", "TCPRoute"): gateway_api.validate_route,
    ("gateway.networking.k8s.io", "UDPRoute"): gateway_api.validate_route,
    ("gateway.networking.k8s.io", "BackendTLSPolicy"): gateway_policies.validate_backend_tls_policy,
    ("gateway.networking.k8s.io", "ReferenceGrant"): gateway_policies.validate_reference_grant,
    ("networking.istio.io", "VirtualService"): istio_virtual_service.validate,
    ("networking.istio.io", "DestinationRule"): istio_policies.validate,
    ("networking.istio.io", "Gateway"): istio_edge.validate_gateway,
    ("networking.istio.io", "ServiceEntry"): istio_edge.validate_service_entry,
    ("networking.istio.io", "WorkloadEntry"): istio_edge.validate_workload_entry,
    ("security.istio.io", "AuthorizationPolicy"): istio_security.validate_authorization,
    ("security.istio.io", "PeerAuthentication"): istio_security.validate_peer_authentication,
    ("security.istio.io", "RequestAuthentication"): istio_security.validate_jwt,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): crd_names.errors_of,
    ("networking.istio.io", "WorkloadGroup"): istio_scopes.validate_workload_group,
    ("networking.istio.io", "Sidecar"): istio_scopes.validate_sidecar,
    ("networking.istio.io", "EnvoyFilter"): istio_scopes.validate_envoy_filter,
    ("policy.weft.dev", "RateLimitPolicy"): weft_policies.validate_rate_limit,
    ("policy.weft.dev", "AuthenticationPolicy"): weft_policies.validate_authentication,
    ("policy.weft.dev", "BackendPolicy"): weft_policies.validate_backend,
    ("queue.weft.dev", "Queue"): queues.validate,
    (monitoring.GROUP, "AlertRule"): monitoring.validate_rule,
    (monitoring.GROUP, "ServiceLevelObjective"): monitoring.validate_objective,
    (monitoring.GROUP, "AlertReceiver"): monitoring.validate_receiver,
    ("argoproj.io", "Rollout"): rollouts.validate,
    ("argoproj.io", "AnalysisTemplate"): analyses.validate_template,
    ("argoproj.io", "ClusterAnalysisTemplate"): analyses.validate_template,
    ("argoproj.io", "AnalysisRun"): analyses.validate_run,
    ("argoproj.io", "Experiment"): analyses.validate_experiment,
    ("flagger.app", "Canary"): flagger.validate_canary,
    ("flagger.app", "MetricTemplate"): flagger.validate_template,
    ("flagger.app", "AlertProvider"): flagger.validate_provider,
    (_KUEUE, "ClusterQueue"): kueue.validate_cluster_queue,
    (_KUEUE, "Cohort"): kueue.validate_cohort,
    (_KUEUE, "LocalQueue"): kueue.validate_local_queue,
    (_KUEUE, "ResourceFlavor"): kueue.validate_flavor,
    (_KUEUE, "Workload"): kueue.validate_workload,
}
_UPDATE_RULES: dict[tuple[str, str], Callable[[Json, Json], list[FieldError]]] = {
    ("scheduling.k8s.io", "PriorityClass"): priorities.validate_update,
    (_KUEUE, "LocalQueue"): kueue.validate_local_queue_update,
    ("", "ResourceQuota"): quotas.validate_update,
    ("", "Pod"): pods.validate_update,
    ("", "Service"): services.validate_service_update,
    ("", "ConfigMap"): config.validate_config_map_update,
    ("", "Secret"): config.validate_secret_update,
    ("", "Node"): config.validate_node_update,
    ("discovery.k8s.io", "EndpointSlice"): services.validate_endpoint_slice_update,
    ("apps", "Deployment"): workloads.validate_workload_update,
    ("apps", "ReplicaSet"): workloads.validate_workload_update,
    ("batch", "Job"): workloads.validate_job_update,
    ("apps", "StatefulSet"): stateful_sets.validate_stateful_set_update,
    ("apps", "DaemonSet"): workloads.validate_workload_update,
    ("apps", "ControllerRevision"): stateful_sets.validate_controller_revision_update,
    ("", "PersistentVolume"): storage.validate_volume_update,
    ("", "PersistentVolumeClaim"): storage.validate_claim_update,
    ("storage.k8s.io", "StorageClass"): storage.validate_class_update,
    ("networking.k8s.io", "IngressClass"): ingresses.validate_ingress_class_update,
    ("node.k8s.io", "RuntimeClass"): ingresses.validate_runtime_class_update,
    (rbac.GROUP, "RoleBinding"): rbac.validate_binding_update,
    (rbac.GROUP, "ClusterRoleBinding"): rbac.validate_binding_update,
    ("gateway.networking.k8s.io", "GatewayClass"): gateways.validate_gateway_class_update,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): crd_names.changes,
}


def structure_errors(kind: Kind, obj: Json) -> list[FieldError]:
    """Unknown fields, wrong types, missing fields, unsupported values; each with a hint."""
    errors = structure.structural_errors(kind, obj)
    return [_with_hint(kind, obj, error) for error in errors]


def rule_errors(kind: Kind, obj: Json) -> list[FieldError]:
    """What breaks the rules of a kind, for a defaulted object of a valid shape."""
    errors = metadata.validate(kind, obj)
    rules = _RULES.get((kind.group, kind.kind))
    return errors + rules(obj) if rules else errors


def validate_create(kind: Kind, obj: Json) -> list[FieldError]:
    """All errors of a new object, defaulted and prepared."""
    errors = structure_errors(kind, obj)
    if _malformed(errors):
        return errors
    return merged(errors, rule_errors(kind, _known(obj, errors)))


def validate_update(kind: Kind, new: Json, old: Json) -> list[FieldError]:
    """All errors of a replacement, defaulted and prepared, including changes that may not be.

    A selector or name that broke a rule before the update is not held against it twice: what may
    not change is reported first.
    """
    errors = structure_errors(kind, new)
    if _malformed(errors):
        return errors
    known = _known(new, errors)
    rules = _UPDATE_RULES.get((kind.group, kind.kind))
    changes = metadata.validate_update(known, old) + (rules(known, old) if rules else [])
    return merged(errors, changes, rule_errors(kind, known))


def check_manifest(kind: Kind, obj: Json) -> list[FieldError]:
    """All errors of an object as a user wrote it, before any server saw it."""
    errors = structure_errors(kind, obj)
    if _malformed(errors):
        return errors
    known = without_nulls(drop_unknown(obj, errors))
    if view := conversion(kind):  # rules are in the words of the version that is stored
        known = view.to_stored(known)
    return merged(errors, rule_errors(kind, default(kind, known)))


def drop_unknown(obj: Json, errors: Iterable[FieldError]) -> dict[str, Any]:
    """A copy of the object without its unknown fields, as fieldValidation=Ignore and Warn keep."""
    pruned: dict[str, Any] = copy.deepcopy(dict(obj))
    for error in errors:
        if error.kind == "Unknown":
            parent: Any = pruned
            for step in error.at[:-1]:
                parent = parent[step]
            parent.pop(error.at[-1], None)
    return pruned


def _known(obj: Json, errors: list[FieldError]) -> Json:
    return drop_unknown(obj, errors) if errors else obj


def merged(*groups: Iterable[FieldError]) -> list[FieldError]:
    """All errors once: a place that is already reported with the same kind is left out."""
    seen: dict[tuple[str, str], FieldError] = {}
    for group in groups:
        for error in group:
            seen.setdefault((error.path, error.kind), error)
    return list(seen.values())


def _malformed(errors: Iterable[FieldError]) -> bool:
    """Rules read fields by their types, so a wrong type ends the check."""
    return any(error.kind == "TypeInvalid" for error in errors)


# For missing fields whose right content is not obvious, by kind and field.
_REQUIRED_HINTS = {
    ("Gateway", "hosts"): 'list the host names served here, or "*" for all',
    ("Deployment", "selector"): "copy the labels of the pod template into `selector.matchLabels`",
    ("ReplicaSet", "selector"): "copy the labels of the pod template into `selector.matchLabels`",
    ("DestinationRule", "host"): "name the service that the rule is for",
    ("ServiceEntry", "hosts"): "name the service, such as `api.example.com`",
}


def _with_hint(kind: Kind, obj: Json, error: FieldError) -> FieldError:
    if error.kind != "Required":
        return error
    field = str(error.at[-1])
    hint = _REQUIRED_HINTS.get((kind.kind, field), "")
    if kind.kind == "VirtualService" and field == "destination" and "route" in error.at:
        hint = istio_virtual_service.destination_hint(obj, error.at)
    return msgspec.structs.replace(error, suggestion=hint) if hint else error

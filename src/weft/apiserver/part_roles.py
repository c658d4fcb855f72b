"""What weft's own parts may write: a ClusterRole for each, under the names of Kubernetes'. Pure.

Only writes are listed: all parts read from one cache, which the server itself fills.
"""

from collections.abc import Mapping
from typing import Any

from weft.apiserver.default_roles import binding_of, role_of, rule
from weft.apiserver.parts import MESH_USER, NAMESPACE, SCHEDULER_USER
from weft.apiserver.rbac import GROUP

Json = dict[str, Any]
CONTROLLER_PREFIX = "system:controller:"
_APPS, _ARGO = "apps", "argoproj.io"
_DISCOVERY, _ISTIO = "discovery.k8s.io", "networking.istio.io"
_PODS = rule("", "pods", ("create", "delete", "patch"))
_REVISIONS = rule(_APPS, "controllerrevisions", ("create", "delete", "patch"))
_SLICES = rule(_DISCOVERY, "endpointslices", ("create", "delete", "patch"))
_DEPLOYMENTS = rule(_APPS, "deployments", ("patch",))


def _status(group: str, plural: str) -> Json:
    return rule(group, f"{plural}/status", ("patch",))


CONTROLLERS: Mapping[str, tuple[Json, ...]] = {
    "namespace-controller": (
        rule("*", "*", ("delete",)),
        rule("", "namespaces/finalize namespaces/status", ("patch",)),
    ),
    "service-account-controller": (rule("", "serviceaccounts", ("create",)),),
    "root-ca-cert-publisher": (
        rule("", "configmaps", ("create",)),
        {**rule("", "configmaps", ("patch",)), "resourceNames": ["kube-root-ca.crt"]},
    ),
    "gatewayaccount-controller": (rule("", "serviceaccounts", ("create", "patch")),),
    "certificate-controller": (
        rule("certificates.k8s.io", "certificatesigningrequests", ("delete",)),
    ),
    "clusterrole-aggregation-controller": (rule(GROUP, "clusterroles", ("escalate", "patch")),),
    "deployment-controller": (
        _DEPLOYMENTS, _status(_APPS, "deployments"),
        rule(_APPS, "replicasets", ("create", "delete", "patch")),
    ),
    "rollback-controller": (_DEPLOYMENTS,),
    "config-rollout-controller": (_DEPLOYMENTS,),
    "rollout-controller": (
        rule(_ARGO, "rollouts rollouts/status", ("patch",)),
        rule(_ARGO, "analysisruns experiments", ("create", "delete", "patch")),
        rule(_APPS, "replicasets", ("create", "delete", "patch")),
        _DEPLOYMENTS,
        rule("", "pods", ("delete", "patch")),
        rule("", "services", ("patch",)),
        rule(_ISTIO, "virtualservices destinationrules", ("patch",)),
        rule("gateway.networking.k8s.io", "httproutes", ("create", "delete", "patch")),
    ),
    "canary-controller": (
        rule("flagger.app", "canaries canaries/status", ("patch",)),
        rule(_APPS, "deployments", ("create", "patch")),
        rule("", "configmaps secrets services", ("create", "patch")),
        rule("autoscaling", "horizontalpodautoscalers", ("create", "patch")),
        rule(_ISTIO, "virtualservices destinationrules", ("create", "patch")),
        rule("gateway.networking.k8s.io", "httproutes", ("create", "patch")),
    ),
    "experiment-controller": (
        rule(_ARGO, "experiments experiments/status", ("patch",)),
        rule(_ARGO, "analysisruns", ("create", "delete", "patch")),
        rule(_APPS, "replicasets", ("create", "delete", "patch")),
        rule("", "services", ("create", "delete", "patch")),
    ),
    "analysis-controller": (
        rule(_ARGO, "analysisruns analysisruns/status", ("delete", "patch")),
        rule("batch", "jobs", ("create", "delete")),
    ),
    "start-order-controller": (rule("", "pods", ("patch",)),),
    "replicaset-controller": (_PODS, _status(_APPS, "replicasets")),
    "replication-controller": (_PODS, _status("", "replicationcontrollers")),
    "statefulset-controller": (
        _PODS, _status(_APPS, "statefulsets"), _REVISIONS,
        rule("", "persistentvolumeclaims", ("create", "delete", "patch")),
    ),
    "daemon-set-controller": (_PODS, _status(_APPS, "daemonsets"), _REVISIONS),
    "job-controller": (
        _PODS, _status("batch", "jobs"), rule("batch", "jobs", ("delete", "patch")),
    ),
    "cronjob-controller": (
        _status("batch", "cronjobs"), rule("batch", "jobs", ("create", "delete", "patch")),
    ),
    "disruption-controller": (
        _status("policy", "poddisruptionbudgets"), _status("", "pods"),
    ),
    "endpointslice-controller": (_SLICES,),
    "endpoint-controller": (rule("", "endpoints", ("create", "delete", "patch")), _SLICES),
    "service-controller": (_status("", "services"),),
    "workloadentry-controller": (rule(_ISTIO, "workloadentries", ("delete", "patch")),),
    "persistent-volume-binder": (
        rule("", "persistentvolumes", ("create", "delete", "patch")),
        rule("", "persistentvolumeclaims persistentvolumeclaims/status persistentvolumes/status",
             ("patch",)),
    ),
    "ephemeral-volume-controller": (rule("", "persistentvolumeclaims", ("create",)),),
    "generic-garbage-collector": (rule("*", "*", ("delete", "patch")),),
    "pod-garbage-collector": (rule("", "pods", ("delete",)), _status("", "pods")),
    "node-controller": (
        rule("", "nodes nodes/status", ("patch",)),
        rule("", "pods", ("delete",)), _status("", "pods"),
    ),
    "taint-eviction-controller": (rule("", "pods", ("delete",)), _status("", "pods")),
    "queues-controller": (
        rule("batch", "jobs", ("patch",)), rule("", "pods", ("delete", "patch")),
        _status("queue.weft.dev", "queues"),
    ),
    "kueue-controller": (
        rule("batch", "jobs", ("patch",)), rule("", "pods", ("delete", "patch")),
        rule("kueue.x-k8s.io", "workloads", ("create", "patch")),
        rule("kueue.x-k8s.io", "clusterqueues/status localqueues/status workloads/status",
             ("patch",)),
    ),
    "horizontal-pod-autoscaler": (
        _status("autoscaling", "horizontalpodautoscalers"), rule("*", "*/scale", ("patch",)),
    ),
}  # fmt: skip
"""By service account."""
SCHEDULER: tuple[Json, ...] = (
    rule("", "pods/binding", ("create",)),
    rule("", "pods", ("delete",)),
    _status("", "pods"),
    rule("", "persistentvolumeclaims", ("patch",)),
)
_MESH_GROUPS = (
    _ISTIO, "security.istio.io", "telemetry.istio.io", "gateway.networking.k8s.io",
    "networking.k8s.io", "policy.weft.dev", "monitoring.weft.dev",
)  # fmt: skip
_CERTIFICATES = "certificates.k8s.io"
MESH: tuple[Json, ...] = (
    rule("", "events", ("create", "patch")),
    rule(_MESH_GROUPS, "*/status", ("patch",)),
    rule("", "nodes/status services", ("patch",)),
    rule("", "configmaps", ("create", "patch")),
    rule(_APPS, "deployments deployments/scale statefulsets statefulsets/scale", ("patch",)),
    rule(_CERTIFICATES, "certificatesigningrequests/approval certificatesigningrequests/status",
         ("patch",)),
    rule(_CERTIFICATES, "signers", ("approve", "sign")),
)  # fmt: skip
ROLES: Mapping[str, tuple[Json, ...]] = {
    SCHEDULER_USER: SCHEDULER,
    MESH_USER: MESH,
    **{f"{CONTROLLER_PREFIX}{account}": rules for account, rules in CONTROLLERS.items()},
}
"""ClusterRoles by name."""


def cluster_roles() -> list[Json]:
    """Those of all parts."""
    return [role_of(name, rules) for name, rules in ROLES.items()]


def bindings() -> list[Json]:
    """Each role to its part."""
    found = [
        binding_of(name, name, [{"apiGroup": GROUP, "kind": "User", "name": name}])
        for name in (SCHEDULER_USER, MESH_USER)
    ]
    for account in CONTROLLERS:
        name = f"{CONTROLLER_PREFIX}{account}"
        subject = {"kind": "ServiceAccount", "namespace": NAMESPACE, "name": account}
        found.append(binding_of(name, name, [subject]))
    return found

"""The registry: which kinds exist, how they are named in paths, which value type reads them."""

from typing import Any

from msgspec import Struct

from weft.api import apiextensions_v1
from weft.api.k8s import (
    admissionregistration_v1,
    admissionregistration_v1alpha1,
    apps_v1,
    autoscaling_v2,
    batch_v1,
    certificates_v1,
    coordination_v1,
    core_v1,
    discovery_v1,
    networking_v1,
    node_v1,
    persistent_volume_v1,
    pod_v1,
    policy_v1,
    rbac_v1,
    scheduling_v1,
    storage_v1,
)


class Kind(Struct, frozen=True):
    """A kind of object as API discovery describes it."""

    group: str
    version: str
    """The version objects are stored in and typed by."""
    kind: str
    plural: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    """e.g. `status`, `scale`, `log`."""
    served_versions: tuple[str, ...] = ()
    """Every version clients may use, preferred first; empty means only `version`."""
    verbs: tuple[str, ...] = ()
    """What can be done with it; empty means everything. Kinds with `create` alone are questions:
    they are answered and never stored."""
    struct: type[Struct] | None = None
    """The value type that our own code decodes objects of this kind into."""
    view_of: tuple[str, str] | None = None
    """Of a kind that shows another kind's objects in other words (`weft.api.conversions`): the
    group and version of that one. Kind and plural are the same; nothing is stored under its own
    name, and only the stored kind has a struct."""
    definition: Any = None
    """Of custom resources: their weft.api.crd.definition.Definition."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return str(self.definition.singular) if self.definition else self.kind.lower()

    @property
    def list_kind(self) -> str:
        return str(self.definition.list_kind) if self.definition else f"{self.kind}List"

    @property
    def versions(self) -> tuple[str, ...]:
        return self.served_versions or (self.version,)


ALL = ("all",)
_HPA, _HPA_PLURAL = "HorizontalPodAutoscaler", "horizontalpodautoscalers"
QUESTION = ("create",)
MEASURED = ("get", "list")
"""Verbs of kinds that are made when they are asked for: nothing of them is stored."""
KUBERNETES_KINDS = (
    Kind("", "v1", "Namespace", "namespaces", namespaced=False, short_names=("ns",),
         subresources=("status", "finalize"), struct=core_v1.Namespace),
    Kind("", "v1", "Node", "nodes", namespaced=False, short_names=("no",),
         subresources=("status",), struct=core_v1.Node),
    Kind("", "v1", "Pod", "pods", short_names=("po",), categories=ALL,
         subresources=(
             "status", "log", "binding", "exec", "attach", "portforward", "ephemeralcontainers",
             "eviction", "resize",
         ), struct=pod_v1.Pod),
    Kind("", "v1", "Service", "services", short_names=("svc",), categories=ALL,
         subresources=("status",), struct=core_v1.Service),
    Kind("", "v1", "ConfigMap", "configmaps", short_names=("cm",), struct=core_v1.ConfigMap),
    Kind("", "v1", "Secret", "secrets", struct=core_v1.Secret),
    Kind("", "v1", "ServiceAccount", "serviceaccounts", short_names=("sa",),
         subresources=("token",),
         struct=core_v1.ServiceAccount),
    Kind("", "v1", "LimitRange", "limitranges", short_names=("limits",),
         struct=core_v1.LimitRange),
    Kind("", "v1", "ResourceQuota", "resourcequotas", short_names=("quota",),
         subresources=("status",), struct=core_v1.ResourceQuota),
    Kind("", "v1", "Event", "events", short_names=("ev",), struct=core_v1.Event),
    Kind("", "v1", "Endpoints", "endpoints", short_names=("ep",), struct=core_v1.Endpoints),
    Kind("", "v1", "PodTemplate", "podtemplates", struct=core_v1.PodTemplate),
    Kind("", "v1", "ReplicationController", "replicationcontrollers", short_names=("rc",),
         categories=ALL, subresources=("status", "scale"), struct=core_v1.ReplicationController),
    Kind("", "v1", "PersistentVolume", "persistentvolumes", namespaced=False, short_names=("pv",),
         subresources=("status",), struct=persistent_volume_v1.PersistentVolume),
    Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", short_names=("pvc",),
         subresources=("status",), struct=persistent_volume_v1.PersistentVolumeClaim),
    Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices",
         struct=discovery_v1.EndpointSlice),
    Kind("coordination.k8s.io", "v1", "Lease", "leases", struct=coordination_v1.Lease),
    Kind("apps", "v1", "Deployment", "deployments", short_names=("deploy",), categories=ALL,
         subresources=("status", "scale"), struct=apps_v1.Deployment),
    Kind("apps", "v1", "ReplicaSet", "replicasets", short_names=("rs",), categories=ALL,
         subresources=("status", "scale"), struct=apps_v1.ReplicaSet),
    Kind("apps", "v1", "StatefulSet", "statefulsets", short_names=("sts",), categories=ALL,
         subresources=("status", "scale"), struct=apps_v1.StatefulSet),
    Kind("apps", "v1", "DaemonSet", "daemonsets", short_names=("ds",), categories=ALL,
         subresources=("status",), struct=apps_v1.DaemonSet),
    Kind("apps", "v1", "ControllerRevision", "controllerrevisions",
         struct=apps_v1.ControllerRevision),
    Kind("batch", "v1", "CronJob", "cronjobs", short_names=("cj",), categories=ALL,
         subresources=("status",), struct=batch_v1.CronJob),
    Kind("autoscaling", "v2", _HPA, _HPA_PLURAL, short_names=("hpa",), categories=ALL,
         subresources=("status",), struct=autoscaling_v2.HorizontalPodAutoscaler),
    Kind("autoscaling", "v1", _HPA, _HPA_PLURAL, short_names=("hpa",), categories=ALL,
         subresources=("status",), view_of=("autoscaling", "v2")),
    Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", short_names=("pdb",),
         subresources=("status",), struct=policy_v1.PodDisruptionBudget),
    Kind("networking.k8s.io", "v1", "Ingress", "ingresses", short_names=("ing",),
         subresources=("status",), struct=networking_v1.Ingress),
    Kind("networking.k8s.io", "v1", "IngressClass", "ingressclasses", namespaced=False,
         struct=networking_v1.IngressClass),
    Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", short_names=("netpol",),
         struct=networking_v1.NetworkPolicy),
    Kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", namespaced=False,
         short_names=("sc",), struct=storage_v1.StorageClass),
    Kind("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", namespaced=False,
         struct=node_v1.RuntimeClass),
    Kind("events.k8s.io", "v1", "Event", "events", short_names=("ev",), view_of=("", "v1")),
    Kind("batch", "v1", "Job", "jobs", categories=ALL, subresources=("status",),
         struct=batch_v1.Job),
    Kind("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", namespaced=False,
         short_names=("pc",), struct=scheduling_v1.PriorityClass),
    Kind("certificates.k8s.io", "v1", "CertificateSigningRequest", "certificatesigningrequests",
         namespaced=False, short_names=("csr",), subresources=("status", "approval"),
         struct=certificates_v1.CertificateSigningRequest),
    Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions",
         namespaced=False, short_names=("crd", "crds"), categories=("api-extensions",),
         subresources=("status",), struct=apiextensions_v1.CustomResourceDefinition),
    *(Kind("admissionregistration.k8s.io", "v1", struct.__name__, plural, namespaced=False,
           categories=("api-extensions",), subresources=subresources, struct=struct)
      for struct, plural, subresources in (
          (admissionregistration_v1.MutatingWebhookConfiguration,
           "mutatingwebhookconfigurations", ()),
          (admissionregistration_v1.ValidatingWebhookConfiguration,
           "validatingwebhookconfigurations", ()),
          (admissionregistration_v1.ValidatingAdmissionPolicy,
           "validatingadmissionpolicies", ("status",)),
          (admissionregistration_v1.ValidatingAdmissionPolicyBinding,
           "validatingadmissionpolicybindings", ()),
      )),
    *(Kind("admissionregistration.k8s.io", "v1alpha1", kind, plural, namespaced=False,
           categories=("api-extensions",), served_versions=("v1beta1", "v1alpha1"),
           struct=getattr(admissionregistration_v1alpha1, kind))
      for kind, plural in (
          ("MutatingAdmissionPolicy", "mutatingadmissionpolicies"),
          ("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings"),
      )),
    *(Kind("rbac.authorization.k8s.io", "v1", kind, kind.lower() + "s",
           namespaced=not kind.startswith("Cluster"),
           struct=getattr(rbac_v1, kind))
      for kind in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")),
    *(Kind("authorization.k8s.io", "v1", kind, kind.lower() + "s",
           namespaced=kind.startswith("Local"), verbs=QUESTION)
      for kind in ("SelfSubjectAccessReview", "SelfSubjectRulesReview", "SubjectAccessReview",
                   "LocalSubjectAccessReview")),
    *(Kind("authentication.k8s.io", "v1", kind, kind.lower() + "s", namespaced=False,
           verbs=QUESTION)
      for kind in ("SelfSubjectReview", "TokenReview")),
    Kind("apiregistration.k8s.io", "v1", "APIService", "apiservices", namespaced=False,
         categories=("api-extensions",), verbs=MEASURED),
    Kind("metrics.k8s.io", "v1beta1", "NodeMetrics", "nodes", namespaced=False, verbs=MEASURED),
    Kind("metrics.k8s.io", "v1beta1", "PodMetrics", "pods", verbs=MEASURED),
)  # fmt: skip
ISTIO_VERSIONS = ("v1", "v1beta1", "v1alpha3")

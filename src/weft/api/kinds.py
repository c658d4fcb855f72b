"""The registry: which kinds exist, how they are named in paths, which value type reads them."""

from typing import Any

from msgspec import Struct

from weft.api import apiextensions_v1
from weft.api.k8s import (
    apps_v1,
    batch_v1,
    certificates_v1,
    coordination_v1,
    core_v1,
    discovery_v1,
    pod_v1,
    rbac_v1,
    scheduling_v1,
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
QUESTION = ("create",)
KUBERNETES_KINDS = (
    Kind("", "v1", "Namespace", "namespaces", namespaced=False, short_names=("ns",),
         subresources=("status", "finalize"), struct=core_v1.Namespace),
    Kind("", "v1", "Node", "nodes", namespaced=False, short_names=("no",),
         subresources=("status",), struct=core_v1.Node),
    Kind("", "v1", "Pod", "pods", short_names=("po",), categories=ALL,
         subresources=(
             "status", "log", "binding", "exec", "attach", "portforward", "ephemeralcontainers",
             "eviction",
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
    Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices",
         struct=discovery_v1.EndpointSlice),
    Kind("coordination.k8s.io", "v1", "Lease", "leases", struct=coordination_v1.Lease),
    Kind("apps", "v1", "Deployment", "deployments", short_names=("deploy",), categories=ALL,
         subresources=("status", "scale"), struct=apps_v1.Deployment),
    Kind("apps", "v1", "ReplicaSet", "replicasets", short_names=("rs",), categories=ALL,
         subresources=("status", "scale"), struct=apps_v1.ReplicaSet),
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
)  # fmt: skip
ISTIO_VERSIONS = ("v1", "v1beta1", "v1alpha3")

"""The roles and bindings that exist from the first moment on, as Kubernetes has them. Pure.

`admin`, `edit` and `view` are put together from parts by their labels, so that whoever adds kinds
can add to them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from weft.apiserver.rbac import GROUP

Json = dict[str, Any]
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
BOOTSTRAP_LABEL = "kubernetes.io/bootstrapping"
AGGREGATE_LABEL = "rbac.authorization.k8s.io/aggregate-to-"
READ = ("get", "list", "watch")
WRITE = ("create", "delete", "deletecollection", "patch", "update")
ALL_VERBS = (*WRITE[:3], "get", "list", *WRITE[3:], "watch")
_APPS = (
    "daemonsets deployments deployments/scale replicasets replicasets/scale statefulsets "
    "statefulsets/scale"
)
_STATUS = " daemonsets/status deployments/status replicasets/status statefulsets/status"
_POD_DOORS = "pods/attach pods/exec pods/portforward pods/proxy"
_CORE_WRITTEN = (
    "configmaps endpoints events persistentvolumeclaims replicationcontrollers "
    "replicationcontrollers/scale secrets serviceaccounts services services/proxy"
)
_ISTIO_GROUP = "networking.istio.io"
_OWN_GROUPS = ("gateway.networking.k8s.io", "policy.weft.dev", "argoproj.io", "flagger.app")
"""Of these, whoever may edit a namespace may write everything."""
_MESH_GROUPS = (_ISTIO_GROUP, *_OWN_GROUPS)
_ISTIO_WRITTEN = (
    "virtualservices destinationrules gateways serviceentries workloadentries workloadgroups "
    "sidecars"
)
"""Not EnvoyFilters: they run code in the node's proxy, which all namespaces share."""


def rule(groups: str | Iterable[str], resources: str, verbs: Iterable[str]) -> Json:
    listed = [groups] if isinstance(groups, str) else list(groups)
    return {"apiGroups": listed, "resources": resources.split(), "verbs": list(verbs)}


def urls(paths: str, *verbs: str) -> Json:
    return {"nonResourceURLs": paths.split(), "verbs": list(verbs or ("get",))}


VIEW = (
    rule("", "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods "
         "replicationcontrollers replicationcontrollers/scale serviceaccounts services "
         "services/status", READ),
    rule("", "bindings events limitranges namespaces/status pods/log pods/status "
         "replicationcontrollers/status resourcequotas resourcequotas/status", READ),
    rule("", "namespaces", READ),
    rule("discovery.k8s.io", "endpointslices", READ),
    rule("apps", f"controllerrevisions {_APPS}{_STATUS}", READ),
    rule("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", READ),
    rule("batch", "cronjobs cronjobs/status jobs jobs/status", READ),
    rule("policy", "poddisruptionbudgets poddisruptionbudgets/status", READ),
    rule("kueue.x-k8s.io", "localqueues localqueues/status workloads workloads/status", READ),
    rule("networking.k8s.io", "ingresses ingresses/status networkpolicies", READ),
    rule("events.k8s.io", "events", READ),
    rule(_MESH_GROUPS, "*", READ),
    rule("metrics.k8s.io", "pods nodes", READ),
)  # fmt: skip
EDIT = (
    rule("", f"{_POD_DOORS} secrets services/proxy", READ),
    rule("", "serviceaccounts", ("impersonate",)),
    rule("", f"pods {_POD_DOORS}", WRITE),
    rule("", "pods/eviction", ("create",)),
    rule("", _CORE_WRITTEN, WRITE),
    rule("", "serviceaccounts/token", ("create",)),
    rule("apps", f"{_APPS} deployments/rollback", WRITE),
    rule("autoscaling", "horizontalpodautoscalers", WRITE),
    rule("batch", "cronjobs jobs", WRITE),
    rule("policy", "poddisruptionbudgets", WRITE),
    rule("networking.k8s.io", "ingresses networkpolicies", WRITE),
    rule("coordination.k8s.io", "leases", ALL_VERBS),
    rule(_ISTIO_GROUP, _ISTIO_WRITTEN, WRITE),
    rule(_OWN_GROUPS, "*", WRITE),
)
ADMIN = (
    rule("authorization.k8s.io", "localsubjectaccessreviews", ("create",)),
    rule(GROUP, "rolebindings roles", ALL_VERBS),
)
_OPENID = "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks " \
    "/openid/v1/jwks/"  # fmt: skip
_MESH_PAGES = (
    "/weft/v1/alerts /weft/v1/alerts/* /weft/v1/ca /weft/v1/history /weft/v1/jaeger/* "
    "/weft/v1/requests /weft/v1/service /weft/v1/status /weft/v1/topology /weft/v1/traffic "
    "/weft/v1/why"
)
"""What is seen of the mesh as a whole, by GET: traffic, single requests, traces, proxies."""
_CSR = rule("certificates.k8s.io", "certificatesigningrequests",
            ("create", "get", "list", "watch"))  # fmt: skip
"""Whoever may ask for a certificate; what is approved without a person is another matter."""
SYSTEM: Mapping[str, tuple[Json, ...]] = {
    "cluster-admin": (rule("*", "*", ("*",)), urls("*", "*")),
    "system:basic-user": (
        rule("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews",
             ("create",)),
        rule("authentication.k8s.io", "selfsubjectreviews", ("create",)),
    ),
    "system:discovery": (
        urls("/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version "
             "/version/"),
    ),
    "system:public-info-viewer": (urls("/healthz /livez /readyz /version /version/"),),
    "system:auth-delegator": (
        rule("authentication.k8s.io", "tokenreviews", ("create",)),
        rule("authorization.k8s.io", "subjectaccessreviews", ("create",)),
    ),
    "system:service-account-issuer-discovery": (urls(_OPENID),),
    "system:monitoring": (
        urls("/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*"),
    ),
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": (
        rule("certificates.k8s.io", "certificatesigningrequests/nodeclient", ("create",)),
    ),
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": (
        rule("certificates.k8s.io", "certificatesigningrequests/selfnodeclient", ("create",)),
    ),
    **{
        f"system:certificates.k8s.io:{signer}-approver": (
            {**rule("certificates.k8s.io", "signers", ("approve",)),
             "resourceNames": [f"kubernetes.io/{signer}"]},
        )
        for signer in ("kube-apiserver-client", "kube-apiserver-client-kubelet", "kubelet-serving")
    },
    "system:node-bootstrapper": (_CSR,),
    "weft:workload-certificates": (_CSR,),
    "weft:mesh-viewer": (urls(_MESH_PAGES),),
}  # fmt: skip
BINDINGS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "cluster-admin": ("cluster-admin", ("system:masters",)),
    "system:basic-user": ("system:basic-user", ("system:authenticated",)),
    "system:discovery": ("system:discovery", ("system:authenticated",)),
    "system:public-info-viewer": (
        "system:public-info-viewer", ("system:authenticated", "system:unauthenticated"),
    ),
    "system:service-account-issuer-discovery": (
        "system:service-account-issuer-discovery", ("system:serviceaccounts",),
    ),
    "system:monitoring": ("system:monitoring", ("system:monitoring",)),
    "weft:node-bootstrapper": ("system:node-bootstrapper", ("system:bootstrappers",)),
    "weft:node-autoapprove-bootstrap": (
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        ("system:bootstrappers",),
    ),
    "weft:node-certificate-requests": ("system:node-bootstrapper", ("system:nodes",)),
    "weft:node-autoapprove-rotation": (
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        ("system:nodes",),
    ),
}  # fmt: skip
"""By name: the ClusterRole and the groups that have it."""
_PARTS: Mapping[str, tuple[Json, ...]] = {"admin": ADMIN, "edit": EDIT, "view": VIEW}
_INCLUDED = {"admin": ("edit", "view", "admin"), "edit": ("edit", "view"), "view": ("view",)}
"""In the order in which the controller of aggregated roles puts them together."""


def cluster_roles() -> list[Json]:
    """Every ClusterRole of the first moment."""
    roles = [role_of(name, rules) for name, rules in SYSTEM.items()]
    for name, rules in _PARTS.items():
        into = {f"{AGGREGATE_LABEL}{name}": "true"}
        roles.append(role_of(f"system:aggregate-to-{name}", rules, into))
    roles += [_aggregated(name) for name in _PARTS]
    return roles


def role_of(name: str, rules: Iterable[Json], labels: Mapping[str, str] | None = None) -> Json:
    """A ClusterRole that is kept up to date."""
    return {
        "metadata": {
            "name": name,
            "labels": {BOOTSTRAP_LABEL: "rbac-defaults", **(labels or {})},
            "annotations": {AUTOUPDATE: "true"},
        },
        "rules": [dict(rule) for rule in rules],
    }


def _aggregated(name: str) -> Json:
    """`edit` counts towards `admin`, `view` towards `edit`, as in Kubernetes."""
    above = {"view": "edit", "edit": "admin"}.get(name)
    labels = {f"{AGGREGATE_LABEL}{above}": "true"} if above else {}
    rules = [r for part in _INCLUDED[name] for r in _PARTS[part]]
    selector = {"matchLabels": {f"{AGGREGATE_LABEL}{name}": "true"}}
    return role_of(name, rules, labels) | {"aggregationRule": {"clusterRoleSelectors": [selector]}}


def cluster_role_bindings() -> list[Json]:
    """Every ClusterRoleBinding of the first moment."""
    return [
        binding_of(name, role, [{"apiGroup": GROUP, "kind": "Group", "name": g} for g in groups])
        for name, (role, groups) in BINDINGS.items()
    ]


def binding_of(name: str, role: str, subjects: list[Json]) -> Json:
    """A ClusterRoleBinding of the first moment."""
    return {
        "metadata": {
            "name": name,
            "labels": {BOOTSTRAP_LABEL: "rbac-defaults"},
            "annotations": {AUTOUPDATE: "true"},
        },
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
        "subjects": subjects,
    }


def missing_rules(wanted: Iterable[Json], present: Iterable[Json]) -> list[Json]:
    """What a default role has lost, for those that are kept up to date."""
    had = list(present)
    return [rule for rule in wanted if rule not in had]

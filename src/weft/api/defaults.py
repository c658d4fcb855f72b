"""Values that Kubernetes fills in for absent fields, per kind.

Source: the documented defaults of the core/v1, apps/v1, batch/v1 and discovery/v1 API reference.
Every function changes the JSON it is given, which the caller must own.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from weft.api import (
    admission_defaults,
    autoscaling_defaults,
    gateway_defaults,
    kueue_defaults,
    networking_defaults,
    storage_defaults,
)
from weft.api.crd import names as crd_names
from weft.api.kinds import Kind

Json = dict[str, Any]

FILE_MODE_DEFAULT = 0o644
TOKEN_EXPIRATION_SECONDS = 3600
AFFINITY_TIMEOUT_SECONDS = 10800
GRACE_PERIOD_SECONDS = 30
PROGRESS_DEADLINE_SECONDS = 600
REVISION_HISTORY_LIMIT = 10
BACKOFF_LIMIT = 6
INT32_MAX = 2**31 - 1


def default(kind: Kind, obj: Json) -> Json:
    """Fill in the absent fields of an object of a valid shape; changes and returns `obj`."""
    function = _BY_KIND.get((kind.group, kind.kind))
    if function:
        function(obj)
    return obj


def _set(target: Json, values: Mapping[str, Any]) -> None:
    """Set what is absent, null or the empty string (Go's zero value of a string)."""
    for key, value in values.items():
        if target.get(key) is None or target[key] == "":
            target[key] = value


def _items(target: Mapping[str, Any], key: str) -> Iterable[Json]:
    return [item for item in target.get(key) or () if isinstance(item, dict)]


def _sub(target: Json, key: str) -> Json:
    """The message under a key, made when absent."""
    if target.get(key) is None:
        target[key] = {}
    found: Json = target[key]
    return found


def _priority_class(obj: Json) -> None:
    _set(obj, {"preemptionPolicy": "PreemptLowerPriority"})


# ------------------------------------------------------------------ pods


def pod_spec(spec: Json) -> None:
    """Defaults of a pod's spec, alone or in a template."""
    _set(
        spec,
        {
            "dnsPolicy": "ClusterFirst",
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": GRACE_PERIOD_SECONDS,
            "schedulerName": "default-scheduler",
        },
    )
    _sub(spec, "securityContext")
    if spec.get("serviceAccountName") and not spec.get("serviceAccount"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for container in _items(spec, key):
            _container(container, bool(spec.get("hostNetwork")))
    for volume in _items(spec, "volumes"):
        _volume(volume)


def _container(container: Json, host_network: bool) -> None:
    _set(
        container,
        {
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "imagePullPolicy": _pull_policy(container.get("image") or ""),
        },
    )
    _sub(container, "resources")
    for port in _items(container, "ports"):
        _set(port, {"protocol": "TCP"})
        if host_network and not port.get("hostPort"):
            port["hostPort"] = port.get("containerPort")
    for key in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(key) is not None:
            _probe(container[key])
    for handler in (container.get("lifecycle") or {}).values():
        if isinstance(handler, dict):
            _handler(handler)
    for variable in _items(container, "env"):
        _field_ref(variable.get("valueFrom") or {})


def _pull_policy(image: str) -> str:
    """Always for `latest` and for no tag, as images under moving names change."""
    name = image.rsplit("/", 1)[-1]
    tagged = "@" in name or (":" in name and not name.endswith(":latest"))
    return "IfNotPresent" if tagged else "Always"


def _probe(probe: Json) -> None:
    numbers = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1}
    for key, value in (numbers | {"failureThreshold": 3}).items():
        if not probe.get(key):
            probe[key] = value
    _handler(probe)


def _handler(handler: Json) -> None:
    if isinstance(handler.get("httpGet"), dict):
        _set(handler["httpGet"], {"path": "/", "scheme": "HTTP"})
    if isinstance(handler.get("grpc"), dict) and handler["grpc"].get("service") is None:
        handler["grpc"]["service"] = ""


def _field_ref(source: Json) -> None:
    if isinstance(source.get("fieldRef"), dict):
        _set(source["fieldRef"], {"apiVersion": "v1"})


def _volume(volume: Json) -> None:
    sources = [key for key, value in volume.items() if key != "name" and value is not None]
    if not sources:
        volume["emptyDir"] = {}
    for key in ("secret", "configMap", "downwardAPI", "projected"):
        if isinstance(volume.get(key), dict):
            _set(volume[key], {"defaultMode": FILE_MODE_DEFAULT})
    for item in _items(volume.get("downwardAPI") or {}, "items"):
        _field_ref(item)
    for source in _items(volume.get("projected") or {}, "sources"):
        if isinstance(source.get("serviceAccountToken"), dict):
            _set(source["serviceAccountToken"], {"expirationSeconds": TOKEN_EXPIRATION_SECONDS})
        for item in _items(source.get("downwardAPI") or {}, "items"):
            _field_ref(item)
    if isinstance(volume.get("hostPath"), dict) and volume["hostPath"].get("type") is None:
        volume["hostPath"]["type"] = ""


def _pod(obj: Json) -> None:
    spec = _sub(obj, "spec")
    pod_spec(spec)
    if spec.get("enableServiceLinks") is None:
        spec["enableServiceLinks"] = True
    for key in ("initContainers", "containers"):
        for container in _items(spec, key):
            _requests_from_limits(container["resources"])
    default_status(obj)


def default_status(obj: Json) -> None:
    """Fill in required fields of a status that are empty: typed clients refuse one without."""
    for key in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        for status in _items(obj.get("status") or {}, key):
            _set(status, {"image": "", "imageID": "", "ready": False, "restartCount": 0})


def _requests_from_limits(resources: Json) -> None:
    limits = resources.get("limits") or {}
    if limits:
        resources["requests"] = {**limits, **(resources.get("requests") or {})}


def _template(spec: Json) -> None:
    template = _sub(spec, "template")
    pod_spec(_sub(template, "spec"))


# ------------------------------------------------------------------ workloads


def _deployment(obj: Json) -> None:
    spec = _sub(obj, "spec")
    _set(
        spec,
        {
            "replicas": 1,
            "revisionHistoryLimit": REVISION_HISTORY_LIMIT,
            "progressDeadlineSeconds": PROGRESS_DEADLINE_SECONDS,
        },
    )
    strategy = _sub(spec, "strategy")
    _set(strategy, {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        _set(_sub(strategy, "rollingUpdate"), {"maxUnavailable": "25%", "maxSurge": "25%"})
    _template(spec)


def _replica_set(obj: Json) -> None:
    spec = _sub(obj, "spec")
    _set(spec, {"replicas": 1})
    _template(spec)


def _job(obj: Json) -> None:
    spec = _sub(obj, "spec")
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    limit = BACKOFF_LIMIT if spec.get("backoffLimitPerIndex") is None else INT32_MAX
    _set(
        spec,
        {
            "parallelism": 1,
            "backoffLimit": limit,
            "completionMode": "NonIndexed",
            "podReplacementPolicy": "Failed"
            if spec.get("podFailurePolicy")
            else "TerminatingOrFailed",
        },
    )
    for flag in ("suspend", "manualSelector"):
        if spec.get(flag) is None:
            spec[flag] = False
    for rule in _items(spec.get("podFailurePolicy") or {}, "rules"):
        for pattern in _items(rule, "onPodConditions"):
            _set(pattern, {"status": "True"})
    _template(spec)
    labels = (spec["template"].get("metadata") or {}).get("labels")
    metadata = _sub(obj, "metadata")
    if labels and not metadata.get("labels"):
        metadata["labels"] = dict(labels)


def _stateful_set(obj: Json) -> None:
    spec = _sub(obj, "spec")
    _set(
        spec,
        {
            "replicas": 1,
            "podManagementPolicy": "OrderedReady",
            "revisionHistoryLimit": REVISION_HISTORY_LIMIT,
        },
    )
    strategy = _sub(spec, "updateStrategy")
    _set(strategy, {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        _set(_sub(strategy, "rollingUpdate"), {"partition": 0})
    retention = _sub(spec, "persistentVolumeClaimRetentionPolicy")
    _set(retention, {"whenDeleted": "Retain", "whenScaled": "Retain"})
    for claim in _items(spec, "volumeClaimTemplates"):
        storage_defaults.claim_template(claim)
    _template(spec)


def _daemon_set(obj: Json) -> None:
    spec = _sub(obj, "spec")
    _set(spec, {"revisionHistoryLimit": REVISION_HISTORY_LIMIT})
    strategy = _sub(spec, "updateStrategy")
    _set(strategy, {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        _set(_sub(strategy, "rollingUpdate"), {"maxUnavailable": 1, "maxSurge": 0})
    _template(spec)


def _cron_job(obj: Json) -> None:
    spec = _sub(obj, "spec")
    limits = {"successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1}
    _set(spec, {"concurrencyPolicy": "Allow", "suspend": False} | limits)
    _template(_sub(_sub(spec, "jobTemplate"), "spec"))


def _replication_controller(obj: Json) -> None:
    spec = _sub(obj, "spec")
    _set(spec, {"replicas": 1})
    _template(spec)
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    if labels and not spec.get("selector"):
        spec["selector"] = dict(labels)
    metadata = _sub(obj, "metadata")
    if labels and not metadata.get("labels"):
        metadata["labels"] = dict(labels)


# ------------------------------------------------------------------ services and the rest


def _service(obj: Json) -> None:
    spec = _sub(obj, "spec")
    _set(spec, {"type": "ClusterIP", "sessionAffinity": "None"})
    if spec["sessionAffinity"] == "ClientIP":
        config = _sub(_sub(spec, "sessionAffinityConfig"), "clientIP")
        _set(config, {"timeoutSeconds": AFFINITY_TIMEOUT_SECONDS})
    for port in _items(spec, "ports"):
        _set(port, {"protocol": "TCP", "targetPort": port.get("port")})
        if port["targetPort"] == 0:
            port["targetPort"] = port.get("port")
    if spec["type"] != "ExternalName":
        _set(spec, {"internalTrafficPolicy": "Cluster", "ipFamilyPolicy": "SingleStack"})
        if not spec.get("ipFamilies"):
            spec["ipFamilies"] = [_family(spec.get("clusterIP") or "")]
    if spec["type"] in ("NodePort", "LoadBalancer"):
        _set(spec, {"externalTrafficPolicy": "Cluster"})
    if spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is None:
        spec["allocateLoadBalancerNodePorts"] = True


def _family(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def _endpoint_slice(obj: Json) -> None:
    if obj.get("endpoints") is None:
        obj["endpoints"] = []
    for port in _items(obj, "ports"):
        _set(port, {"protocol": "TCP"})
        if port.get("name") is None:
            port["name"] = ""


def _namespace(obj: Json) -> None:
    metadata = _sub(obj, "metadata")
    if metadata.get("name"):
        _sub(metadata, "labels")["kubernetes.io/metadata.name"] = metadata["name"]
    _set(_sub(obj, "status"), {"phase": "Active"})


def _node(obj: Json) -> None:
    status = _sub(obj, "status")
    if status.get("capacity") and not status.get("allocatable"):
        status["allocatable"] = dict(status["capacity"])


def _secret(obj: Json) -> None:
    _set(obj, {"type": "Opaque"})


_RBAC = "rbac.authorization.k8s.io"


def _limit_range(obj: Json) -> None:
    """A container's limit is by default its maximum, its request its limit or its minimum."""
    for item in _items(_sub(obj, "spec"), "limits"):
        if item.get("type") == "Container":
            _set(_sub(item, "default"), item.get("max") or {})
            _set(_sub(item, "defaultRequest"), item["default"])
            _set(item["defaultRequest"], item.get("min") or {})
            for side in ("default", "defaultRequest"):
                if not item[side]:
                    del item[side]


def _binding(obj: Json) -> None:
    _set(_sub(obj, "roleRef"), {"apiGroup": _RBAC})
    for subject in _items(obj, "subjects"):
        if subject.get("kind") in ("User", "Group"):
            _set(subject, {"apiGroup": _RBAC})


_ADMISSION = "admissionregistration.k8s.io"
_BY_KIND: dict[tuple[str, str], Callable[[Json], None]] = {
    ("apiextensions.k8s.io", "CustomResourceDefinition"): crd_names.default,
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("", "Namespace"): _namespace,
    ("", "Node"): _node,
    ("", "Secret"): _secret,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("batch", "Job"): _job,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "CronJob"): _cron_job,
    ("", "ReplicationController"): _replication_controller,
    ("", "PodTemplate"): _template,
    ("", "PersistentVolume"): storage_defaults.volume,
    ("", "PersistentVolumeClaim"): storage_defaults.claim,
    ("storage.k8s.io", "StorageClass"): storage_defaults.storage_class,
    ("autoscaling", "HorizontalPodAutoscaler"): autoscaling_defaults.autoscaler,
    ("networking.k8s.io", "NetworkPolicy"): networking_defaults.network_policy,
    ("networking.k8s.io", "IngressClass"): networking_defaults.ingress_class,
    ("", "Endpoints"): networking_defaults.endpoints,
    ("discovery.k8s.io", "EndpointSlice"): _endpoint_slice,
    ("", "LimitRange"): _limit_range,
    (_ADMISSION, "MutatingAdmissionPolicy"): admission_defaults.policy,
    (_ADMISSION, "MutatingAdmissionPolicyBinding"): admission_defaults.binding,
    (_ADMISSION, "ValidatingAdmissionPolicy"): admission_defaults.policy,
    (_ADMISSION, "ValidatingAdmissionPolicyBinding"): admission_defaults.binding,
    (_ADMISSION, "ValidatingWebhookConfiguration"): admission_defaults.webhooks,
    (_ADMISSION, "MutatingWebhookConfiguration"): admission_defaults.webhooks,
    ("scheduling.k8s.io", "PriorityClass"): _priority_class,
    (_RBAC, "RoleBinding"): _binding,
    (_RBAC, "ClusterRoleBinding"): _binding,
    (gateway_defaults.GROUP, "GatewayClass"): gateway_defaults.gateway_class,
    (gateway_defaults.GROUP, "Gateway"): gateway_defaults.gateway,
    (gateway_defaults.GROUP, "HTTPRoute"): gateway_defaults.http_route,
    (gateway_defaults.GROUP, "GRPCRoute"): gateway_defaults.grpc_route,
    (gateway_defaults.GROUP, "TLSRoute"): gateway_defaults.connection_route,
    (gateway_defaults.GROUP, "TCPRoute"): gateway_defaults.connection_route,
    (gateway_defaults.GROUP, "UDPRoute"): gateway_defaults.connection_route,
    (gateway_defaults.GROUP, "ListenerSet"): gateway_defaults.listener_set,
    ("kueue.x-k8s.io", "ClusterQueue"): kueue_defaults.cluster_queue,
    ("kueue.x-k8s.io", "LocalQueue"): kueue_defaults.local_queue,
    ("kueue.x-k8s.io", "Workload"): kueue_defaults.workload,
}

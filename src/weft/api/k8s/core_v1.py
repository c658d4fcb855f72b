"""Kubernetes core/v1 values, generated."""

# Made from the OpenAPI definitions of Kubernetes 1.33.0 (Apache-2.0); do not edit.
from collections.abc import Mapping

from msgspec import Struct, field

from weft.api.k8s.meta_v1 import Condition, ObjectMeta
from weft.api.k8s.pod_v1 import PodSpec
from weft.api.k8s.volume_v1 import LocalObjectReference


class AttachedVolume(Struct, frozen=True, omit_defaults=True):
    """AttachedVolume describes a volume attached to a node."""

    device_path: str = field(default="", name="devicePath")
    name: str = field(default="", name="name")


class ClientIPConfig(Struct, frozen=True, omit_defaults=True):
    """ClientIPConfig represents the configurations of Client IP based session affinity."""

    timeout_seconds: int | None = field(default=None, name="timeoutSeconds")


class ConfigMap(Struct, frozen=True, omit_defaults=True):
    """ConfigMap holds configuration data for pods to consume."""

    api_version: str = field(default="", name="apiVersion")
    binary_data: Mapping[str, str] = field(default_factory=dict, name="binaryData")
    data: Mapping[str, str] = field(default_factory=dict, name="data")
    immutable: bool | None = field(default=None, name="immutable")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")


class ConfigMapNodeConfigSource(Struct, frozen=True, omit_defaults=True):
    """ConfigMapNodeConfigSource contains the information to reference a ConfigMap as a ...."""

    kubelet_config_key: str = field(default="", name="kubeletConfigKey")
    name: str = field(default="", name="name")
    namespace: str = field(default="", name="namespace")
    resource_version: str = field(default="", name="resourceVersion")
    uid: str = field(default="", name="uid")


class ContainerImage(Struct, frozen=True, omit_defaults=True):
    """Describe a container image."""

    names: tuple[str, ...] = field(default=(), name="names")
    size_bytes: int | None = field(default=None, name="sizeBytes")


class DaemonEndpoint(Struct, frozen=True, omit_defaults=True):
    """DaemonEndpoint contains information about a single Daemon endpoint."""

    port: int | None = field(default=None, name="Port")


class ObjectReference(Struct, frozen=True, omit_defaults=True):
    """ObjectReference contains enough information to let you inspect or modify the ...."""

    api_version: str = field(default="", name="apiVersion")
    field_path: str = field(default="", name="fieldPath")
    kind: str = field(default="", name="kind")
    name: str = field(default="", name="name")
    namespace: str = field(default="", name="namespace")
    resource_version: str = field(default="", name="resourceVersion")
    uid: str = field(default="", name="uid")


class EndpointAddress(Struct, frozen=True, omit_defaults=True):
    """EndpointAddress is a tuple that describes single IP address."""

    hostname: str = field(default="", name="hostname")
    ip: str = field(default="", name="ip")
    node_name: str = field(default="", name="nodeName")
    target_ref: ObjectReference | None = field(default=None, name="targetRef")


class EndpointPort(Struct, frozen=True, omit_defaults=True):
    """EndpointPort is a tuple that describes a single port."""

    app_protocol: str = field(default="", name="appProtocol")
    name: str = field(default="", name="name")
    port: int | None = field(default=None, name="port")
    protocol: str = field(default="", name="protocol")


class EndpointSubset(Struct, frozen=True, omit_defaults=True):
    """EndpointSubset is a group of addresses with a common set of ports."""

    addresses: tuple[EndpointAddress, ...] = field(default=(), name="addresses")
    not_ready_addresses: tuple[EndpointAddress, ...] = field(default=(), name="notReadyAddresses")
    ports: tuple[EndpointPort, ...] = field(default=(), name="ports")


class Endpoints(Struct, frozen=True, omit_defaults=True):
    """Endpoints is a collection of endpoints that implement the actual service."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    subsets: tuple[EndpointSubset, ...] = field(default=(), name="subsets")


class EventSeries(Struct, frozen=True, omit_defaults=True):
    """EventSeries contain information on series of events, i.e."""

    count: int | None = field(default=None, name="count")
    last_observed_time: str = field(default="", name="lastObservedTime")


class EventSource(Struct, frozen=True, omit_defaults=True):
    """EventSource contains information for an event."""

    component: str = field(default="", name="component")
    host: str = field(default="", name="host")


class Event(Struct, frozen=True, omit_defaults=True):
    """Event is a report of an event somewhere in the cluster."""

    action: str = field(default="", name="action")
    api_version: str = field(default="", name="apiVersion")
    count: int | None = field(default=None, name="count")
    event_time: str = field(default="", name="eventTime")
    first_timestamp: str = field(default="", name="firstTimestamp")
    involved_object: ObjectReference | None = field(default=None, name="involvedObject")
    kind: str = field(default="", name="kind")
    last_timestamp: str = field(default="", name="lastTimestamp")
    message: str = field(default="", name="message")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    reason: str = field(default="", name="reason")
    related: ObjectReference | None = field(default=None, name="related")
    reporting_component: str = field(default="", name="reportingComponent")
    reporting_instance: str = field(default="", name="reportingInstance")
    series: EventSeries | None = field(default=None, name="series")
    source: EventSource | None = field(default=None, name="source")
    type: str = field(default="", name="type")


class LimitRangeItem(Struct, frozen=True, omit_defaults=True):
    """LimitRangeItem defines a min/max usage limit for any resource that matches on kind."""

    default: Mapping[str, str | int | float] = field(default_factory=dict, name="default")
    default_request: Mapping[str, str | int | float] = field(
        default_factory=dict, name="defaultRequest"
    )
    max: Mapping[str, str | int | float] = field(default_factory=dict, name="max")
    max_limit_request_ratio: Mapping[str, str | int | float] = field(
        default_factory=dict, name="maxLimitRequestRatio"
    )
    min: Mapping[str, str | int | float] = field(default_factory=dict, name="min")
    type: str = field(default="", name="type")


class LimitRangeSpec(Struct, frozen=True, omit_defaults=True):
    """LimitRangeSpec defines a min/max usage limit for resources that match on kind."""

    limits: tuple[LimitRangeItem, ...] = field(default=(), name="limits")


class LimitRange(Struct, frozen=True, omit_defaults=True):
    """LimitRange sets resource usage limits for each kind of resource in a Namespace."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: LimitRangeSpec = field(default=LimitRangeSpec(), name="spec")


class PortStatus(Struct, frozen=True, omit_defaults=True):
    """PortStatus represents the error condition of a service port."""

    error: str = field(default="", name="error")
    port: int | None = field(default=None, name="port")
    protocol: str = field(default="", name="protocol")


class LoadBalancerIngress(Struct, frozen=True, omit_defaults=True):
    """LoadBalancerIngress represents the status of a load-balancer ingress point: ...."""

    hostname: str = field(default="", name="hostname")
    ip: str = field(default="", name="ip")
    ip_mode: str = field(default="", name="ipMode")
    ports: tuple[PortStatus, ...] = field(default=(), name="ports")


class LoadBalancerStatus(Struct, frozen=True, omit_defaults=True):
    """LoadBalancerStatus represents the status of a load-balancer."""

    ingress: tuple[LoadBalancerIngress, ...] = field(default=(), name="ingress")


class NamespaceSpec(Struct, frozen=True, omit_defaults=True):
    """NamespaceSpec describes the attributes on a Namespace."""

    finalizers: tuple[str, ...] = field(default=(), name="finalizers")


class NamespaceCondition(Struct, frozen=True, omit_defaults=True):
    """NamespaceCondition contains details about state of namespace."""

    last_transition_time: str = field(default="", name="lastTransitionTime")
    message: str = field(default="", name="message")
    reason: str = field(default="", name="reason")
    status: str = field(default="", name="status")
    type: str = field(default="", name="type")


class NamespaceStatus(Struct, frozen=True, omit_defaults=True):
    """NamespaceStatus is information about the current status of a Namespace."""

    conditions: tuple[NamespaceCondition, ...] = field(default=(), name="conditions")
    phase: str = field(default="", name="phase")


class Namespace(Struct, frozen=True, omit_defaults=True):
    """Namespace provides a scope for Names."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: NamespaceSpec = field(default=NamespaceSpec(), name="spec")
    status: NamespaceStatus = field(default=NamespaceStatus(), name="status")


class NodeConfigSource(Struct, frozen=True, omit_defaults=True):
    """NodeConfigSource specifies a source of node configuration."""

    config_map: ConfigMapNodeConfigSource | None = field(default=None, name="configMap")


class Taint(Struct, frozen=True, omit_defaults=True):
    """The node this Taint is attached to has the 'effect' on any pod that does not ...."""

    effect: str = field(default="", name="effect")
    key: str = field(default="", name="key")
    time_added: str = field(default="", name="timeAdded")
    value: str = field(default="", name="value")


class NodeSpec(Struct, frozen=True, omit_defaults=True):
    """NodeSpec describes the attributes that a node is created with."""

    config_source: NodeConfigSource | None = field(default=None, name="configSource")
    external_id: str = field(default="", name="externalID")
    pod_cidr: str = field(default="", name="podCIDR")
    pod_cidrs: tuple[str, ...] = field(default=(), name="podCIDRs")
    provider_id: str = field(default="", name="providerID")
    taints: tuple[Taint, ...] = field(default=(), name="taints")
    unschedulable: bool | None = field(default=None, name="unschedulable")


class NodeAddress(Struct, frozen=True, omit_defaults=True):
    """NodeAddress contains information for the node's address."""

    address: str = field(default="", name="address")
    type: str = field(default="", name="type")


class NodeCondition(Struct, frozen=True, omit_defaults=True):
    """NodeCondition contains condition information for a node."""

    last_heartbeat_time: str = field(default="", name="lastHeartbeatTime")
    last_transition_time: str = field(default="", name="lastTransitionTime")
    message: str = field(default="", name="message")
    reason: str = field(default="", name="reason")
    status: str = field(default="", name="status")
    type: str = field(default="", name="type")


class NodeConfigStatus(Struct, frozen=True, omit_defaults=True):
    """NodeConfigStatus describes the status of the config assigned by ...."""

    active: NodeConfigSource | None = field(default=None, name="active")
    assigned: NodeConfigSource | None = field(default=None, name="assigned")
    error: str = field(default="", name="error")
    last_known_good: NodeConfigSource | None = field(default=None, name="lastKnownGood")


class NodeDaemonEndpoints(Struct, frozen=True, omit_defaults=True):
    """NodeDaemonEndpoints lists ports opened by daemons running on the Node."""

    kubelet_endpoint: DaemonEndpoint | None = field(default=None, name="kubeletEndpoint")


class NodeFeatures(Struct, frozen=True, omit_defaults=True):
    """NodeFeatures describes the set of features implemented by the CRI implementation."""

    supplemental_groups_policy: bool | None = field(default=None, name="supplementalGroupsPolicy")


class NodeRuntimeHandlerFeatures(Struct, frozen=True, omit_defaults=True):
    """NodeRuntimeHandlerFeatures is a set of features implemented by the runtime handler."""

    recursive_read_only_mounts: bool | None = field(default=None, name="recursiveReadOnlyMounts")
    user_namespaces: bool | None = field(default=None, name="userNamespaces")


class NodeRuntimeHandler(Struct, frozen=True, omit_defaults=True):
    """NodeRuntimeHandler is a set of runtime handler information."""

    features: NodeRuntimeHandlerFeatures | None = field(default=None, name="features")
    name: str = field(default="", name="name")


class NodeSwapStatus(Struct, frozen=True, omit_defaults=True):
    """NodeSwapStatus represents swap memory information."""

    capacity: int | None = field(default=None, name="capacity")


class NodeSystemInfo(Struct, frozen=True, omit_defaults=True):
    """NodeSystemInfo is a set of ids/uuids to uniquely identify the node."""

    architecture: str = field(default="", name="architecture")
    boot_id: str = field(default="", name="bootID")
    container_runtime_version: str = field(default="", name="containerRuntimeVersion")
    kernel_version: str = field(default="", name="kernelVersion")
    kube_proxy_version: str = field(default="", name="kubeProxyVersion")
    kubelet_version: str = field(default="", name="kubeletVersion")
    machine_id: str = field(default="", name="machineID")
    operating_system: str = field(default="", name="operatingSystem")
    os_image: str = field(default="", name="osImage")
    swap: NodeSwapStatus | None = field(default=None, name="swap")
    system_uuid: str = field(default="", name="systemUUID")


class NodeStatus(Struct, frozen=True, omit_defaults=True):
    """NodeStatus is information about the current status of a node."""

    addresses: tuple[NodeAddress, ...] = field(default=(), name="addresses")
    allocatable: Mapping[str, str | int | float] = field(default_factory=dict, name="allocatable")
    capacity: Mapping[str, str | int | float] = field(default_factory=dict, name="capacity")
    conditions: tuple[NodeCondition, ...] = field(default=(), name="conditions")
    config: NodeConfigStatus | None = field(default=None, name="config")
    daemon_endpoints: NodeDaemonEndpoints | None = field(default=None, name="daemonEndpoints")
    features: NodeFeatures | None = field(default=None, name="features")
    images: tuple[ContainerImage, ...] = field(default=(), name="images")
    node_info: NodeSystemInfo | None = field(default=None, name="nodeInfo")
    phase: str = field(default="", name="phase")
    runtime_handlers: tuple[NodeRuntimeHandler, ...] = field(default=(), name="runtimeHandlers")
    volumes_attached: tuple[AttachedVolume, ...] = field(default=(), name="volumesAttached")
    volumes_in_use: tuple[str, ...] = field(default=(), name="volumesInUse")


class Node(Struct, frozen=True, omit_defaults=True):
    """Node is a worker node in Kubernetes."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: NodeSpec = field(default=NodeSpec(), name="spec")
    status: NodeStatus = field(default=NodeStatus(), name="status")


class PodTemplateSpec(Struct, frozen=True, omit_defaults=True):
    """PodTemplateSpec describes the data a pod should have when created from a template."""

    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: PodSpec = field(default=PodSpec(), name="spec")


class PodTemplate(Struct, frozen=True, omit_defaults=True):
    """PodTemplate describes a template for creating copies of a predefined pod."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    template: PodTemplateSpec = field(default=PodTemplateSpec(), name="template")


class ReplicationControllerSpec(Struct, frozen=True, omit_defaults=True):
    """ReplicationControllerSpec is the specification of a replication controller."""

    min_ready_seconds: int | None = field(default=None, name="minReadySeconds")
    replicas: int | None = field(default=None, name="replicas")
    selector: Mapping[str, str] = field(default_factory=dict, name="selector")
    template: PodTemplateSpec = field(default=PodTemplateSpec(), name="template")


class ReplicationControllerCondition(Struct, frozen=True, omit_defaults=True):
    """ReplicationControllerCondition describes the state of a replication controller at ...."""

    last_transition_time: str = field(default="", name="lastTransitionTime")
    message: str = field(default="", name="message")
    reason: str = field(default="", name="reason")
    status: str = field(default="", name="status")
    type: str = field(default="", name="type")


class ReplicationControllerStatus(Struct, frozen=True, omit_defaults=True):
    """ReplicationControllerStatus represents the current status of a replication ...."""

    available_replicas: int | None = field(default=None, name="availableReplicas")
    conditions: tuple[ReplicationControllerCondition, ...] = field(default=(), name="conditions")
    fully_labeled_replicas: int | None = field(default=None, name="fullyLabeledReplicas")
    observed_generation: int | None = field(default=None, name="observedGeneration")
    ready_replicas: int | None = field(default=None, name="readyReplicas")
    replicas: int | None = field(default=None, name="replicas")


class ReplicationController(Struct, frozen=True, omit_defaults=True):
    """ReplicationController represents the configuration of a replication controller."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: ReplicationControllerSpec = field(default=ReplicationControllerSpec(), name="spec")
    status: ReplicationControllerStatus = field(
        default=ReplicationControllerStatus(), name="status"
    )


class ScopedResourceSelectorRequirement(Struct, frozen=True, omit_defaults=True):
    """A scoped-resource selector requirement is a selector that contains values, a ...."""

    operator: str = field(default="", name="operator")
    scope_name: str = field(default="", name="scopeName")
    values: tuple[str, ...] = field(default=(), name="values")


class ScopeSelector(Struct, frozen=True, omit_defaults=True):
    """A scope selector represents the AND of the selectors represented by the ...."""

    match_expressions: tuple[ScopedResourceSelectorRequirement, ...] = field(
        default=(), name="matchExpressions"
    )


class ResourceQuotaSpec(Struct, frozen=True, omit_defaults=True):
    """ResourceQuotaSpec defines the desired hard limits to enforce for Quota."""

    hard: Mapping[str, str | int | float] = field(default_factory=dict, name="hard")
    scope_selector: ScopeSelector | None = field(default=None, name="scopeSelector")
    scopes: tuple[str, ...] = field(default=(), name="scopes")


class ResourceQuotaStatus(Struct, frozen=True, omit_defaults=True):
    """ResourceQuotaStatus defines the enforced hard limits and observed use."""

    hard: Mapping[str, str | int | float] = field(default_factory=dict, name="hard")
    used: Mapping[str, str | int | float] = field(default_factory=dict, name="used")


class ResourceQuota(Struct, frozen=True, omit_defaults=True):
    """ResourceQuota sets aggregate quota restrictions enforced per namespace."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: ResourceQuotaSpec = field(default=ResourceQuotaSpec(), name="spec")
    status: ResourceQuotaStatus = field(default=ResourceQuotaStatus(), name="status")


class Secret(Struct, frozen=True, omit_defaults=True):
    """Secret holds secret data of a certain type."""

    api_version: str = field(default="", name="apiVersion")
    data: Mapping[str, str] = field(default_factory=dict, name="data")
    immutable: bool | None = field(default=None, name="immutable")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    string_data: Mapping[str, str] = field(default_factory=dict, name="stringData")
    type: str = field(default="", name="type")


class ServicePort(Struct, frozen=True, omit_defaults=True):
    """ServicePort contains information on service's port."""

    app_protocol: str = field(default="", name="appProtocol")
    name: str = field(default="", name="name")
    node_port: int | None = field(default=None, name="nodePort")
    port: int | None = field(default=None, name="port")
    protocol: str = field(default="", name="protocol")
    target_port: int | str | None = field(default=None, name="targetPort")


class SessionAffinityConfig(Struct, frozen=True, omit_defaults=True):
    """SessionAffinityConfig represents the configurations of session affinity."""

    client_ip: ClientIPConfig | None = field(default=None, name="clientIP")


class ServiceSpec(Struct, frozen=True, omit_defaults=True):
    """ServiceSpec describes the attributes that a user creates on a service."""

    allocate_load_balancer_node_ports: bool | None = field(
        default=None, name="allocateLoadBalancerNodePorts"
    )
    cluster_ip: str = field(default="", name="clusterIP")
    cluster_ips: tuple[str, ...] = field(default=(), name="clusterIPs")
    external_ips: tuple[str, ...] = field(default=(), name="externalIPs")
    external_name: str = field(default="", name="externalName")
    external_traffic_policy: str = field(default="", name="externalTrafficPolicy")
    health_check_node_port: int | None = field(default=None, name="healthCheckNodePort")
    internal_traffic_policy: str = field(default="", name="internalTrafficPolicy")
    ip_families: tuple[str, ...] = field(default=(), name="ipFamilies")
    ip_family_policy: str = field(default="", name="ipFamilyPolicy")
    load_balancer_class: str = field(default="", name="loadBalancerClass")
    load_balancer_ip: str = field(default="", name="loadBalancerIP")
    load_balancer_source_ranges: tuple[str, ...] = field(
        default=(), name="loadBalancerSourceRanges"
    )
    ports: tuple[ServicePort, ...] = field(default=(), name="ports")
    publish_not_ready_addresses: bool | None = field(default=None, name="publishNotReadyAddresses")
    selector: Mapping[str, str] = field(default_factory=dict, name="selector")
    session_affinity: str = field(default="", name="sessionAffinity")
    session_affinity_config: SessionAffinityConfig | None = field(
        default=None, name="sessionAffinityConfig"
    )
    traffic_distribution: str = field(default="", name="trafficDistribution")
    type: str = field(default="", name="type")


class ServiceStatus(Struct, frozen=True, omit_defaults=True):
    """ServiceStatus represents the current status of a service."""

    conditions: tuple[Condition, ...] = field(default=(), name="conditions")
    load_balancer: LoadBalancerStatus | None = field(default=None, name="loadBalancer")


class Service(Struct, frozen=True, omit_defaults=True):
    """Service is a named abstraction of software service (for example, mysql) ...."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: ServiceSpec = field(default=ServiceSpec(), name="spec")
    status: ServiceStatus = field(default=ServiceStatus(), name="status")


class ServiceAccount(Struct, frozen=True, omit_defaults=True):
    """ServiceAccount binds together: * a name, understood by users, and perhaps by ...."""

    api_version: str = field(default="", name="apiVersion")
    automount_service_account_token: bool | None = field(
        default=None, name="automountServiceAccountToken"
    )
    image_pull_secrets: tuple[LocalObjectReference, ...] = field(
        default=(), name="imagePullSecrets"
    )
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    secrets: tuple[ObjectReference, ...] = field(default=(), name="secrets")


class TopologySelectorLabelRequirement(Struct, frozen=True, omit_defaults=True):
    """A topology selector requirement is a selector that matches given label."""

    key: str = field(default="", name="key")
    values: tuple[str, ...] = field(default=(), name="values")


class TopologySelectorTerm(Struct, frozen=True, omit_defaults=True):
    """A topology selector term represents the result of label queries."""

    match_label_expressions: tuple[TopologySelectorLabelRequirement, ...] = field(
        default=(), name="matchLabelExpressions"
    )

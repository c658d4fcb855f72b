"""Kubernetes pod/v1 values, generated."""

# Made from the OpenAPI definitions of Kubernetes 1.33.0 (Apache-2.0); do not edit.
from collections.abc import Mapping

from msgspec import Struct, field

from weft.api.k8s.container_v1 import (
    AppArmorProfile,
    Container,
    EphemeralContainer,
    ResourceRequirements,
    SeccompProfile,
    SELinuxOptions,
    WindowsSecurityContextOptions,
)
from weft.api.k8s.meta_v1 import LabelSelector, ObjectMeta
from weft.api.k8s.volume_v1 import LocalObjectReference, Volume


class NodeSelectorRequirement(Struct, frozen=True, omit_defaults=True):
    """A node selector requirement is a selector that contains values, a key, and an ...."""

    key: str = field(default="", name="key")
    operator: str = field(default="", name="operator")
    values: tuple[str, ...] = field(default=(), name="values")


class NodeSelectorTerm(Struct, frozen=True, omit_defaults=True):
    """A null or empty node selector term matches no objects."""

    match_expressions: tuple[NodeSelectorRequirement, ...] = field(
        default=(), name="matchExpressions"
    )
    match_fields: tuple[NodeSelectorRequirement, ...] = field(default=(), name="matchFields")


class NodeSelector(Struct, frozen=True, omit_defaults=True):
    """A node selector represents the union of the results of one or more label queries ...."""

    node_selector_terms: tuple[NodeSelectorTerm, ...] = field(default=(), name="nodeSelectorTerms")


class PreferredSchedulingTerm(Struct, frozen=True, omit_defaults=True):
    """An empty preferred scheduling term matches all objects with implicit weight 0 (i.e."""

    preference: NodeSelectorTerm | None = field(default=None, name="preference")
    weight: int | None = field(default=None, name="weight")


class NodeAffinity(Struct, frozen=True, omit_defaults=True):
    """Node affinity is a group of node affinity scheduling rules."""

    preferred_during_scheduling_ignored_during_execution: tuple[PreferredSchedulingTerm, ...] = (
        field(default=(), name="preferredDuringSchedulingIgnoredDuringExecution")
    )
    required_during_scheduling_ignored_during_execution: NodeSelector | None = field(
        default=None, name="requiredDuringSchedulingIgnoredDuringExecution"
    )


class PodAffinityTerm(Struct, frozen=True, omit_defaults=True):
    """Defines a set of pods (namely those matching the labelSelector relative to the ...."""

    label_selector: LabelSelector | None = field(default=None, name="labelSelector")
    match_label_keys: tuple[str, ...] = field(default=(), name="matchLabelKeys")
    mismatch_label_keys: tuple[str, ...] = field(default=(), name="mismatchLabelKeys")
    namespace_selector: LabelSelector | None = field(default=None, name="namespaceSelector")
    namespaces: tuple[str, ...] = field(default=(), name="namespaces")
    topology_key: str = field(default="", name="topologyKey")


class WeightedPodAffinityTerm(Struct, frozen=True, omit_defaults=True):
    """The weights of all of the matched WeightedPodAffinityTerm fields are added ...."""

    pod_affinity_term: PodAffinityTerm | None = field(default=None, name="podAffinityTerm")
    weight: int | None = field(default=None, name="weight")


class PodAffinity(Struct, frozen=True, omit_defaults=True):
    """Pod affinity is a group of inter pod affinity scheduling rules."""

    preferred_during_scheduling_ignored_during_execution: tuple[WeightedPodAffinityTerm, ...] = (
        field(default=(), name="preferredDuringSchedulingIgnoredDuringExecution")
    )
    required_during_scheduling_ignored_during_execution: tuple[PodAffinityTerm, ...] = field(
        default=(), name="requiredDuringSchedulingIgnoredDuringExecution"
    )


class PodAntiAffinity(Struct, frozen=True, omit_defaults=True):
    """Pod anti affinity is a group of inter pod anti affinity scheduling rules."""

    preferred_during_scheduling_ignored_during_execution: tuple[WeightedPodAffinityTerm, ...] = (
        field(default=(), name="preferredDuringSchedulingIgnoredDuringExecution")
    )
    required_during_scheduling_ignored_during_execution: tuple[PodAffinityTerm, ...] = field(
        default=(), name="requiredDuringSchedulingIgnoredDuringExecution"
    )


class Affinity(Struct, frozen=True, omit_defaults=True):
    """Affinity is a group of affinity scheduling rules."""

    node_affinity: NodeAffinity | None = field(default=None, name="nodeAffinity")
    pod_affinity: PodAffinity | None = field(default=None, name="podAffinity")
    pod_anti_affinity: PodAntiAffinity | None = field(default=None, name="podAntiAffinity")


class ContainerStateRunning(Struct, frozen=True, omit_defaults=True):
    """ContainerStateRunning is a running state of a container."""

    started_at: str = field(default="", name="startedAt")


class ContainerStateTerminated(Struct, frozen=True, omit_defaults=True):
    """ContainerStateTerminated is a terminated state of a container."""

    container_id: str = field(default="", name="containerID")
    exit_code: int | None = field(default=None, name="exitCode")
    finished_at: str = field(default="", name="finishedAt")
    message: str = field(default="", name="message")
    reason: str = field(default="", name="reason")
    signal: int | None = field(default=None, name="signal")
    started_at: str = field(default="", name="startedAt")


class ContainerStateWaiting(Struct, frozen=True, omit_defaults=True):
    """ContainerStateWaiting is a waiting state of a container."""

    message: str = field(default="", name="message")
    reason: str = field(default="", name="reason")


class ContainerState(Struct, frozen=True, omit_defaults=True):
    """ContainerState holds a possible state of container."""

    running: ContainerStateRunning | None = field(default=None, name="running")
    terminated: ContainerStateTerminated | None = field(default=None, name="terminated")
    waiting: ContainerStateWaiting | None = field(default=None, name="waiting")


class LinuxContainerUser(Struct, frozen=True, omit_defaults=True):
    """LinuxContainerUser represents user identity information in Linux containers."""

    gid: int | None = field(default=None, name="gid")
    supplemental_groups: tuple[int, ...] = field(default=(), name="supplementalGroups")
    uid: int | None = field(default=None, name="uid")


class ContainerUser(Struct, frozen=True, omit_defaults=True):
    """ContainerUser represents user identity information."""

    linux: LinuxContainerUser | None = field(default=None, name="linux")


class ResourceHealth(Struct, frozen=True, omit_defaults=True):
    """ResourceHealth represents the health of a resource."""

    health: str = field(default="", name="health")
    resource_id: str = field(default="", name="resourceID")


class ResourceStatus(Struct, frozen=True, omit_defaults=True):
    """ResourceStatus represents the status of a single resource allocated to a Pod."""

    name: str = field(default="", name="name")
    resources: tuple[ResourceHealth, ...] = field(default=(), name="resources")


class VolumeMountStatus(Struct, frozen=True, omit_defaults=True):
    """VolumeMountStatus shows status of volume mounts."""

    mount_path: str = field(default="", name="mountPath")
    name: str = field(default="", name="name")
    read_only: bool | None = field(default=None, name="readOnly")
    recursive_read_only: str = field(default="", name="recursiveReadOnly")


class ContainerStatus(Struct, frozen=True, omit_defaults=True):
    """ContainerStatus contains details for the current status of this container."""

    allocated_resources: Mapping[str, str | int | float] = field(
        default_factory=dict, name="allocatedResources"
    )
    allocated_resources_status: tuple[ResourceStatus, ...] = field(
        default=(), name="allocatedResourcesStatus"
    )
    container_id: str = field(default="", name="containerID")
    image: str = field(default="", name="image")
    image_id: str = field(default="", name="imageID")
    last_state: ContainerState | None = field(default=None, name="lastState")
    name: str = field(default="", name="name")
    ready: bool | None = field(default=None, name="ready")
    resources: ResourceRequirements | None = field(default=None, name="resources")
    restart_count: int | None = field(default=None, name="restartCount")
    started: bool | None = field(default=None, name="started")
    state: ContainerState | None = field(default=None, name="state")
    stop_signal: str = field(default="", name="stopSignal")
    user: ContainerUser | None = field(default=None, name="user")
    volume_mounts: tuple[VolumeMountStatus, ...] = field(default=(), name="volumeMounts")


class HostAlias(Struct, frozen=True, omit_defaults=True):
    """HostAlias holds the mapping between IP and hostnames that will be injected as an ...."""

    hostnames: tuple[str, ...] = field(default=(), name="hostnames")
    ip: str = field(default="", name="ip")


class HostIP(Struct, frozen=True, omit_defaults=True):
    """HostIP represents a single IP address allocated to the host."""

    ip: str = field(default="", name="ip")


class PodDNSConfigOption(Struct, frozen=True, omit_defaults=True):
    """PodDNSConfigOption defines DNS resolver options of a pod."""

    name: str = field(default="", name="name")
    value: str = field(default="", name="value")


class PodDNSConfig(Struct, frozen=True, omit_defaults=True):
    """PodDNSConfig defines the DNS parameters of a pod in addition to those generated ...."""

    nameservers: tuple[str, ...] = field(default=(), name="nameservers")
    options: tuple[PodDNSConfigOption, ...] = field(default=(), name="options")
    searches: tuple[str, ...] = field(default=(), name="searches")


class PodOS(Struct, frozen=True, omit_defaults=True):
    """PodOS defines the OS parameters of a pod."""

    name: str = field(default="", name="name")


class PodReadinessGate(Struct, frozen=True, omit_defaults=True):
    """PodReadinessGate contains the reference to a pod condition."""

    condition_type: str = field(default="", name="conditionType")


class PodResourceClaim(Struct, frozen=True, omit_defaults=True):
    """PodResourceClaim references exactly one ResourceClaim, either directly or by ...."""

    name: str = field(default="", name="name")
    resource_claim_name: str = field(default="", name="resourceClaimName")
    resource_claim_template_name: str = field(default="", name="resourceClaimTemplateName")


class PodSchedulingGate(Struct, frozen=True, omit_defaults=True):
    """PodSchedulingGate is associated to a Pod to guard its scheduling."""

    name: str = field(default="", name="name")


class Sysctl(Struct, frozen=True, omit_defaults=True):
    """Sysctl defines a kernel parameter to be set."""

    name: str = field(default="", name="name")
    value: str = field(default="", name="value")


class PodSecurityContext(Struct, frozen=True, omit_defaults=True):
    """PodSecurityContext holds pod-level security attributes and common container settings."""

    app_armor_profile: AppArmorProfile | None = field(default=None, name="appArmorProfile")
    fs_group: int | None = field(default=None, name="fsGroup")
    fs_group_change_policy: str = field(default="", name="fsGroupChangePolicy")
    run_as_group: int | None = field(default=None, name="runAsGroup")
    run_as_non_root: bool | None = field(default=None, name="runAsNonRoot")
    run_as_user: int | None = field(default=None, name="runAsUser")
    se_linux_change_policy: str = field(default="", name="seLinuxChangePolicy")
    se_linux_options: SELinuxOptions | None = field(default=None, name="seLinuxOptions")
    seccomp_profile: SeccompProfile | None = field(default=None, name="seccompProfile")
    supplemental_groups: tuple[int, ...] = field(default=(), name="supplementalGroups")
    supplemental_groups_policy: str = field(default="", name="supplementalGroupsPolicy")
    sysctls: tuple[Sysctl, ...] = field(default=(), name="sysctls")
    windows_options: WindowsSecurityContextOptions | None = field(
        default=None, name="windowsOptions"
    )


class Toleration(Struct, frozen=True, omit_defaults=True):
    """The pod this Toleration is attached to tolerates any taint that matches the ...."""

    effect: str = field(default="", name="effect")
    key: str = field(default="", name="key")
    operator: str = field(default="", name="operator")
    toleration_seconds: int | None = field(default=None, name="tolerationSeconds")
    value: str = field(default="", name="value")


class TopologySpreadConstraint(Struct, frozen=True, omit_defaults=True):
    """TopologySpreadConstraint specifies how to spread matching pods among the given ...."""

    label_selector: LabelSelector | None = field(default=None, name="labelSelector")
    match_label_keys: tuple[str, ...] = field(default=(), name="matchLabelKeys")
    max_skew: int | None = field(default=None, name="maxSkew")
    min_domains: int | None = field(default=None, name="minDomains")
    node_affinity_policy: str = field(default="", name="nodeAffinityPolicy")
    node_taints_policy: str = field(default="", name="nodeTaintsPolicy")
    topology_key: str = field(default="", name="topologyKey")
    when_unsatisfiable: str = field(default="", name="whenUnsatisfiable")


class PodSpec(Struct, frozen=True, omit_defaults=True):
    """PodSpec is a description of a pod."""

    active_deadline_seconds: int | None = field(default=None, name="activeDeadlineSeconds")
    affinity: Affinity | None = field(default=None, name="affinity")
    automount_service_account_token: bool | None = field(
        default=None, name="automountServiceAccountToken"
    )
    containers: tuple[Container, ...] = field(default=(), name="containers")
    dns_config: PodDNSConfig | None = field(default=None, name="dnsConfig")
    dns_policy: str = field(default="", name="dnsPolicy")
    enable_service_links: bool | None = field(default=None, name="enableServiceLinks")
    ephemeral_containers: tuple[EphemeralContainer, ...] = field(
        default=(), name="ephemeralContainers"
    )
    host_aliases: tuple[HostAlias, ...] = field(default=(), name="hostAliases")
    host_ipc: bool | None = field(default=None, name="hostIPC")
    host_network: bool | None = field(default=None, name="hostNetwork")
    host_pid: bool | None = field(default=None, name="hostPID")
    host_users: bool | None = field(default=None, name="hostUsers")
    hostname: str = field(default="", name="hostname")
    image_pull_secrets: tuple[LocalObjectReference, ...] = field(
        default=(), name="imagePullSecrets"
    )
    init_containers: tuple[Container, ...] = field(default=(), name="initContainers")
    node_name: str = field(default="", name="nodeName")
    node_selector: Mapping[str, str] = field(default_factory=dict, name="nodeSelector")
    os: PodOS | None = field(default=None, name="os")
    overhead: Mapping[str, str | int | float] = field(default_factory=dict, name="overhead")
    preemption_policy: str = field(default="", name="preemptionPolicy")
    priority: int | None = field(default=None, name="priority")
    priority_class_name: str = field(default="", name="priorityClassName")
    readiness_gates: tuple[PodReadinessGate, ...] = field(default=(), name="readinessGates")
    resource_claims: tuple[PodResourceClaim, ...] = field(default=(), name="resourceClaims")
    resources: ResourceRequirements | None = field(default=None, name="resources")
    restart_policy: str = field(default="", name="restartPolicy")
    runtime_class_name: str = field(default="", name="runtimeClassName")
    scheduler_name: str = field(default="", name="schedulerName")
    scheduling_gates: tuple[PodSchedulingGate, ...] = field(default=(), name="schedulingGates")
    security_context: PodSecurityContext | None = field(default=None, name="securityContext")
    service_account: str = field(default="", name="serviceAccount")
    service_account_name: str = field(default="", name="serviceAccountName")
    set_hostname_as_fqdn: bool | None = field(default=None, name="setHostnameAsFQDN")
    share_process_namespace: bool | None = field(default=None, name="shareProcessNamespace")
    subdomain: str = field(default="", name="subdomain")
    termination_grace_period_seconds: int | None = field(
        default=None, name="terminationGracePeriodSeconds"
    )
    tolerations: tuple[Toleration, ...] = field(default=(), name="tolerations")
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] = field(
        default=(), name="topologySpreadConstraints"
    )
    volumes: tuple[Volume, ...] = field(default=(), name="volumes")


class PodCondition(Struct, frozen=True, omit_defaults=True):
    """PodCondition contains details for the current condition of this pod."""

    last_probe_time: str = field(default="", name="lastProbeTime")
    last_transition_time: str = field(default="", name="lastTransitionTime")
    message: str = field(default="", name="message")
    observed_generation: int | None = field(default=None, name="observedGeneration")
    reason: str = field(default="", name="reason")
    status: str = field(default="", name="status")
    type: str = field(default="", name="type")


class PodIP(Struct, frozen=True, omit_defaults=True):
    """PodIP represents a single IP address allocated to the pod."""

    ip: str = field(default="", name="ip")


class PodResourceClaimStatus(Struct, frozen=True, omit_defaults=True):
    """PodResourceClaimStatus is stored in the PodStatus for each PodResourceClaim which ...."""

    name: str = field(default="", name="name")
    resource_claim_name: str = field(default="", name="resourceClaimName")


class PodStatus(Struct, frozen=True, omit_defaults=True):
    """PodStatus represents information about the status of a pod."""

    conditions: tuple[PodCondition, ...] = field(default=(), name="conditions")
    container_statuses: tuple[ContainerStatus, ...] = field(default=(), name="containerStatuses")
    ephemeral_container_statuses: tuple[ContainerStatus, ...] = field(
        default=(), name="ephemeralContainerStatuses"
    )
    host_ip: str = field(default="", name="hostIP")
    host_ips: tuple[HostIP, ...] = field(default=(), name="hostIPs")
    init_container_statuses: tuple[ContainerStatus, ...] = field(
        default=(), name="initContainerStatuses"
    )
    message: str = field(default="", name="message")
    nominated_node_name: str = field(default="", name="nominatedNodeName")
    observed_generation: int | None = field(default=None, name="observedGeneration")
    phase: str = field(default="", name="phase")
    pod_ip: str = field(default="", name="podIP")
    pod_ips: tuple[PodIP, ...] = field(default=(), name="podIPs")
    qos_class: str = field(default="", name="qosClass")
    reason: str = field(default="", name="reason")
    resize: str = field(default="", name="resize")
    resource_claim_statuses: tuple[PodResourceClaimStatus, ...] = field(
        default=(), name="resourceClaimStatuses"
    )
    start_time: str = field(default="", name="startTime")


class Pod(Struct, frozen=True, omit_defaults=True):
    """Pod is a collection of containers that can run on a host."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: PodSpec = field(default=PodSpec(), name="spec")
    status: PodStatus = field(default=PodStatus(), name="status")

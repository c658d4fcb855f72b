"""Kubernetes container/v1 values, generated."""

# Made from the OpenAPI definitions of Kubernetes 1.33.0 (Apache-2.0); do not edit.
from collections.abc import Mapping

from msgspec import Struct, field

from weft.api.k8s.volume_v1 import ObjectFieldSelector, ResourceFieldSelector


class AppArmorProfile(Struct, frozen=True, omit_defaults=True):
    """AppArmorProfile defines a pod or container's AppArmor settings."""

    localhost_profile: str = field(default="", name="localhostProfile")
    type: str = field(default="", name="type")


class Capabilities(Struct, frozen=True, omit_defaults=True):
    """Adds and removes POSIX capabilities from running containers."""

    add: tuple[str, ...] = field(default=(), name="add")
    drop: tuple[str, ...] = field(default=(), name="drop")


class ConfigMapEnvSource(Struct, frozen=True, omit_defaults=True):
    """ConfigMapEnvSource selects a ConfigMap to populate the environment variables with."""

    name: str = field(default="", name="name")
    optional: bool | None = field(default=None, name="optional")


class ConfigMapKeySelector(Struct, frozen=True, omit_defaults=True):
    """Selects a key from a ConfigMap."""

    key: str = field(default="", name="key")
    name: str = field(default="", name="name")
    optional: bool | None = field(default=None, name="optional")


class ContainerPort(Struct, frozen=True, omit_defaults=True):
    """ContainerPort represents a network port in a single container."""

    container_port: int | None = field(default=None, name="containerPort")
    host_ip: str = field(default="", name="hostIP")
    host_port: int | None = field(default=None, name="hostPort")
    name: str = field(default="", name="name")
    protocol: str = field(default="", name="protocol")


class ContainerResizePolicy(Struct, frozen=True, omit_defaults=True):
    """ContainerResizePolicy represents resource resize policy for the container."""

    resource_name: str = field(default="", name="resourceName")
    restart_policy: str = field(default="", name="restartPolicy")


class SecretEnvSource(Struct, frozen=True, omit_defaults=True):
    """SecretEnvSource selects a Secret to populate the environment variables with."""

    name: str = field(default="", name="name")
    optional: bool | None = field(default=None, name="optional")


class EnvFromSource(Struct, frozen=True, omit_defaults=True):
    """EnvFromSource represents the source of a set of ConfigMaps or Secrets."""

    config_map_ref: ConfigMapEnvSource | None = field(default=None, name="configMapRef")
    prefix: str = field(default="", name="prefix")
    secret_ref: SecretEnvSource | None = field(default=None, name="secretRef")


class SecretKeySelector(Struct, frozen=True, omit_defaults=True):
    """SecretKeySelector selects a key of a Secret."""

    key: str = field(default="", name="key")
    name: str = field(default="", name="name")
    optional: bool | None = field(default=None, name="optional")


class EnvVarSource(Struct, frozen=True, omit_defaults=True):
    """EnvVarSource represents a source for the value of an EnvVar."""

    config_map_key_ref: ConfigMapKeySelector | None = field(default=None, name="configMapKeyRef")
    field_ref: ObjectFieldSelector | None = field(default=None, name="fieldRef")
    resource_field_ref: ResourceFieldSelector | None = field(default=None, name="resourceFieldRef")
    secret_key_ref: SecretKeySelector | None = field(default=None, name="secretKeyRef")


class EnvVar(Struct, frozen=True, omit_defaults=True):
    """EnvVar represents an environment variable present in a Container."""

    name: str = field(default="", name="name")
    value: str = field(default="", name="value")
    value_from: EnvVarSource | None = field(default=None, name="valueFrom")


class ExecAction(Struct, frozen=True, omit_defaults=True):
    """ExecAction describes a 'run in container' action."""

    command: tuple[str, ...] = field(default=(), name="command")


class HTTPHeader(Struct, frozen=True, omit_defaults=True):
    """HTTPHeader describes a custom header to be used in HTTP probes."""

    name: str = field(default="", name="name")
    value: str = field(default="", name="value")


class HTTPGetAction(Struct, frozen=True, omit_defaults=True):
    """HTTPGetAction describes an action based on HTTP Get requests."""

    host: str = field(default="", name="host")
    http_headers: tuple[HTTPHeader, ...] = field(default=(), name="httpHeaders")
    path: str = field(default="", name="path")
    port: int | str | None = field(default=None, name="port")
    scheme: str = field(default="", name="scheme")


class SleepAction(Struct, frozen=True, omit_defaults=True):
    """SleepAction describes a 'sleep' action."""

    seconds: int | None = field(default=None, name="seconds")


class TCPSocketAction(Struct, frozen=True, omit_defaults=True):
    """TCPSocketAction describes an action based on opening a socket."""

    host: str = field(default="", name="host")
    port: int | str | None = field(default=None, name="port")


class LifecycleHandler(Struct, frozen=True, omit_defaults=True):
    """LifecycleHandler defines a specific action that should be taken in a lifecycle hook."""

    exec: ExecAction | None = field(default=None, name="exec")
    http_get: HTTPGetAction | None = field(default=None, name="httpGet")
    sleep: SleepAction | None = field(default=None, name="sleep")
    tcp_socket: TCPSocketAction | None = field(default=None, name="tcpSocket")


class Lifecycle(Struct, frozen=True, omit_defaults=True):
    """Lifecycle describes actions that the management system should take in response to ...."""

    post_start: LifecycleHandler | None = field(default=None, name="postStart")
    pre_stop: LifecycleHandler | None = field(default=None, name="preStop")
    stop_signal: str = field(default="", name="stopSignal")


class GRPCAction(Struct, frozen=True, omit_defaults=True):
    """GRPCAction specifies an action involving a GRPC service."""

    port: int | None = field(default=None, name="port")
    service: str = field(default="", name="service")


class Probe(Struct, frozen=True, omit_defaults=True):
    """Probe describes a health check to be performed against a container to determine ...."""

    exec: ExecAction | None = field(default=None, name="exec")
    failure_threshold: int | None = field(default=None, name="failureThreshold")
    grpc: GRPCAction | None = field(default=None, name="grpc")
    http_get: HTTPGetAction | None = field(default=None, name="httpGet")
    initial_delay_seconds: int | None = field(default=None, name="initialDelaySeconds")
    period_seconds: int | None = field(default=None, name="periodSeconds")
    success_threshold: int | None = field(default=None, name="successThreshold")
    tcp_socket: TCPSocketAction | None = field(default=None, name="tcpSocket")
    termination_grace_period_seconds: int | None = field(
        default=None, name="terminationGracePeriodSeconds"
    )
    timeout_seconds: int | None = field(default=None, name="timeoutSeconds")


class ResourceClaim(Struct, frozen=True, omit_defaults=True):
    """ResourceClaim references one entry in PodSpec.ResourceClaims."""

    name: str = field(default="", name="name")
    request: str = field(default="", name="request")


class ResourceRequirements(Struct, frozen=True, omit_defaults=True):
    """ResourceRequirements describes the compute resource requirements."""

    claims: tuple[ResourceClaim, ...] = field(default=(), name="claims")
    limits: Mapping[str, str | int | float] = field(default_factory=dict, name="limits")
    requests: Mapping[str, str | int | float] = field(default_factory=dict, name="requests")


class SELinuxOptions(Struct, frozen=True, omit_defaults=True):
    """SELinuxOptions are the labels to be applied to the container."""

    level: str = field(default="", name="level")
    role: str = field(default="", name="role")
    type: str = field(default="", name="type")
    user: str = field(default="", name="user")


class SeccompProfile(Struct, frozen=True, omit_defaults=True):
    """SeccompProfile defines a pod/container's seccomp profile settings."""

    localhost_profile: str = field(default="", name="localhostProfile")
    type: str = field(default="", name="type")


class WindowsSecurityContextOptions(Struct, frozen=True, omit_defaults=True):
    """WindowsSecurityContextOptions contain Windows-specific options and credentials."""

    gmsa_credential_spec: str = field(default="", name="gmsaCredentialSpec")
    gmsa_credential_spec_name: str = field(default="", name="gmsaCredentialSpecName")
    host_process: bool | None = field(default=None, name="hostProcess")
    run_as_user_name: str = field(default="", name="runAsUserName")


class SecurityContext(Struct, frozen=True, omit_defaults=True):
    """SecurityContext holds security configuration that will be applied to a container."""

    allow_privilege_escalation: bool | None = field(default=None, name="allowPrivilegeEscalation")
    app_armor_profile: AppArmorProfile | None = field(default=None, name="appArmorProfile")
    capabilities: Capabilities | None = field(default=None, name="capabilities")
    privileged: bool | None = field(default=None, name="privileged")
    proc_mount: str = field(default="", name="procMount")
    read_only_root_filesystem: bool | None = field(default=None, name="readOnlyRootFilesystem")
    run_as_group: int | None = field(default=None, name="runAsGroup")
    run_as_non_root: bool | None = field(default=None, name="runAsNonRoot")
    run_as_user: int | None = field(default=None, name="runAsUser")
    se_linux_options: SELinuxOptions | None = field(default=None, name="seLinuxOptions")
    seccomp_profile: SeccompProfile | None = field(default=None, name="seccompProfile")
    windows_options: WindowsSecurityContextOptions | None = field(
        default=None, name="windowsOptions"
    )


class VolumeDevice(Struct, frozen=True, omit_defaults=True):
    """volumeDevice describes a mapping of a raw block device within a container."""

    device_path: str = field(default="", name="devicePath")
    name: str = field(default="", name="name")


class VolumeMount(Struct, frozen=True, omit_defaults=True):
    """VolumeMount describes a mounting of a Volume within a container."""

    mount_path: str = field(default="", name="mountPath")
    mount_propagation: str = field(default="", name="mountPropagation")
    name: str = field(default="", name="name")
    read_only: bool | None = field(default=None, name="readOnly")
    recursive_read_only: str = field(default="", name="recursiveReadOnly")
    sub_path: str = field(default="", name="subPath")
    sub_path_expr: str = field(default="", name="subPathExpr")


class Container(Struct, frozen=True, omit_defaults=True):
    """A single application container that you want to run within a pod."""

    args: tuple[str, ...] = field(default=(), name="args")
    command: tuple[str, ...] = field(default=(), name="command")
    env: tuple[EnvVar, ...] = field(default=(), name="env")
    env_from: tuple[EnvFromSource, ...] = field(default=(), name="envFrom")
    image: str = field(default="", name="image")
    image_pull_policy: str = field(default="", name="imagePullPolicy")
    lifecycle: Lifecycle | None = field(default=None, name="lifecycle")
    liveness_probe: Probe | None = field(default=None, name="livenessProbe")
    name: str = field(default="", name="name")
    ports: tuple[ContainerPort, ...] = field(default=(), name="ports")
    readiness_probe: Probe | None = field(default=None, name="readinessProbe")
    resize_policy: tuple[ContainerResizePolicy, ...] = field(default=(), name="resizePolicy")
    resources: ResourceRequirements | None = field(default=None, name="resources")
    restart_policy: str = field(default="", name="restartPolicy")
    security_context: SecurityContext | None = field(default=None, name="securityContext")
    startup_probe: Probe | None = field(default=None, name="startupProbe")
    stdin: bool | None = field(default=None, name="stdin")
    stdin_once: bool | None = field(default=None, name="stdinOnce")
    termination_message_path: str = field(default="", name="terminationMessagePath")
    termination_message_policy: str = field(default="", name="terminationMessagePolicy")
    tty: bool | None = field(default=None, name="tty")
    volume_devices: tuple[VolumeDevice, ...] = field(default=(), name="volumeDevices")
    volume_mounts: tuple[VolumeMount, ...] = field(default=(), name="volumeMounts")
    working_dir: str = field(default="", name="workingDir")


class EphemeralContainer(Struct, frozen=True, omit_defaults=True):
    """An EphemeralContainer is a temporary container that you may add to an existing ...."""

    args: tuple[str, ...] = field(default=(), name="args")
    command: tuple[str, ...] = field(default=(), name="command")
    env: tuple[EnvVar, ...] = field(default=(), name="env")
    env_from: tuple[EnvFromSource, ...] = field(default=(), name="envFrom")
    image: str = field(default="", name="image")
    image_pull_policy: str = field(default="", name="imagePullPolicy")
    lifecycle: Lifecycle | None = field(default=None, name="lifecycle")
    liveness_probe: Probe | None = field(default=None, name="livenessProbe")
    name: str = field(default="", name="name")
    ports: tuple[ContainerPort, ...] = field(default=(), name="ports")
    readiness_probe: Probe | None = field(default=None, name="readinessProbe")
    resize_policy: tuple[ContainerResizePolicy, ...] = field(default=(), name="resizePolicy")
    resources: ResourceRequirements | None = field(default=None, name="resources")
    restart_policy: str = field(default="", name="restartPolicy")
    security_context: SecurityContext | None = field(default=None, name="securityContext")
    startup_probe: Probe | None = field(default=None, name="startupProbe")
    stdin: bool | None = field(default=None, name="stdin")
    stdin_once: bool | None = field(default=None, name="stdinOnce")
    target_container_name: str = field(default="", name="targetContainerName")
    termination_message_path: str = field(default="", name="terminationMessagePath")
    termination_message_policy: str = field(default="", name="terminationMessagePolicy")
    tty: bool | None = field(default=None, name="tty")
    volume_devices: tuple[VolumeDevice, ...] = field(default=(), name="volumeDevices")
    volume_mounts: tuple[VolumeMount, ...] = field(default=(), name="volumeMounts")
    working_dir: str = field(default="", name="workingDir")

"""Kubernetes networking/v1 values, generated."""

# Made from the OpenAPI definitions of Kubernetes 1.33.0 (Apache-2.0); do not edit.
from msgspec import Struct, field

from weft.api.k8s.meta_v1 import LabelSelector, ObjectMeta
from weft.api.k8s.volume_v1 import TypedLocalObjectReference


class ServiceBackendPort(Struct, frozen=True, omit_defaults=True):
    """ServiceBackendPort is the service port being referenced."""

    name: str = field(default="", name="name")
    number: int | None = field(default=None, name="number")


class IngressServiceBackend(Struct, frozen=True, omit_defaults=True):
    """IngressServiceBackend references a Kubernetes Service as a Backend."""

    name: str = field(default="", name="name")
    port: ServiceBackendPort | None = field(default=None, name="port")


class IngressBackend(Struct, frozen=True, omit_defaults=True):
    """IngressBackend describes all endpoints for a given service and port."""

    resource: TypedLocalObjectReference | None = field(default=None, name="resource")
    service: IngressServiceBackend | None = field(default=None, name="service")


class HTTPIngressPath(Struct, frozen=True, omit_defaults=True):
    """HTTPIngressPath associates a path with a backend."""

    backend: IngressBackend | None = field(default=None, name="backend")
    path: str = field(default="", name="path")
    path_type: str = field(default="", name="pathType")


class HTTPIngressRuleValue(Struct, frozen=True, omit_defaults=True):
    """HTTPIngressRuleValue is a list of http selectors pointing to backends."""

    paths: tuple[HTTPIngressPath, ...] = field(default=(), name="paths")


class IPBlock(Struct, frozen=True, omit_defaults=True):
    """IPBlock describes a particular CIDR (Ex."""

    cidr: str = field(default="", name="cidr")
    except_: tuple[str, ...] = field(default=(), name="except")


class IngressRule(Struct, frozen=True, omit_defaults=True):
    """IngressRule represents the rules mapping the paths under a specified host to the ...."""

    host: str = field(default="", name="host")
    http: HTTPIngressRuleValue | None = field(default=None, name="http")


class IngressTLS(Struct, frozen=True, omit_defaults=True):
    """IngressTLS describes the transport layer security associated with an ingress."""

    hosts: tuple[str, ...] = field(default=(), name="hosts")
    secret_name: str = field(default="", name="secretName")


class IngressSpec(Struct, frozen=True, omit_defaults=True):
    """IngressSpec describes the Ingress the user wishes to exist."""

    default_backend: IngressBackend | None = field(default=None, name="defaultBackend")
    ingress_class_name: str = field(default="", name="ingressClassName")
    rules: tuple[IngressRule, ...] = field(default=(), name="rules")
    tls: tuple[IngressTLS, ...] = field(default=(), name="tls")


class IngressPortStatus(Struct, frozen=True, omit_defaults=True):
    """IngressPortStatus represents the error condition of a service port."""

    error: str = field(default="", name="error")
    port: int | None = field(default=None, name="port")
    protocol: str = field(default="", name="protocol")


class IngressLoadBalancerIngress(Struct, frozen=True, omit_defaults=True):
    """IngressLoadBalancerIngress represents the status of a load-balancer ingress point."""

    hostname: str = field(default="", name="hostname")
    ip: str = field(default="", name="ip")
    ports: tuple[IngressPortStatus, ...] = field(default=(), name="ports")


class IngressLoadBalancerStatus(Struct, frozen=True, omit_defaults=True):
    """IngressLoadBalancerStatus represents the status of a load-balancer."""

    ingress: tuple[IngressLoadBalancerIngress, ...] = field(default=(), name="ingress")


class IngressStatus(Struct, frozen=True, omit_defaults=True):
    """IngressStatus describe the current state of the Ingress."""

    load_balancer: IngressLoadBalancerStatus | None = field(default=None, name="loadBalancer")


class Ingress(Struct, frozen=True, omit_defaults=True):
    """Ingress is a collection of rules that allow inbound connections to reach the ...."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: IngressSpec = field(default=IngressSpec(), name="spec")
    status: IngressStatus = field(default=IngressStatus(), name="status")


class IngressClassParametersReference(Struct, frozen=True, omit_defaults=True):
    """IngressClassParametersReference identifies an API object."""

    api_group: str = field(default="", name="apiGroup")
    kind: str = field(default="", name="kind")
    name: str = field(default="", name="name")
    namespace: str = field(default="", name="namespace")
    scope: str = field(default="", name="scope")


class IngressClassSpec(Struct, frozen=True, omit_defaults=True):
    """IngressClassSpec provides information about the class of an Ingress."""

    controller: str = field(default="", name="controller")
    parameters: IngressClassParametersReference | None = field(default=None, name="parameters")


class IngressClass(Struct, frozen=True, omit_defaults=True):
    """IngressClass represents the class of the Ingress, referenced by the Ingress Spec."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: IngressClassSpec = field(default=IngressClassSpec(), name="spec")


class NetworkPolicyPeer(Struct, frozen=True, omit_defaults=True):
    """NetworkPolicyPeer describes a peer to allow traffic to/from."""

    ip_block: IPBlock | None = field(default=None, name="ipBlock")
    namespace_selector: LabelSelector | None = field(default=None, name="namespaceSelector")
    pod_selector: LabelSelector | None = field(default=None, name="podSelector")


class NetworkPolicyPort(Struct, frozen=True, omit_defaults=True):
    """NetworkPolicyPort describes a port to allow traffic on."""

    end_port: int | None = field(default=None, name="endPort")
    port: int | str | None = field(default=None, name="port")
    protocol: str = field(default="", name="protocol")


class NetworkPolicyEgressRule(Struct, frozen=True, omit_defaults=True):
    """NetworkPolicyEgressRule describes a particular set of traffic that is allowed out ...."""

    ports: tuple[NetworkPolicyPort, ...] = field(default=(), name="ports")
    to: tuple[NetworkPolicyPeer, ...] = field(default=(), name="to")


class NetworkPolicyIngressRule(Struct, frozen=True, omit_defaults=True):
    """NetworkPolicyIngressRule describes a particular set of traffic that is allowed to ...."""

    from_: tuple[NetworkPolicyPeer, ...] = field(default=(), name="from")
    ports: tuple[NetworkPolicyPort, ...] = field(default=(), name="ports")


class NetworkPolicySpec(Struct, frozen=True, omit_defaults=True):
    """NetworkPolicySpec provides the specification of a NetworkPolicy."""

    egress: tuple[NetworkPolicyEgressRule, ...] = field(default=(), name="egress")
    ingress: tuple[NetworkPolicyIngressRule, ...] = field(default=(), name="ingress")
    pod_selector: LabelSelector | None = field(default=None, name="podSelector")
    policy_types: tuple[str, ...] = field(default=(), name="policyTypes")


class NetworkPolicy(Struct, frozen=True, omit_defaults=True):
    """NetworkPolicy describes what network traffic is allowed for a set of Pods."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: NetworkPolicySpec = field(default=NetworkPolicySpec(), name="spec")

"""GatewayClass, Gateway."""

from collections.abc import Mapping
from typing import Literal

from msgspec import field

from weft.api.gateway.common import (
    GROUP,
    LocalObjectReference,
    Message,
    ObjectReference,
    Port,
    SecretObjectReference,
)
from weft.api.k8s.meta_v1 import Condition, LabelSelector, ObjectMeta


class ParametersReference(Message, frozen=True):
    """Settings of a class, in an object of the implementation."""

    group: str = ""
    """API group."""
    kind: str = ""
    """Kind."""
    name: str = ""
    """Name."""
    namespace: str = ""
    """Namespace; absent for cluster-scoped kinds."""


class GatewayClassSpec(Message, frozen=True):
    """Who serves the Gateways of a class."""

    controller_name: str = ""
    """weft serves `weft.dev/gateway-controller`."""
    parameters_ref: ParametersReference | None = None
    """Settings; weft has none."""
    description: str = ""
    """For people."""


class SupportedFeature(Message, frozen=True):
    """A feature of the conformance suite."""

    name: str = ""
    """Its name there."""


class GatewayClassStatus(Message, frozen=True):
    """What the controller says about a class."""

    conditions: tuple[Condition, ...] = ()
    """Accepted, SupportedVersion."""
    supported_features: tuple[SupportedFeature, ...] = ()
    """Features that routes and Gateways of this class may use."""


class GatewayClass(Message, frozen=True):
    """A kind of Gateways, all served by one controller."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """GatewayClass."""
    metadata: ObjectMeta = ObjectMeta()
    """Name and labels."""
    spec: GatewayClassSpec = GatewayClassSpec()
    """What is wanted."""
    status: GatewayClassStatus = GatewayClassStatus()
    """What the controller says."""


class ListenerTLSConfig(Message, frozen=True):
    """TLS of a listener."""

    mode: Literal["Terminate", "Passthrough"] = "Terminate"
    """Whether TLS ends at the Gateway."""
    certificate_refs: tuple[SecretObjectReference, ...] = ()
    """Secrets of type kubernetes.io/tls; clients get the one that fits what they can do."""
    options: Mapping[str, str] = {}
    """Settings of implementations; weft has none."""


class RouteNamespaces(Message, frozen=True):
    """Namespaces whose routes may attach."""

    from_: Literal["Same", "All", "Selector", "None"] = field(default="Same", name="from")
    """The Gateway's own, all, those with labels, or none."""
    selector: LabelSelector | None = None
    """Labels of namespaces, for `from: Selector`."""


class RouteGroupKind(Message, frozen=True):
    """A kind of routes."""

    group: str = GROUP
    """API group."""
    kind: str = ""
    """HTTPRoute, GRPCRoute, TLSRoute, TCPRoute or UDPRoute."""


class AllowedRoutes(Message, frozen=True):
    """Routes that may attach to a listener."""

    namespaces: RouteNamespaces = RouteNamespaces()
    """By namespace."""
    kinds: tuple[RouteGroupKind, ...] = ()
    """By kind; all kinds that fit the protocol when absent."""


class Listener(Message, frozen=True):
    """A port, a protocol and a host name."""

    name: str = ""
    """Unique within the Gateway."""
    hostname: str = ""
    """`www.example.com` or `*.example.com`; all when absent."""
    port: Port | None = None
    """The port that callers use."""
    protocol: str = ""
    """HTTP, HTTPS, TLS, TCP or UDP."""
    tls: ListenerTLSConfig | None = None
    """For HTTPS and TLS."""
    allowed_routes: AllowedRoutes = AllowedRoutes()
    """Routes that may attach."""


class GatewaySpecAddress(Message, frozen=True):
    """An address that is asked for."""

    type: str = "IPAddress"
    """IPAddress or Hostname."""
    value: str = ""
    """The address; any when absent."""


class GatewayInfrastructure(Message, frozen=True):
    """Labels and annotations for what a Gateway is made of."""

    labels: Mapping[str, str] = {}
    """Labels of the Gateway's ServiceAccount."""
    annotations: Mapping[str, str] = {}
    """Annotations of the Gateway's ServiceAccount."""
    parameters_ref: LocalObjectReference | None = None
    """Settings; weft has none."""


class FrontendTLSValidation(Message, frozen=True):
    """What certificates clients show."""

    ca_certificate_refs: tuple[ObjectReference, ...] = ()
    """ConfigMaps with the authorities under `ca.crt`."""
    mode: Literal["AllowValidOnly", "AllowInsecureFallback"] = "AllowValidOnly"
    """Whether clients without a good certificate are let in."""


class TLSConfig(Message, frozen=True):
    """TLS towards clients."""

    validation: FrontendTLSValidation | None = None
    """What certificates clients show; none when absent."""


class TLSPortConfig(Message, frozen=True):
    """TLS towards clients of one port."""

    port: Port | None = None
    """The port."""
    tls: TLSConfig = TLSConfig()
    """Its settings, instead of those for all ports."""


class FrontendTLSConfig(Message, frozen=True):
    """TLS towards clients of HTTPS listeners."""

    default: TLSConfig = TLSConfig()
    """For ports that have no settings of their own."""
    per_port: tuple[TLSPortConfig, ...] = ()
    """For single ports."""


class GatewayBackendTLS(Message, frozen=True):
    """TLS towards back ends that a BackendTLSPolicy names."""

    client_certificate_ref: SecretObjectReference | None = None
    """The Gateway's own certificate, a Secret of type kubernetes.io/tls."""


class GatewayTLSConfig(Message, frozen=True):
    """TLS of a whole Gateway."""

    backend: GatewayBackendTLS | None = None
    """Towards back ends."""
    frontend: FrontendTLSConfig | None = None
    """Towards clients."""


class ListenerNamespaces(Message, frozen=True):
    """Namespaces whose ListenerSets may attach."""

    from_: Literal["All", "Selector", "Same", "None"] = field(default="None", name="from")
    """All, those with labels, the Gateway's own, or none."""
    selector: LabelSelector | None = None
    """Labels of namespaces, for `from: Selector`."""


class AllowedListeners(Message, frozen=True):
    """ListenerSets that may add listeners to a Gateway."""

    namespaces: ListenerNamespaces = ListenerNamespaces()
    """By namespace."""


class GatewaySpec(Message, frozen=True):
    """Listeners of a class."""

    gateway_class_name: str = ""
    """`weft`, or another class with weft's controllerName."""
    listeners: tuple[Listener, ...] = ()
    """Ports to open."""
    addresses: tuple[GatewaySpecAddress, ...] = ()
    """Addresses that are asked for, else weft gives the Gateway one."""
    infrastructure: GatewayInfrastructure | None = None
    """Labels and annotations for what the Gateway is made of."""
    allowed_listeners: AllowedListeners = AllowedListeners()
    """ListenerSets that may add listeners; none unless allowed."""
    tls: GatewayTLSConfig | None = None
    """TLS of the whole Gateway."""


class GatewayStatusAddress(Message, frozen=True):
    """An address that a Gateway has."""

    type: str = "IPAddress"
    """IPAddress or Hostname."""
    value: str = ""
    """The address."""


class ListenerStatus(Message, frozen=True):
    """How a listener fares."""

    name: str = ""
    """The listener."""
    supported_kinds: tuple[RouteGroupKind, ...] = ()
    """Kinds of routes that may attach."""
    attached_routes: int = 0
    """How many routes are attached."""
    conditions: tuple[Condition, ...] = ()
    """Accepted, Conflicted, ResolvedRefs, Programmed."""


class GatewayStatus(Message, frozen=True):
    """How a Gateway fares."""

    addresses: tuple[GatewayStatusAddress, ...] = ()
    """Where it is reached."""
    conditions: tuple[Condition, ...] = ()
    """Accepted, Programmed."""
    listeners: tuple[ListenerStatus, ...] = ()
    """One entry for each listener."""
    attached_listener_sets: int | None = None
    """How many ListenerSets are attached."""


class Gateway(Message, frozen=True):
    """Where traffic from outside enters."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """Gateway."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: GatewaySpec = GatewaySpec()
    """What is wanted."""
    status: GatewayStatus = GatewayStatus()
    """What the controller says."""

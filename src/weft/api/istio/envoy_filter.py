"""EnvoyFilter: patches of what weft makes for Envoy. Fields after the public Istio reference."""

from collections.abc import Mapping
from typing import Any, Literal

from weft.api.istio.common import IstioStatus, Message, Port
from weft.api.istio.service_entry import PodLabels
from weft.api.k8s.meta_v1 import ObjectMeta

ApplyTo = Literal[
    "", "INVALID", "LISTENER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER",
    "ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE", "CLUSTER", "EXTENSION_CONFIG",
    "BOOTSTRAP", "LISTENER_FILTER",
]  # fmt: skip
PatchContext = Literal["", "ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY", "WAYPOINT"]
Operation = Literal[
    "", "INVALID", "MERGE", "ADD", "REMOVE", "INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST",
    "REPLACE", "MERGE_AND_REPLACE_LIST",
]  # fmt: skip


class PolicyTargetReference(Message, frozen=True):
    """An object that a policy is for."""

    group: str = ""
    """Its API group; empty for core."""
    kind: str = ""
    """Its kind."""
    name: str = ""
    """Its name."""
    namespace: str = ""
    """Its namespace; that of the policy."""


class ProxyMatch(Message, frozen=True):
    """Conditions on the proxy itself."""

    proxy_version: str = ""
    """A regular expression for Istio's version."""
    metadata: Mapping[str, str] = {}
    """Values of the proxy's metadata."""


class SubFilterMatch(Message, frozen=True):
    """A filter within a network filter."""

    name: str = ""
    """Name of the HTTP filter."""


class FilterMatch(Message, frozen=True):
    """A network filter."""

    name: str = ""
    """Name of the network filter."""
    sub_filter: SubFilterMatch | None = None
    """An HTTP filter in it."""


class FilterChainMatch(Message, frozen=True):
    """A filter chain of a listener."""

    name: str = ""
    """Its name."""
    sni: str = ""
    """A server name that it matches."""
    transport_protocol: str = ""
    """The transport protocol that it matches."""
    application_protocols: str = ""
    """Application protocols that it matches, separated by commas."""
    filter: FilterMatch | None = None
    """A filter in it."""
    destination_port: Port | None = None
    """The port that it matches."""


class ListenerMatch(Message, frozen=True):
    """A listener, or a part of it."""

    port_number: Port | None = None
    """The port."""
    port_name: str = ""
    """Not used by Istio either."""
    filter_chain: FilterChainMatch | None = None
    """A chain of it."""
    listener_filter: str = ""
    """A listener filter of it."""
    name: str = ""
    """Its name."""


class RouteMatch(Message, frozen=True):
    """A route."""

    name: str = ""
    """Its name."""
    action: Literal["", "ANY", "ROUTE", "REDIRECT", "DIRECT_RESPONSE"] = ""
    """What it does."""


class VirtualHostMatch(Message, frozen=True):
    """A virtual host."""

    name: str = ""
    """Its name, `host:port`."""
    domain_name: str = ""
    """One of its domains."""
    route: RouteMatch | None = None
    """A route of it."""


class RouteConfigurationMatch(Message, frozen=True):
    """A route configuration, or a part of it."""

    port_number: Port | None = None
    """The port."""
    port_name: str = ""
    """Name of the Gateway server's port."""
    gateway: str = ""
    """`namespace/name` of the Gateway."""
    vhost: VirtualHostMatch | None = None
    """A virtual host of it."""
    name: str = ""
    """Its name."""


class ClusterMatch(Message, frozen=True):
    """A cluster."""

    port_number: Port | None = None
    """The service's port."""
    service: str = ""
    """The service's host."""
    subset: str = ""
    """The subset."""
    name: str = ""
    """Its name, `outbound|80|v1|host`."""


class EnvoyConfigObjectMatch(Message, frozen=True):
    """What is patched; one of `listener`, `routeConfiguration`, `cluster`."""

    context: PatchContext = ""
    """Where; anywhere when absent."""
    proxy: ProxyMatch | None = None
    """Conditions on the proxy."""
    listener: ListenerMatch | None = None
    """A listener."""
    route_configuration: RouteConfigurationMatch | None = None
    """A route configuration."""
    cluster: ClusterMatch | None = None
    """A cluster."""


class Patch(Message, frozen=True):
    """What is done."""

    operation: Operation = ""
    """What is done with the value."""
    value: Mapping[str, Any] = {}
    """The JSON form of Envoy's message."""
    filter_class: Literal["", "UNSPECIFIED", "AUTHN", "AUTHZ", "STATS"] = ""
    """Where in the filter chain an added filter goes."""


class EnvoyConfigObjectPatch(Message, frozen=True):
    """A change."""

    apply_to: ApplyTo = ""
    """What kind of thing is changed."""
    match: EnvoyConfigObjectMatch | None = None
    """Which one."""
    patch: Patch | None = None
    """How."""


class EnvoyFilterSpec(Message, frozen=True):
    """Changes, for some workloads or all of a namespace."""

    workload_selector: PodLabels | None = None
    """Workloads of the namespace; all when absent."""
    target_refs: tuple[PolicyTargetReference, ...] = ()
    """Gateways that it is for, instead of a selector."""
    config_patches: tuple[EnvoyConfigObjectPatch, ...] = ()
    """The changes, in order."""
    priority: int | None = None
    """Lower ones are applied first; 0 when absent."""


class EnvoyFilter(Message, frozen=True):
    """Changes of Envoy's configuration that no other object can express."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """EnvoyFilter."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: EnvoyFilterSpec = EnvoyFilterSpec()
    """What is wanted."""
    status: IstioStatus = IstioStatus()
    """What the mesh says about it."""

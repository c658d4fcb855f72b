"""Kubernetes discovery/v1 values, generated."""

# Made from the OpenAPI definitions of Kubernetes 1.33.0 (Apache-2.0); do not edit.
from collections.abc import Mapping

from msgspec import Struct, field

from weft.api.k8s.core_v1 import ObjectReference
from weft.api.k8s.meta_v1 import ObjectMeta


class EndpointConditions(Struct, frozen=True, omit_defaults=True):
    """EndpointConditions represents the current condition of an endpoint."""

    ready: bool | None = field(default=None, name="ready")
    serving: bool | None = field(default=None, name="serving")
    terminating: bool | None = field(default=None, name="terminating")


class ForNode(Struct, frozen=True, omit_defaults=True):
    """ForNode provides information about which nodes should consume this endpoint."""

    name: str = field(default="", name="name")


class ForZone(Struct, frozen=True, omit_defaults=True):
    """ForZone provides information about which zones should consume this endpoint."""

    name: str = field(default="", name="name")


class EndpointHints(Struct, frozen=True, omit_defaults=True):
    """EndpointHints provides hints describing how an endpoint should be consumed."""

    for_nodes: tuple[ForNode, ...] = field(default=(), name="forNodes")
    for_zones: tuple[ForZone, ...] = field(default=(), name="forZones")


class Endpoint(Struct, frozen=True, omit_defaults=True):
    """Endpoint represents a single logical 'backend' implementing a service."""

    addresses: tuple[str, ...] = field(default=(), name="addresses")
    conditions: EndpointConditions | None = field(default=None, name="conditions")
    deprecated_topology: Mapping[str, str] = field(default_factory=dict, name="deprecatedTopology")
    hints: EndpointHints | None = field(default=None, name="hints")
    hostname: str = field(default="", name="hostname")
    node_name: str = field(default="", name="nodeName")
    target_ref: ObjectReference | None = field(default=None, name="targetRef")
    zone: str = field(default="", name="zone")


class EndpointPort(Struct, frozen=True, omit_defaults=True):
    """EndpointPort represents a Port used by an EndpointSlice."""

    app_protocol: str = field(default="", name="appProtocol")
    name: str = field(default="", name="name")
    port: int | None = field(default=None, name="port")
    protocol: str = field(default="", name="protocol")


class EndpointSlice(Struct, frozen=True, omit_defaults=True):
    """EndpointSlice represents a set of service endpoints."""

    address_type: str = field(default="", name="addressType")
    api_version: str = field(default="", name="apiVersion")
    endpoints: tuple[Endpoint, ...] = field(default=(), name="endpoints")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    ports: tuple[EndpointPort, ...] = field(default=(), name="ports")

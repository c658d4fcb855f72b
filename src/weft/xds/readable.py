"""Envoy resources for people: plain values, without what must not be shown."""

import hashlib
from collections.abc import Mapping
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import extension_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2, scoped_route_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.service.runtime.v3 import rtds_pb2
from google.protobuf.json_format import MessageToDict

from weft.xds.resource import (
    CLUSTER,
    ENDPOINTS,
    EXTENSION,
    LISTENER,
    ROUTES,
    RUNTIME,
    SCOPES,
    SECRET,
    Resource,
)

MESSAGES: Mapping[str, Any] = {
    RUNTIME: rtds_pb2.Runtime,
    EXTENSION: extension_pb2.TypedExtensionConfig,
    CLUSTER: cluster_pb2.Cluster,
    ENDPOINTS: endpoint_pb2.ClusterLoadAssignment,
    LISTENER: listener_pb2.Listener,
    SCOPES: scoped_route_pb2.ScopedRouteConfiguration,
    ROUTES: route_pb2.RouteConfiguration,
    SECRET: secret_pb2.Secret,
}
WORDS = {
    RUNTIME: "switches",
    EXTENSION: "extensions",
    CLUSTER: "clusters",
    SECRET: "secrets",
    ENDPOINTS: "endpoints",
    LISTENER: "listeners",
    SCOPES: "scopes",
    ROUTES: "routes",
}
"""What people call the types."""
PRIVATE = frozenset(
    {"private_key", "password", "session_ticket_keys", "generic_secret", "users", "credentials"}
)
CERTIFICATES = frozenset({"certificate_chain", "trusted_ca", "crl"})
DIGEST_LETTERS = 12
_CONTENT = ("inline_bytes", "inline_string")


def message(resource: Resource) -> Any:
    """The protobuf message of a resource."""
    return MESSAGES[resource.type_url].FromString(resource.body)


def readable(resource: Resource) -> dict[str, Any]:
    """The resource in Envoy's own field names. Keys and certificates are shown as digests: one
    sees that they changed, not what they are."""
    plain = MessageToDict(message(resource), preserving_proto_field_name=True)
    shown: dict[str, Any] = _without_secrets(plain)
    return shown


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _field(name, item) for name, item in value.items()}
    return [_without_secrets(item) for item in value] if isinstance(value, list) else value


def _field(name: str, value: Any) -> Any:
    if name in PRIVATE:
        return digest(value)
    if name in CERTIFICATES and isinstance(value, dict):
        return {k: digest(v) if k in _CONTENT else v for k, v in value.items()}
    return _without_secrets(value)


def digest(value: Any) -> str:
    """Stands for a value that must not be shown: equal ones have equal digests."""
    found = hashlib.sha256(repr(value).encode()).hexdigest()
    return f"(not shown, sha256 {found[:DIGEST_LETTERS]})"

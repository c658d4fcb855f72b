"""Delta xDS messages as bytes.

A response is put together from the resources' own bytes, which are serialised once and shared by
all streams; nothing is copied into messages first.
"""

from envoy.service.discovery.v3 import discovery_pb2

from weft.xds.delta import Request, Response
from weft.xds.proto import field_head
from weft.xds.resource import Resource

_SYSTEM_VERSION, _RESOURCES, _TYPE_URL, _NONCE, _REMOVED = 1, 2, 4, 5, 6
_RESOURCE_VERSION, _RESOURCE_BODY, _RESOURCE_NAME = 1, 2, 3
_ANY_TYPE_URL, _ANY_VALUE = 1, 2


class MalformedRequest(ValueError):
    """The peer sent bytes that are no DeltaDiscoveryRequest."""


def decode_request(data: bytes) -> Request:
    """Raises MalformedRequest."""
    try:
        message = discovery_pb2.DeltaDiscoveryRequest.FromString(data)
    except Exception as error:
        raise MalformedRequest(str(error)) from error
    return Request(
        type_url=message.type_url,
        nonce=message.response_nonce,
        error=message.error_detail.message if message.HasField("error_detail") else None,
        subscribe=tuple(message.resource_names_subscribe),
        unsubscribe=tuple(message.resource_names_unsubscribe),
        initial_versions=dict(message.initial_resource_versions),
        node=message.node.id,
    )


def encode_response(response: Response) -> bytes:
    """A DeltaDiscoveryResponse."""
    parts: list[bytes] = []
    for resource in response.resources:
        parts.extend(_resource(resource))
    parts.append(_text(_TYPE_URL, response.type_url))
    parts.append(_text(_NONCE, response.nonce))
    parts.append(_text(_SYSTEM_VERSION, response.nonce))
    parts.extend(_text(_REMOVED, name) for name in response.removed)
    return b"".join(parts)


def _resource(resource: Resource) -> tuple[bytes, ...]:
    """The field of one resource, its body untouched."""
    version = _text(_RESOURCE_VERSION, resource.version)
    name = _text(_RESOURCE_NAME, resource.name)
    type_url = _text(_ANY_TYPE_URL, resource.type_url)
    value = field_head(_ANY_VALUE, len(resource.body))
    packed_length = len(type_url) + len(value) + len(resource.body)
    packed = field_head(_RESOURCE_BODY, packed_length)
    length = len(version) + len(name) + len(packed) + packed_length
    return (field_head(_RESOURCES, length), version, name, packed, type_url, value, resource.body)


def _text(field: int, text: str) -> bytes:
    data = text.encode()
    return field_head(field, len(data)) + data

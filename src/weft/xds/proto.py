"""Small builders for the messages that every part of the translation needs."""

import ipaddress
import re
from typing import Any

from envoy.config.core.v3 import address_pb2, config_source_pb2, extension_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import UInt32Value
from xds.core.v3 import cidr_pb2

from weft.xds.resource import Resource, content_version

Proto = Any
"""A protobuf message; xds-protos has no type stubs."""

ADS: Proto = config_source_pb2.ConfigSource(
    ads=config_source_pb2.AggregatedConfigSource(),
    resource_api_version=config_source_pb2.V3,
)
UNLIMITED = 2**32 - 1
MICROS = 1_000_000
_LENGTH_DELIMITED = 2
_VARINT_BITS = 7
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")


def any_of(message: Message) -> AnyMessage:
    """A message packed with its type; the bytes are the same on every run."""
    packed = AnyMessage()
    packed.Pack(message, deterministic=True)
    return packed


def extension(name: str, message: Message) -> Proto:
    return extension_pb2.TypedExtensionConfig(name=name, typed_config=any_of(message))


def duration(seconds: float) -> Duration:
    """Rounded to microseconds, so that 0.1 + 0.2 and 0.3 are one value."""
    micros = round(seconds * MICROS)
    return Duration(seconds=micros // MICROS, nanos=micros % MICROS * 1000)


def uint32(value: int) -> UInt32Value:
    return UInt32Value(value=value)


def socket_address(host: str, port: int, netns: str = "") -> Proto:
    """An address, inside a network namespace when its path is given."""
    return address_pb2.Address(
        socket_address=address_pb2.SocketAddress(
            address=host, port_value=port, network_namespace_filepath=netns
        )
    )


def cidr(text: str) -> Proto:
    """`10.0.0.1` or `10.0.0.0/8`; the caller has checked that it is one (`is_cidr`)."""
    network = ipaddress.ip_network(text, strict=False)
    return address_pb2.CidrRange(
        address_prefix=str(network.network_address), prefix_len=uint32(network.prefixlen)
    )


def xds_cidr(text: str) -> Proto:
    """The same as the message that newer fields have."""
    network = ipaddress.ip_network(text, strict=False)
    return cidr_pb2.CidrRange(
        address_prefix=str(network.network_address), prefix_len=uint32(network.prefixlen)
    )


def is_cidr(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def is_address(text: str) -> bool:
    if _IPV4.fullmatch(text):
        return True
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def resource(
    type_url: str,
    name: str,
    message: Message,
    uses: tuple[str, ...] = (),
    serving: frozenset[str] = frozenset(),
) -> Resource:
    """Serialise a message once; everybody shares these bytes."""
    body = message.SerializeToString(deterministic=True)
    return Resource(type_url, name, content_version(body), body, uses, serving)


def field_head(field: int, length: int) -> bytes:
    """What stands before a string, bytes, or message field on the wire."""
    return _varint(field << 3 | _LENGTH_DELIMITED) + _varint(length)


def embedded(field: int, body: bytes) -> bytes:
    """A serialised message as a field of another one. Messages that stand side by side in bytes
    are one message, so a large one can be put together from parts that were made before."""
    return field_head(field, len(body)) + body


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >> _VARINT_BITS:
        out.append(number & 0x7F | 0x80)
        number >>= _VARINT_BITS
    out.append(number)
    return bytes(out)

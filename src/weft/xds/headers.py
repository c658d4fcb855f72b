"""Header operations in Envoy's words."""

import re

from envoy.config.core.v3 import base_pb2

from weft.mesh.model import Header, HeaderOperations
from weft.xds.proto import Proto

_HOST_NAMES = (":authority", "host")
_OPERATORS = (
    "BYTES_RECEIVED|BYTES_SENT|DOWNSTREAM_[A-Z_]+|DURATION|FILTER_STATE|HOSTNAME|PROTOCOL|REQ"
    "|REQUEST_HEADER|RESP|RESPONSE_[A-Z_]+|ROUTE_NAME|START_TIME|UPSTREAM_[A-Z_]+"
)
_FORMAT = re.compile(rf"%%|%(?:{_OPERATORS})(?:\([^()%]*\))?(?::\d+)?%")


def host_header(operations: HeaderOperations) -> str:
    """The value that the operations give to Host; empty when they do not touch it.

    Envoy changes Host by a route's host rewrite, never by header operations.
    """
    for header in (*operations.set, *operations.add):
        if header.name.lower() in _HOST_NAMES:
            return header.value
    return ""


def headers_to_add(operations: HeaderOperations) -> list[Proto]:
    option = base_pb2.HeaderValueOption
    return [
        *_options(operations.set, option.OVERWRITE_IF_EXISTS_OR_ADD),
        *_options(operations.add, option.APPEND_IF_EXISTS_OR_ADD),
    ]


def headers_to_remove(operations: HeaderOperations) -> list[str]:
    return [name for name in operations.remove if _changeable(name)]


def format_text(value: str) -> str:
    """A value whose `%` stand for themselves, but for Envoy's command operators.

    Istio passes values on as they are, so `%DOWNSTREAM_REMOTE_ADDRESS%` is in use; a lone `%` would
    make Envoy refuse the whole route configuration.
    """
    kept = _FORMAT.findall(value)
    plain = [part.replace("%", "%%") for part in _FORMAT.split(value)]
    return "".join(a + b for a, b in zip(plain, [*kept, ""], strict=True))


def _options(headers: tuple[Header, ...], action: int) -> list[Proto]:
    return [
        base_pb2.HeaderValueOption(
            header=base_pb2.HeaderValue(key=header.name, value=format_text(header.value)),
            append_action=action,
        )
        for header in headers
        if _changeable(header.name)
    ]


def _changeable(name: str) -> bool:
    return not name.startswith(":") and name.lower() not in _HOST_NAMES

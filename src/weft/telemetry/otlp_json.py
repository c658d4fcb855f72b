"""Spans as OTLP's JSON has them: with ids in hexadecimal, and names of today.

Source: OpenTelemetry Protocol Specification 1.x, "JSON Protobuf Encoding".
"""

import base64
import binascii
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

_IDS = ("traceId", "spanId", "parentSpanId")
_OLD_NAMES = {"scopeSpans": "instrumentationLibrarySpans"}


def trace_request(body: Any) -> Any:
    """An ExportTraceServiceRequest from decoded JSON. ValueError."""
    if not isinstance(body, dict):
        raise ValueError("the body is no object")
    try:
        return ParseDict(
            _translated(body),
            trace_service_pb2.ExportTraceServiceRequest(),
            ignore_unknown_fields=True,
            max_recursion_depth=32,
        )
    except (ParseError, TypeError, AttributeError, binascii.Error, RecursionError) as error:
        raise ValueError(str(error)) from error


def _translated(value: Any) -> Any:
    if isinstance(value, list):
        return [_translated(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for name, item in value.items():
        if name in _IDS and isinstance(item, str):
            found[name] = base64.b64encode(bytes.fromhex(item)).decode()
        else:
            found[_OLD_NAMES.get(name, name)] = _translated(item)
    return found

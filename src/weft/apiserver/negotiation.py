"""Which form a client wants: the Accept header, and bodies in JSON or YAML. Pure."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import orjson
import yaml
from msgspec import Struct

from weft.api import yaml_reader
from weft.apiserver import failures, protobuf

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
OFFERED = (JSON, YAML)
SHOWN_BYTES_MAX = 30
"""Of a body that cannot be read."""
Shape = Literal["object", "table", "partial", "discovery"]
_SHAPES: Mapping[str, Shape] = {
    "Table": "table",
    "PartialObjectMetadata": "partial",
    "PartialObjectMetadataList": "partial",
    "APIGroupDiscoveryList": "discovery",
}
_VERSIONS = {
    "table": ("v1", "v1beta1"),
    "partial": ("v1", "v1beta1"),
    "discovery": ("v2", "v2beta1"),
}
_GROUPS = {"table": "meta.k8s.io", "partial": "meta.k8s.io", "discovery": "apidiscovery.k8s.io"}


class Wanted(Struct, frozen=True):
    """A form that we can answer in."""

    media_type: str = JSON
    shape: Shape = "object"
    version: str = ""
    """Of the shape."""


PLAIN = Wanted()


@lru_cache(maxsize=256)
def accept(header: str, shapes: tuple[Shape, ...] = ("object", "table", "partial")) -> Wanted:
    """The first of a client's forms that is served here. Raises ApiError 406."""
    if not header:
        return PLAIN
    ranges = [_media_range(part) for part in header.split(",")]
    for _, media, parameters in sorted(ranges, key=lambda r: -r[0]):
        if media not in (JSON, YAML, "*/*", "application/*"):
            continue
        wanted = Wanted(media_type=YAML if media == YAML else JSON)
        if "as" not in parameters:
            return wanted
        shape = _SHAPES.get(parameters["as"], "object")
        version = parameters.get("v", "")
        if shape == "object" or shape not in shapes or version not in _VERSIONS[shape]:
            continue
        if parameters.get("g") == _GROUPS[shape]:
            return Wanted(wanted.media_type, shape, version)
    raise failures.not_acceptable(OFFERED)


def _media_range(text: str) -> tuple[float, str, dict[str, str]]:
    media, *rest = (part.strip() for part in text.split(";"))
    pairs = (part.partition("=") for part in rest)
    parameters = {key.strip(): value.strip() for key, _, value in pairs}
    try:
        quality = float(parameters.get("q", "1"))
    except ValueError:
        quality = 0.0
    return quality, media.lower(), parameters


def is_for_people(pretty: str, user_agent: str) -> bool:
    """Whether JSON is to be indented: as `?pretty=` says, else for curl, Wget and browsers."""
    if pretty:
        return pretty in ("1", "t", "T", "TRUE", "true", "True")
    return user_agent.startswith(("curl", "Wget", "Mozilla/5.0"))


def indented(body: bytes) -> bytes:
    """JSON text for people to read; as it is when it is none."""
    try:
        return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2)
    except ValueError:
        return body


def parse_body(body: bytes, content_type: str, kind: str = "") -> Any:
    """A request body, of which an object of this kind is expected, as JSON values.

    Raises ApiError 400, 415.
    """
    media = content_type.partition(";")[0].strip().lower()
    if media == PROTOBUF:
        return _parse_protobuf(body)
    if media == YAML or media.endswith("+yaml"):
        return _parse_yaml(body)
    if media not in ("", JSON) and not media.endswith("+json"):
        raise failures.unsupported_media_type(OFFERED)
    return parse_json(body, kind)


def parse_json(body: bytes, kind: str = "") -> Any:
    """Raises ApiError 400."""
    try:
        return orjson.loads(body)
    except ValueError as error:
        text = f"the body is not valid JSON: {error}"
        if kind:
            text = (
                f"the object provided is unrecognized (must be of type {kind}): {text} "
                f"({_beginning(body)})"
            )
        raise failures.bad_request(text) from error


def _beginning(body: bytes) -> str:
    """What a body that cannot be read looks like, for whoever sent something else by mistake."""
    if not body:
        return "<empty>"
    start = body[:SHOWN_BYTES_MAX]
    more = " ..." if len(body) > SHOWN_BYTES_MAX else ""
    return (start.decode(errors="replace") if start[:1] == b"{" else start.hex()) + more


def parse_apply(body: bytes) -> Any:
    """The body of a server-side apply: YAML, which most clients send as JSON. Raises ApiError."""
    try:
        return orjson.loads(body)
    except ValueError:
        return _parse_yaml(body)


def _parse_protobuf(body: bytes) -> Any:
    try:
        found = protobuf.decode(body)
    except protobuf.ProtobufError as error:
        raise failures.bad_request(f"the body is not valid protobuf: {error}") from error
    if isinstance(found, protobuf.UnknownKind):
        error_ = failures.unsupported_media_type(OFFERED)
        error_.message += (
            f" (protobuf is read of Kubernetes' own stable kinds, not of {found.kind or 'none'} in "
            f"{found.api_version or 'no version'}: send JSON)"
        )
        raise error_
    return found


def _parse_yaml(body: bytes) -> Any:
    """None for an empty body. The reader of manifests bounds depth and what aliases repeat."""
    try:
        documents, problems = yaml_reader.read(body.decode())
    except UnicodeDecodeError as error:
        raise failures.bad_request(f"the body is not valid YAML: {error}") from error
    if problems:
        found = problems[0]
        raise failures.bad_request(
            f"the body is not valid YAML: line {found.line}: {found.message}"
        )
    if len(documents) > 1:
        raise failures.bad_request("the body must hold one object, not several YAML documents")
    value = documents[0].value if documents else None
    try:
        orjson.dumps(value)
    except TypeError as error:  # an integer of more than 64 bits
        raise failures.bad_request(f"the body is not valid YAML: {error}") from error
    return value


def to_yaml(body: bytes) -> bytes:
    """JSON text as YAML."""
    text: str = yaml.dump(orjson.loads(body), Dumper=yaml.CSafeDumper, sort_keys=False)
    return text.encode()

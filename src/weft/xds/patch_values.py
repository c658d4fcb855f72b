"""JSON values of patches as messages, and how one message is merged into another."""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import extension_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import FieldDescriptor
from udpa.type.v1 import typed_struct_pb2 as _udpa
from xds.type.v3 import typed_struct_pb2

from weft.mesh.model import EnvoyPatch
from weft.xds.proto import Proto

MESSAGES: Mapping[str, Any] = {
    "LISTENER": listener_pb2.Listener,
    "FILTER_CHAIN": listener_components_pb2.FilterChain,
    "NETWORK_FILTER": listener_components_pb2.Filter,
    "LISTENER_FILTER": listener_components_pb2.ListenerFilter,
    "HTTP_FILTER": hcm_pb2.HttpFilter,
    "ROUTE_CONFIGURATION": route_pb2.RouteConfiguration,
    "VIRTUAL_HOST": route_components_pb2.VirtualHost,
    "HTTP_ROUTE": route_components_pb2.Route,
    "CLUSTER": cluster_pb2.Cluster,
    "EXTENSION_CONFIG": extension_pb2.TypedExtensionConfig,
}
"""What the value of a patch is, by what it is applied to."""
TYPE_STRUCT = f"type.googleapis.com/{typed_struct_pb2.TypedStruct.DESCRIPTOR.full_name}"
TYPE_STRUCTS = (TYPE_STRUCT, f"type.googleapis.com/{_udpa.TypedStruct.DESCRIPTOR.full_name}")
PARSED_KEPT_MAX = 1024
_WHOLE = ("google.protobuf.", "envoy.type.v3.Percent", "envoy.type.v3.FractionalPercent")
"""Messages that are one value: they are replaced, not merged."""


class BadPatchError(Exception):
    """The value of a patch is no message of the kind that it must be."""


def problem(patch: EnvoyPatch) -> str:
    """Why the value of a patch cannot be used; empty when it can."""
    if patch.operation == "REMOVE":
        return ""
    try:
        parsed(patch.apply_to, patch.value)
    except BadPatchError as error:
        return str(error)
    return ""


@lru_cache(maxsize=PARSED_KEPT_MAX)
def parsed(apply_to: str, value: str) -> Proto:
    """The message that a patch brings. Nobody may change it. Raises BadPatchError."""
    try:
        given = _with_known_types(msgspec.json.decode(value))
        return json_format.ParseDict(given, MESSAGES[apply_to]())
    except (json_format.ParseError, msgspec.DecodeError, ValueError, TypeError) as error:
        raise BadPatchError(str(error).replace("\n", " ")) from error


def merge(into: Proto, change: Proto, replaces_lists: bool = False) -> None:
    """Set what the change sets; lists grow, or give way to those of the change; configurations of
    the same type are merged."""
    for field, value in change.ListFields():
        if field.is_repeated and field.message_type and field.message_type.GetOptions().map_entry:
            _merge_map(getattr(into, field.name), value, field)
        elif field.is_repeated:
            if replaces_lists:
                into.ClearField(field.name)
            getattr(into, field.name).extend(value)
        elif field.type != FieldDescriptor.TYPE_MESSAGE:
            setattr(into, field.name, value)
        elif isinstance(value, AnyMessage):
            merge_any(getattr(into, field.name), value)
        elif value.DESCRIPTOR.full_name.startswith(_WHOLE):
            getattr(into, field.name).CopyFrom(value)
        else:
            getattr(into, field.name).SetInParent()
            merge(getattr(into, field.name), value, replaces_lists)


def merge_any(into: AnyMessage, change: AnyMessage) -> None:
    """Merge packed configurations when they are of one type, else take the new one."""
    if into.type_url != change.type_url or change.type_url in TYPE_STRUCTS:
        into.CopyFrom(change)
        return
    kind = _message_class(change.type_url)
    if kind is None:
        into.CopyFrom(change)
        return
    base, more = kind.FromString(into.value), kind.FromString(change.value)
    merge(base, more)
    into.Pack(base, deterministic=True)


def _merge_map(into: Any, change: Any, field: Any) -> None:
    values = field.message_type.fields_by_name["value"]
    for key in change:
        if values.type != FieldDescriptor.TYPE_MESSAGE:
            into[key] = change[key]
        elif isinstance(change[key], AnyMessage):
            merge_any(into[key], change[key])
        else:
            into[key].CopyFrom(change[key])


def _message_class(type_url: str) -> Any:
    try:
        found = descriptor_pool.Default().FindMessageTypeByName(type_url.rpartition("/")[2])
    except KeyError:
        return None
    return message_factory.GetMessageClass(found)


def _with_known_types(value: Any) -> Any:
    """The same, with configurations whose type nobody declares written so that Envoy, which may
    know it, can read them."""
    if isinstance(value, list):
        return [_with_known_types(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {key: _with_known_types(item) for key, item in value.items()}
    type_url = made.get("@type")
    if not isinstance(type_url, str) or _declared(type_url.rpartition("/")[2]):
        return made
    rest = {key: item for key, item in made.items() if key != "@type"}
    return {"@type": TYPE_STRUCT, "type_url": type_url, "value": rest}


@lru_cache(maxsize=PARSED_KEPT_MAX)
def _declared(name: str) -> bool:
    """Whether a message type is known. Types are declared by the modules of their package."""
    package = name.rpartition(".")[0]
    try:
        found = importlib.import_module(package)
        for module in pkgutil.iter_modules(found.__path__):
            if module.name.endswith("_pb2"):
                importlib.import_module(f"{package}.{module.name}")
        descriptor_pool.Default().FindMessageTypeByName(name)
    except (ImportError, KeyError, ValueError, AttributeError):
        return False
    return True

"""Messages that the xds-protos package lacks, declared from their public field numbers.

A field number is part of Envoy's API and never changes; a release of xds-protos that brings the
message itself takes precedence.
"""

from typing import Any

from envoy.config.core.v3 import config_source_pb2, extension_pb2, grpc_service_pb2
from envoy.extensions.filters.common.set_filter_state.v3 import value_pb2
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    message_factory,
    wrappers_pb2,
)

_LABEL_OPTIONAL = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
_LABEL_REPEATED = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
_TYPE_MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
_TYPE_STRING = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
_TYPE_BOOL = descriptor_pb2.FieldDescriptorProto.TYPE_BOOL
_SCALARS = {str: _TYPE_STRING, bool: _TYPE_BOOL}


def _declare(package: str, name: str, fields: tuple[tuple[int, str, Any, bool], ...]) -> Any:
    """The class of message `package.name`; fields are (number, name, type, repeated), the type
    `str`, `bool` or a message."""
    pool = descriptor_pool.Default()
    full_name = f"{package}.{name}"
    try:
        known = pool.FindMessageTypeByName(full_name)
    except KeyError:
        file = descriptor_pb2.FileDescriptorProto(
            name=f"weft/{full_name}.proto", package=package, syntax="proto3"
        )
        message = file.message_type.add(name=name)
        for number, field_name, kind, repeated in fields:
            label = _LABEL_REPEATED if repeated else _LABEL_OPTIONAL
            if kind in _SCALARS:
                scalar = _SCALARS[kind]
                message.field.add(number=number, name=field_name, type=scalar, label=label)
                continue
            descriptor = kind.DESCRIPTOR
            if descriptor.file.name not in file.dependency:
                file.dependency.append(descriptor.file.name)
            message.field.add(
                name=field_name,
                number=number,
                type=_TYPE_MESSAGE,
                type_name=f".{descriptor.full_name}",
                label=label,
            )
        pool.AddSerializedFile(file.SerializeToString())
        known = pool.FindMessageTypeByName(full_name)
    return message_factory.GetMessageClass(known)


ListenerSetFilterState = _declare(
    "envoy.extensions.filters.listener.set_filter_state.v3",
    "Config",
    ((1, "on_accept", value_pb2.FilterStateValue, True),),
)
"""`envoy.filters.listener.set_filter_state`: facts about a connection, set when it is accepted."""

_Scope = _declare(
    "envoy.type.v3",
    "Scope",
    (
        (1, "max_counters", wrappers_pb2.UInt32Value, False),
        (3, "max_histograms", wrappers_pb2.UInt32Value, False),
        (4, "enable_eviction", bool, False),
        (5, "prefix", str, False),
    ),
)
_ScopeField = _declare("weft.xds", "StatsLoggerScope", ((6, "stats_scope", _Scope, False),))


def set_stats_scope(config: Any, prefix: str, most: int = 0) -> None:
    """Set `stats_scope` of a stats access logger's configuration: the prefix of its statistics,
    which may be forgotten when nobody has counted on them for a while. `most` bounds how many
    counters, and how many histograms, there are; 0 does not."""
    scope = _Scope(prefix=prefix, enable_eviction=True)
    if most:
        scope.max_counters.value = scope.max_histograms.value = most
    config.MergeFromString(_ScopeField(stats_scope=scope).SerializeToString())


_TLS = "envoy.extensions.transport_sockets.tls"
FilterStateMapper = _declare(
    f"{_TLS}.cert_mappers.filter_state_override.v3", "Config", ((1, "default_value", str, False),)
)
"""`envoy.tls.upstream_certificate_mappers.filter_state_override`: the certificate that a connection
shows is the one whose name the caller's connection carries."""
OnDemandSecret = _declare(
    f"{_TLS}.cert_selectors.on_demand_secret.v3",
    "Config",
    (
        (1, "config_source", config_source_pb2.ConfigSource, False),
        (2, "certificate_mapper", extension_pb2.TypedExtensionConfig, False),
    ),
)
"""`envoy.tls.certificate_selectors.on_demand_secret`: certificates are asked for when needed."""

_ShadowField = _declare(
    "weft.xds", "LocalRateLimitDescriptorShadow", ((3, "shadow_mode", bool, False),)
)


def set_shadow_mode(descriptor: Any) -> None:
    """Set `shadow_mode` of a LocalRateLimitDescriptor: it counts, and refuses nothing."""
    descriptor.MergeFromString(_ShadowField(shadow_mode=True).SerializeToString())


_LogServiceFields = _declare(
    "weft.xds",
    "OpenTelemetryLogService",
    (
        (9, "grpc_service", grpc_service_pb2.GrpcService, False),
        (10, "log_name", str, False),
        (11, "buffer_flush_interval", duration_pb2.Duration, False),
    ),
)


def set_log_service(config: Any, cluster: str, log_name: str, flush: Any) -> None:
    """Set where an OpenTelemetryAccessLogConfig sends to, over gRPC, and how often (a Duration)."""
    service = grpc_service_pb2.GrpcService(
        envoy_grpc=grpc_service_pb2.GrpcService.EnvoyGrpc(cluster_name=cluster)
    )
    fields = _LogServiceFields(grpc_service=service, log_name=log_name, buffer_flush_interval=flush)
    config.MergeFromString(fields.SerializeToString())


_BudgetInterval = _declare(
    "weft.xds", "RetryBudgetInterval", ((3, "budget_interval", duration_pb2.Duration, False),)
)


def set_budget_interval(budget: Any, interval: Any) -> None:
    """Set `budget_interval` of a RetryBudget: requests of so long (a Duration) count."""
    budget.MergeFromString(_BudgetInterval(budget_interval=interval).SerializeToString())

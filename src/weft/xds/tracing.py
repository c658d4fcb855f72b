"""Spans of requests, reported over OTLP on the connection to the control plane.

How many requests are traced stands in each listener; requests with `x-client-trace-id` from outside
the mesh, or `x-envoy-force-trace` inside, are besides. `traceparent` ties spans together; a
decision in it is none for Envoy. Source: Envoy, "Tracing"; W3C Trace Context.
"""

from envoy.config.core.v3 import extension_pb2, grpc_service_pb2
from envoy.config.trace.v3 import http_tracer_pb2, opentelemetry_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from envoy.extensions.tracers.opentelemetry.resource_detectors.v3 import (
    static_config_resource_detector_pb2,
)
from envoy.type.tracing.v3 import custom_tag_pb2
from envoy.type.v3 import percent_pb2

from weft.mesh.model import NodeSettings, Reporting, SpanTag
from weft.telemetry.edge_labels import Party
from weft.telemetry.traces import resource, service_name
from weft.xds.bootstrap import XDS_CLUSTER
from weft.xds.proto import Proto, any_of, duration
from weft.xds.telemetry import METADATA

EXPORT_SECONDS = 1.0
"""After so long spans that the control plane does not take are dropped."""
DETECTOR = "envoy.tracers.opentelemetry.resource_detectors.static_config"
SPAN_NAME = "%REQUEST_HEADER(:METHOD)% %REQUEST_HEADER(:AUTHORITY)%"
_Tracing = hcm_pb2.HttpConnectionManager.Tracing


def tracing(source: Party, node: NodeSettings, how: Reporting, *, pod: str = "") -> Proto | None:
    """How the spans of a caller's requests are made; None when there are none. A span is the
    caller's call, from the moment that the proxy has the request to the end of the answer. Its
    service is called as Istio calls it, app and namespace; `pod` is the caller's."""
    percent = node.trace_percent if how.trace_percent is None else how.trace_percent
    if not percent:
        return None
    service = grpc_service_pb2.GrpcService(
        envoy_grpc=grpc_service_pb2.GrpcService.EnvoyGrpc(cluster_name=XDS_CLUSTER),
        timeout=duration(EXPORT_SECONDS),
    )
    source = Party(*(part.replace("%%", "%") for part in source))
    about = resource(source.workload, source.namespace, source.version, pod)
    detector = static_config_resource_detector_pb2.StaticConfigResourceDetectorConfig(
        attributes=about
    )
    config = opentelemetry_pb2.OpenTelemetryConfig(
        grpc_service=service,
        service_name=service_name(source.app, source.namespace),
        resource_detectors=[
            extension_pb2.TypedExtensionConfig(name=DETECTOR, typed_config=any_of(detector))
        ],
    )
    return _Tracing(
        random_sampling=percent_pb2.Percent(value=percent),
        provider=http_tracer_pb2.Tracing.Http(
            name="envoy.tracers.opentelemetry", typed_config=any_of(config)
        ),
        operation=SPAN_NAME,
        custom_tags=[_answering(), *(_tag(each) for each in how.span_tags)],
    )


def _tag(wanted: SpanTag) -> Proto:
    tag = custom_tag_pb2.CustomTag(tag=wanted.name)
    if wanted.header:
        tag.request_header.name = wanted.header
        tag.request_header.default_value = wanted.default
    elif wanted.formatter:
        tag.value = wanted.formatter
    else:
        tag.literal.value = wanted.literal
    return tag


def _answering() -> Proto:
    """Which workload answered."""
    tag = custom_tag_pb2.CustomTag(tag="weft.destination")
    tag.metadata.kind.host.SetInParent()
    tag.metadata.metadata_key.key = METADATA
    tag.metadata.metadata_key.path.add(key="party")
    return tag

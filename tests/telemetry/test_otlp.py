"""What a proxy sends over OTLP, as values."""

from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.common.v1 import common_pb2

from weft.telemetry.otlp import Sample, node_name, samples


def attribute(key: str, value: str) -> common_pb2.KeyValue:
    return common_pb2.KeyValue(key=key, value=common_pb2.AnyValue(string_value=value))


def test_counters_gauges_and_histograms() -> None:
    request = metrics_service_pb2.ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.append(attribute("weft.node", "node-1"))
    metrics = resource.instrumentation_library_metrics.add().metrics
    point = metrics.add(name="istio.requests_total").sum.data_points.add(as_int=7)
    point.start_time_unix_nano = 1_795_903_231_573_652
    point.attributes.append(attribute("edge", "a;b"))
    metrics.add(name="load").gauge.data_points.add(as_double=0.5)
    durations = metrics.add(name="istio.request_duration_milliseconds").histogram
    observed = durations.data_points.add(count=3, sum=12.5)
    observed.bucket_counts.extend((1, 2, 0))
    observed.explicit_bounds.extend((5, 10))
    metrics.add(name="summary").summary.data_points.add(count=1)
    assert node_name(resource.resource.attributes) == "node-1"
    assert list(samples(request)) == [
        Sample("istio_requests_total", (("edge", "a;b"),), 7, 1_795_903_231.573652),
        Sample("load", (), 0.5, 0.0),
        Sample("istio_request_duration_milliseconds", (), 12.5, 0.0, (1, 2, 0), (5.0, 10.0)),
    ]


def test_a_resource_without_a_name() -> None:
    assert node_name([attribute("service.name", "x")]) == ""


def test_times_are_nanoseconds_or_what_envoy_takes_for_them() -> None:
    request = metrics_service_pb2.ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().instrumentation_library_metrics.add().metrics
    point = metrics.add(name="x").sum.data_points.add(as_int=1)
    point.start_time_unix_nano = 1_795_903_231_500_000_000
    assert next(samples(request)).since == 1_795_903_231.5

"""Pages of metrics in Prometheus' format."""

from prometheus_client.parser import text_string_to_metric_families

from weft.telemetry.edge_labels import Answer, Callee, Party, folded, tag_value
from weft.telemetry.exposition import unfolded

TAG = (
    tag_value(
        "source",
        "none",
        source=folded(Party("frontend", "shop", "unknown", "frontend", "v1")),
        destination=folded(Party("reviews", "shop", "unknown", 'odd"app\\', "v2")),
        callee=folded(Callee("reviews.shop.svc.cluster.local", "reviews", "shop")),
        answer=folded(Answer("HTTP/1.1", "200", "-", "-")),
    )
    .replace("\\", "\\\\")
    .replace('"', '\\"')
)
PAGE = f"""\
# TYPE envoy_istio_requests_total counter
envoy_istio_requests_total{{edge="{TAG}"}} 7
# TYPE envoy_istio_request_duration_milliseconds histogram
envoy_istio_request_duration_milliseconds_bucket{{edge="{TAG}",le="5"}} 6
envoy_istio_request_duration_milliseconds_bucket{{edge="{TAG}",le="+Inf"}} 7
envoy_istio_request_duration_milliseconds_sum{{edge="{TAG}"}} 21.5
envoy_istio_request_duration_milliseconds_count{{edge="{TAG}"}} 7
# TYPE envoy_server_live gauge
envoy_server_live{{}} 1
"""


def test_a_proxys_page_has_istios_names_and_labels() -> None:
    families = {f.name: f for f in text_string_to_metric_families(unfolded(PAGE))}
    (requests,) = families["istio_requests"].samples
    assert (requests.name, requests.value) == ("istio_requests_total", 7)
    assert requests.labels["source_workload"] == "frontend"
    assert requests.labels["destination_version"] == "v2"
    duration = families["istio_request_duration_milliseconds"]
    assert duration.type == "histogram"
    assert [s.labels.get("le") for s in duration.samples] == ["5", "+Inf", None, None]
    assert all(s.labels["response_code"] == "200" for s in duration.samples)
    assert families["envoy_server_live"].samples[0].value == 1

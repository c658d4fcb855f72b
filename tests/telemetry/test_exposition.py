"""Pages of metrics in Prometheus' format."""

from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from weft.telemetry.edge_labels import Answer, Callee, Party, folded, tag_value, with_changes
from weft.telemetry.exposition import openmetrics, totals_page, unfolded
from weft.telemetry.traffic import Total

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


def test_the_meshs_totals_as_a_page() -> None:
    plain = TAG.replace('\\"', '"').replace("\\\\", "\\")
    totals = {
        ("istio_requests_total", plain): Total(value=7),
        ("istio_request_duration_milliseconds", plain): Total(
            value=21.5, buckets=[6, 0, 1], bounds=(5, 10)
        ),
    }
    page = totals_page(totals)
    families = {f.name: f for f in text_string_to_metric_families(page)}
    assert families["istio_requests"].samples[0].value == 7
    assert families["istio_requests"].samples[0].labels["destination_app"] == 'odd"app\\'
    buckets = families["istio_request_duration_milliseconds"].samples
    assert [(s.labels.get("le"), s.value) for s in buckets] == [
        ("5", 6), ("10", 6), ("+Inf", 7), (None, 21.5), (None, 7),
    ]  # fmt: skip
    strict = list(openmetrics_families(openmetrics(page)))
    assert {f.name for f in strict} == {"istio_requests", "istio_request_duration_milliseconds"}


def test_series_that_only_left_out_labels_tell_apart_are_one() -> None:
    plain = TAG.replace('\\"', '"').replace("\\\\", "\\")
    tags = [
        with_changes(plain.replace("|200|", f"|{code}|"), [("response_code", None)])
        for code in (200, 503)
    ]
    totals = {("istio_requests_total", tag): Total(value=7) for tag in tags}
    (family,) = text_string_to_metric_families(totals_page(totals))
    (sample,) = family.samples
    assert (sample.value, "response_code" in sample.labels) == (14, False)

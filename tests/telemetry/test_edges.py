"""Edges from a metrics page."""

from weft.telemetry.edges import EdgeKey, parse_edges, quantile_ms, since

LABELS = (
    'source_workload="web",source_workload_namespace="shop",destination_workload="db",'
    'destination_workload_namespace="shop",destination_version="v1",request_protocol="http"'
)
PAGE = f"""# TYPE istio_requests_total counter
istio_requests_total{{{LABELS},response_code="200"}} %d
istio_requests_total{{{LABELS},response_code="503"}} %d
# TYPE istio_request_duration_milliseconds histogram
istio_request_duration_milliseconds_bucket{{{LABELS},le="1"}} 0
istio_request_duration_milliseconds_bucket{{{LABELS},le="5"}} 5
istio_request_duration_milliseconds_bucket{{{LABELS},le="10"}} 10
istio_request_duration_milliseconds_bucket{{{LABELS},le="+Inf"}} 10
istio_request_duration_milliseconds_sum{{{LABELS}}} 50
istio_request_duration_milliseconds_count{{{LABELS}}} 10
"""
KEY = EdgeKey("web", "shop", "db", "shop", "v1", "http")


def test_counts_and_errors() -> None:
    (edge,) = parse_edges([PAGE % (8, 2)])
    assert (edge.key, edge.requests, edge.errors) == (KEY, 10, 2)


def test_several_proxies_add_up() -> None:
    (edge,) = parse_edges([PAGE % (8, 2), PAGE % (1, 0)])
    assert (edge.requests, edge.errors) == (11, 2)


def test_interval() -> None:
    before, after = parse_edges([PAGE % (8, 2)]), parse_edges([PAGE % (20, 3)])
    (edge,) = since(before, after)
    assert (edge.requests, edge.errors) == (13, 1)
    assert since(after, after) == ()


def test_restarted_proxy_counts_from_zero() -> None:
    (edge,) = since(parse_edges([PAGE % (100, 0)]), parse_edges([PAGE % (5, 0)]))
    assert edge.requests == 5


def test_quantile_is_interpolated() -> None:
    (edge,) = parse_edges([PAGE % (10, 0)])
    assert quantile_ms(edge, 0.5) == 5.0
    assert quantile_ms(edge, 0.75) == 7.5

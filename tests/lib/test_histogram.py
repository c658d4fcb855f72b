"""Histograms as Prometheus reads them."""

from prometheus_client.parser import text_string_to_metric_families

from weft.lib.histogram import Histogram


def test_buckets_are_cumulative_and_bounds_belong_to_them() -> None:
    found = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7):
        found.add(value)
    text = "\n".join(("# TYPE x histogram", *found.lines("x", 'verb="GET"'), ""))
    (family,) = text_string_to_metric_families(text)
    assert [(s.name, s.labels.get("le"), s.value) for s in family.samples] == [
        ("x_bucket", "0.1", 2), ("x_bucket", "1", 3), ("x_bucket", "+Inf", 4),
        ("x_sum", None, 7.65), ("x_count", None, 4),
    ]  # fmt: skip
    assert {s.labels["verb"] for s in family.samples} == {"GET"}
    assert next(Histogram((1.0,)).lines("y")) == 'y_bucket{le="1"} 0'

"""Spans of a caller's requests."""

import pytest
from google.protobuf.json_format import MessageToDict

from weft.mesh.model import Endpoint, NodeSettings, Reporting, SpanTag
from weft.telemetry.edge_labels import Party
from weft.xds.telemetry import endpoint_metadata
from weft.xds.tracing import tracing


def test_spans_are_the_callers() -> None:
    party = Party("web-v1", "shop", "unknown", "web", "v1")
    assert tracing(party, NodeSettings("n"), Reporting()) is None
    tags = (SpanTag("env", literal="prod"), SpanTag("user", header="x-user", default="nobody"))
    how = Reporting(trace_percent=50, span_tags=tags)
    made = tracing(party, NodeSettings("n", trace_percent=1.0), how, pod="web-v1-x")
    assert made is not None
    found = MessageToDict(made, preserving_proto_field_name=True)
    assert found["provider"]["typed_config"]["service_name"] == "web.shop"
    (detector,) = found["provider"]["typed_config"]["resource_detectors"]
    assert detector["typed_config"]["attributes"] == {
        "weft.workload": "web-v1",
        "k8s.namespace.name": "shop",
        "k8s.pod.name": "web-v1-x",
        "service.version": "v1",
    }
    assert found["custom_tags"][0]["metadata"]["metadata_key"]["path"] == [{"key": "party"}]
    assert found["random_sampling"] == {"value": 50.0}
    assert found["custom_tags"][1:] == [
        {"tag": "env", "literal": {"value": "prod"}},
        {"tag": "user", "request_header": {"name": "x-user", "default_value": "nobody"}},
    ]


@pytest.mark.parametrize(
    ("labels", "app"),
    [
        ((), "web-v1"),
        ((("app", "web"),), "web"),
        ((("app", "web"), ("app.kubernetes.io/name", "shop")), "shop"),
        ((("app", "web"), ("service.istio.io/canonical-name", "main")), "main"),
    ],
)
def test_who_answers_is_named_by_the_same_labels(
    labels: tuple[tuple[str, str], ...], app: str
) -> None:
    endpoint = Endpoint("10.0.0.1", 80, workload="web-v1", namespace="shop", labels=labels)
    made = endpoint_metadata(endpoint)
    assert made is not None
    party = made.filter_metadata["weft"]["party"]
    assert party.split("|")[3] == app

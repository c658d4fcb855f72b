"""Spans of a caller's requests."""

from google.protobuf.json_format import MessageToDict

from weft.telemetry.edge_labels import Party
from weft.xds.tracing import tracing


def test_spans_are_the_callers() -> None:
    party = Party("web", "shop", "unknown", "web", "v1")
    found = MessageToDict(tracing(party), preserving_proto_field_name=True)
    assert found["provider"]["typed_config"]["service_name"] == "web.shop"
    assert found["custom_tags"][0]["metadata"]["metadata_key"]["path"] == [{"key": "party"}]

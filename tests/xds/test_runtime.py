"""Switches as a proxy gets them."""

from google.protobuf.json_format import MessageToDict

from weft.xds.readable import message
from weft.xds.runtime import runtime


def test_shares_are_exact() -> None:
    found = MessageToDict(message(runtime(25, 0.5)), preserving_proto_field_name=True)
    share = {"numerator": 50.0, "denominator": "TEN_THOUSAND"}
    assert found == {
        "name": "weft",
        "layer": {"weft.tap": 25.0, "tracing.random_sampling": share},
    }

"""Switches as a proxy gets them."""

from google.protobuf.json_format import MessageToDict

from weft.xds.readable import message
from weft.xds.runtime import runtime


def test_the_share_of_requests_that_is_looked_at() -> None:
    found = MessageToDict(message(runtime(25)), preserving_proto_field_name=True)
    assert found == {"name": "weft", "layer": {"weft.tap": 25.0}}

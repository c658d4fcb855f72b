"""Messages arrive whole, however the bytes do."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from weft.node.podhost.wire import FRAME_BYTES_MAX, Frames, encode

MESSAGES = st.lists(st.dictionaries(st.text(max_size=5), st.text() | st.integers()), max_size=5)


@examples(50)
@given(MESSAGES, st.integers(1, 40))
def test_messages_survive_any_split(messages: list[dict[str, object]], size: int) -> None:
    data = b"".join(encode(message) for message in messages)
    frames = Frames()
    received = [
        message
        for start in range(0, len(data), size)
        for message in frames.feed(data[start : start + size])
    ]
    assert received == messages


def test_what_is_not_the_protocol_is_refused() -> None:
    with pytest.raises(ValueError, match="frame of"):
        Frames().feed(b"GET / HTTP/1.1\r\n")
    with pytest.raises(ValueError, match="an object"):
        Frames().feed(struct.pack(">I", 2) + b"[]")
    with pytest.raises(ValueError, match="at most"):
        encode({"x": "y" * FRAME_BYTES_MAX})

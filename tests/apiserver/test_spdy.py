"""SPDY frames: both directions agree, pieces of any size, and what is broken is an error."""

import contextlib
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.apiserver import spdy

HEADERS = {"streamtype": "data", "port": "8080", "requestid": "0"}


def test_the_dictionary_is_the_drafts() -> None:
    assert (len(spdy.DICTIONARY), zlib.adler32(spdy.DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_streams_are_opened_filled_and_ended() -> None:
    encoder = spdy.Encoder()
    sent = encoder.open(1, HEADERS) + encoder.open(3, {"StreamType": "error"})
    sent += spdy.data(1, b"abc") + spdy.data(1, b"", fin=True) + spdy.reset(3) + spdy.goaway()
    frames = spdy.Decoder().feed(sent)
    assert [(f.kind, f.stream) for f in frames] == [
        ("open", 1), ("open", 3), ("data", 1), ("data", 1), ("reset", 3), ("goaway", 0),
    ]  # fmt: skip
    assert frames[0].headers == HEADERS
    assert frames[1].headers == {"streamtype": "error"}
    assert (frames[2].data, frames[2].fin, frames[3].fin) == (b"abc", False, True)


@given(st.lists(st.integers(1, 40), min_size=1))
def test_frames_may_come_in_any_pieces(sizes: list[int]) -> None:
    encoder = spdy.Encoder()
    sent = encoder.open(1, HEADERS) + spdy.data(1, b"x" * 100) + encoder.open(3, HEADERS)
    decoder, frames, at = spdy.Decoder(), [], 0
    while at < len(sent):
        size = sizes[at % len(sizes)]
        frames += decoder.feed(sent[at : at + size])
        at += size
    assert [f.kind for f in frames] == ["open", "data", "open"]


def test_replies_keep_the_compression_in_step() -> None:
    encoder, decoder = spdy.Encoder(), spdy.Decoder()
    assert decoder.feed(encoder.reply(1)) == []
    (frame,) = decoder.feed(encoder.open(5, HEADERS))
    assert frame.headers == HEADERS


def test_a_ping_is_answered_with_itself() -> None:
    ping = struct.pack(">III", 0x8003_0006, 4, 7)
    (frame,) = spdy.Decoder().feed(ping)
    assert (frame.kind, frame.data) == ("ping", ping)


def test_a_bomb_of_headers_is_refused() -> None:
    encoder = spdy.Encoder()
    bomb = encoder.open(1, {"a": "x" * (spdy.HEADER_BYTES_MAX + 1)})
    with pytest.raises(spdy.SpdyError, match="headers of more than"):
        spdy.Decoder().feed(bomb)


@given(st.binary(min_size=8, max_size=200))
def test_garbage_is_frames_or_an_error(data: bytes) -> None:
    with contextlib.suppress(spdy.SpdyError):
        spdy.Decoder().feed(data)

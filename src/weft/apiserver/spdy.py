"""SPDY/3.1 frames, as far as Kubernetes' streams use them: no flow control, no server push.

Source: the SPDY/3.1 draft, and what client-go's spdystream sends. Pure: bytes in, frames out.
"""

import struct
import zlib
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

FRAME_BYTES_MAX = 1 << 20
"""Clients send data frames of at most 64 KiB or so; more is no client of ours."""
HEADER_BYTES_MAX = 64 * 1024
"""Of an unpacked header block."""
FIN = 1
_VERSION = 3
_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _SETTINGS = 1, 2, 3, 4
_PING, _GOAWAY, _HEADERS, _WINDOW_UPDATE = 6, 7, 8, 9
RESET_REFUSED, RESET_CANCEL = 3, 5

_NAMES = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language "
    "accept-ranges age allow authorization cache-control connection content-base content-encoding "
    "content-language content-length content-location content-md5 content-range content-type date "
    "etag expect expires from host if-match if-modified-since if-none-match if-range "
    "if-unmodified-since last-modified location max-forwards pragma proxy-authenticate "
    "proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
)
_MORE = ("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
    "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
    "503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, "
    "Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    "application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdch"
    "charset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _string(text: str) -> bytes:
    raw = text.encode("latin-1")
    return struct.pack(">I", len(raw)) + raw


DICTIONARY = b"".join(map(_string, (*_NAMES.split(" "), *_MORE))) + _TEXT.encode()
"""Both sides compress header blocks with it (section 2.6.10.1 of the draft)."""


class SpdyError(Exception):
    """The other side does not speak SPDY/3.1: hang up."""


class Frame(Struct, frozen=True):
    """What happened on a stream. `fin`: its sender writes no more."""

    kind: Literal["open", "data", "reset", "ping", "goaway"]
    stream: int = 0
    data: bytes = b""
    """Of data frames; of a ping its whole frame, which is the answer to it."""
    headers: Mapping[str, str] = {}
    fin: bool = False


class Decoder:
    """One direction of one connection."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames completed by `data`. Raises SpdyError."""
        self._rest += data
        frames: list[Frame] = []
        position = 0
        while len(self._rest) - position >= 8:
            first, second = struct.unpack_from(">II", self._rest, position)
            size = second & 0xFF_FFFF
            if size > FRAME_BYTES_MAX:
                raise SpdyError(f"a frame of {size} bytes")
            if len(self._rest) - position < 8 + size:
                break
            body = bytes(self._rest[position + 8 : position + 8 + size])
            frame = self._frame(first, second >> 24, body)
            if frame is not None:
                frames.append(frame)
            position += 8 + size
        del self._rest[:position]
        return frames

    def _frame(self, first: int, flags: int, body: bytes) -> Frame | None:
        if not first & 0x8000_0000:
            return Frame("data", first, body, fin=bool(flags & FIN))
        version, kind = first >> 16 & 0x7FFF, first & 0xFFFF
        if version != _VERSION:
            raise SpdyError(f"a frame of version {version}")
        try:
            return self._control(kind, flags, body)
        except (struct.error, zlib.error) as error:
            raise SpdyError(f"a broken frame of type {kind}: {error}") from error

    def _control(self, kind: int, flags: int, body: bytes) -> Frame | None:
        if kind == _SYN_STREAM:
            (stream,) = struct.unpack_from(">I", body)
            headers = self._headers(body[10:])
            return Frame("open", stream & 0x7FFF_FFFF, headers=headers, fin=bool(flags & FIN))
        if kind in (_SYN_REPLY, _HEADERS):  # unpacked all the same: the compression has a memory
            self._headers(body[4:])
        if kind == _RST_STREAM:
            (stream,) = struct.unpack_from(">I", body)
            return Frame("reset", stream & 0x7FFF_FFFF)
        if kind == _PING:
            return Frame("ping", data=_control(_PING, 0, body))
        return Frame("goaway") if kind == _GOAWAY else None

    def _headers(self, packed: bytes) -> dict[str, str]:
        raw = self._inflate.decompress(packed, HEADER_BYTES_MAX)
        if self._inflate.unconsumed_tail:
            raise SpdyError(f"headers of more than {HEADER_BYTES_MAX} bytes")
        (count,) = struct.unpack_from(">I", raw)
        if count > len(raw) // 8:
            raise SpdyError(f"{count} headers in {len(raw)} bytes")
        position, texts = 4, []
        for _ in range(2 * count):
            (size,) = struct.unpack_from(">I", raw, position)
            texts.append(raw[position + 4 : position + 4 + size].decode("latin-1"))
            position += 4 + size
        names = (name.lower() for name in texts[::2])
        return dict(zip(names, texts[1::2], strict=True))


class Encoder:
    """The other direction. Frames must be sent in the order they were made."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def reply(self, stream: int) -> bytes:
        """Accept a stream that the other side opened."""
        body = struct.pack(">I", stream) + self._headers({})
        return _control(_SYN_REPLY, 0, body)

    def open(self, stream: int, headers: Mapping[str, str]) -> bytes:
        """Open a stream (clients; their numbers are odd)."""
        body = struct.pack(">IIH", stream, 0, 0) + self._headers(headers)
        return _control(_SYN_STREAM, 0, body)

    def _headers(self, headers: Mapping[str, str]) -> bytes:
        raw = struct.pack(">I", len(headers))
        raw += b"".join(_string(text) for pair in headers.items() for text in pair)
        return self._deflate.compress(raw) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


def data(stream: int, payload: bytes, *, fin: bool = False) -> bytes:
    """A data frame; at most FRAME_BYTES_MAX."""
    return struct.pack(">II", stream, (FIN << 24 if fin else 0) | len(payload)) + payload


def reset(stream: int, status: int = RESET_CANCEL) -> bytes:
    """End a stream both ways at once."""
    return _control(_RST_STREAM, 0, struct.pack(">II", stream, status))


def goaway() -> bytes:
    """No more streams."""
    return _control(_GOAWAY, 0, struct.pack(">II", 0, 0))


def _control(kind: int, flags: int, body: bytes) -> bytes:
    head = 0x8000_0000 | _VERSION << 16 | kind
    return struct.pack(">II", head, flags << 24 | len(body)) + body

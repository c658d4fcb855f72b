"""Requests and frames of HTTP/2 that no sound client sends."""

import socket

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, ResponseReceived, StreamReset
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HIDDEN = b"GET /admin HTTP/1.1\r\nHost: open.example\r\n\r\n"
Place = tuple[str | None, int | None]
Headers = list[tuple[str, str]]


def answer(place: Place, headers: Headers, body: bytes = b"") -> str:
    """The status, or `reset` or `closed`; headers are sent as they are, sound or not."""
    raw_headers = H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
    http2 = H2Connection(raw_headers)
    http2.initiate_connection()
    http2.send_headers(1, headers, end_stream=not body)
    if body:
        http2.send_data(1, body, end_stream=True)
    with socket.create_connection(place, timeout=20) as connection:
        connection.sendall(http2.data_to_send())
        while data := connection.recv(65536):
            for event in http2.receive_data(data):
                if isinstance(event, ResponseReceived):
                    return dict(event.headers)[b":status"].decode()
                if isinstance(event, StreamReset):
                    return "reset"
                if isinstance(event, ConnectionTerminated):
                    return "closed"
            connection.sendall(http2.data_to_send())
    return "closed"


def head(path: str = "/echo", method: str = "POST", host: str = "open.example") -> Headers:
    return [(":method", method), (":scheme", "http"), (":authority", host), (":path", path)]


SMUGGLING: dict[str, tuple[Headers, bytes]] = {
    "chunks": ([*head(), ("transfer-encoding", "chunked")], b"0\r\n\r\n" + HIDDEN),
    "a length of nothing": ([*head(), ("content-length", "0")], HIDDEN),
    "too great a length": ([*head(), ("content-length", "999")], HIDDEN),
    "two lengths": ([*head(), ("content-length", "3"), ("content-length", "0")], b"abc"),
    "a line in a value": ([*head(), ("x-a", "b\r\ntransfer-encoding: chunked")], HIDDEN),
    "a line in a name": ([*head(), ("x-a: b\r\nx-c", "d")], HIDDEN),
    "a request in a value": ([*head(), ("x-a", f"b\r\n\r\n{HIDDEN.decode()}")], b""),
    "a line in the path": (head("/echo HTTP/1.1\r\nx-a: b\r\nx-c:"), b""),
    "a request in the method": (head(method="GET /admin HTTP/1.1\r\nx-a: b\r\n\r\nGET"), b""),
    "a line in the host": (head(host="open.example\r\nx-a: b"), b""),
    "a null byte": ([*head(), ("x-a", "b\x00c")], b""),
    "headers of a connection": ([*head(), ("connection", "x-a"), ("x-a", "b")], b""),
    "two paths": ([*head(), (":path", "/admin")], b""),
    "a host beside the authority": ([*head("/admin", "GET"), ("host", "front.example")], b""),
}


def _opened(number: int, *flags: str) -> HeadersFrame:
    made = HeadersFrame(number, Encoder().encode(head("/slow?seconds=5", "GET")))
    made.flags |= set(flags)
    return made


FLOODS: dict[str, list[Frame]] = {
    "streams that are reset at once": [
        frame
        for number in range(1, 8001, 2)
        for frame in (_opened(number, "END_HEADERS", "END_STREAM"), RstStreamFrame(number, 8))
    ],
    "headers that go on": [_opened(1), *[ContinuationFrame(1, b"\x00\x01a\x01b" * 3200)] * 1000],
    "headers that go on, empty": [_opened(1), *[ContinuationFrame(1)] * 5000],
    "data of nothing": [_opened(1, "END_HEADERS"), *[DataFrame(1)] * 5000],
}


def hangs_up(place: Place, frames: list[Frame]) -> bool:
    """Whether the server ends a connection on which these come."""
    sent = b"".join(frame.serialize() for frame in (SettingsFrame(0), *frames))
    with socket.create_connection(place, timeout=8) as connection:
        try:
            connection.sendall(PREFACE + sent)
            while connection.recv(65536):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            pass  # it did not take all of them
        return True

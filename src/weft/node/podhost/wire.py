"""Frames between pod host, log writer and their clients: 4 bytes length, then JSON."""

import json
import struct
from typing import Any

FRAME_BYTES_MAX = 16 << 20
EXEC_OUTPUT_BYTES_MAX = 1 << 20
MESSAGE_FDS_MAX = 3
"""Descriptors that come with one message, whose field `fds` says how many."""
PROTOCOL_VERSION = 1
SOCKET_NAME = "podhost.sock"
LOG_SOCKET_NAME = "logwriter.sock"

Message = dict[str, Any]


def encode(message: Message) -> bytes:
    """One frame. ValueError when it is larger than FRAME_BYTES_MAX."""
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > FRAME_BYTES_MAX:
        raise ValueError(f"message of {len(body)} bytes, at most {FRAME_BYTES_MAX} are possible")
    return struct.pack(">I", len(body)) + body


class Frames:
    """Bytes in, whole messages out."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Message]:
        """The messages completed by `data`. ValueError: not our protocol, hang up."""
        buffer = self._rest + data
        messages: list[Message] = []
        while len(buffer) >= 4:
            size = struct.unpack_from(">I", buffer)[0]
            if size > FRAME_BYTES_MAX:
                raise ValueError(f"frame of {size} bytes")
            if len(buffer) < 4 + size:
                break
            message = json.loads(buffer[4 : 4 + size])
            if not isinstance(message, dict):
                raise ValueError("a message is an object")
            messages.append(message)
            buffer = buffer[4 + size :]
        self._rest = buffer
        return messages

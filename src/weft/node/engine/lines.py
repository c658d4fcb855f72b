"""An engine's log stream to lines of the Container Runtime Interface's log format. Pure.

Each line keeps the time that the engine gave it, so that what is read again is known again.
"""

import datetime
import struct
from collections import Counter
from collections.abc import Iterable

from weft.node.logwriter.lines import PARTIAL_LINE_BYTES

OVERLAP_SECONDS = 1
"""Read again after an interruption: whole seconds, Podman's API tells no more."""
_HEADER = struct.Struct(">BxxxI")
_STREAMS = {0: "stdout", 1: "stdout", 2: "stderr"}
FRAME_BYTES_MAX = 16 << 20


class Frames:
    """Takes pieces of a stream that holds stdout and stderr; gives (stream, bytes)."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """ValueError for what is no such stream."""
        data = self._rest + data
        found: list[tuple[str, bytes]] = []
        at = 0
        while len(data) - at >= _HEADER.size:
            kind, size = _HEADER.unpack_from(data, at)
            if kind not in _STREAMS or size > FRAME_BYTES_MAX:
                raise ValueError("no stream of frames")
            end = at + _HEADER.size + size
            if end > len(data):
                break
            found.append((_STREAMS[kind], data[at + _HEADER.size : end]))
            at = end
        self._rest = data[at:]
        return found


class Plain:
    """The same for a terminal's output, which has no frames: whole lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [("stdout", line + b"\n") for line in lines]

    def end(self) -> list[tuple[str, bytes]]:
        rest, self._rest = self._rest, b""
        return [("stdout", rest)] if rest else []


class Joined:
    """Takes pieces of a log file that Podman's monitor wrote, which ends a line (tag P) wherever a
    read of its pipe did; gives whole lines."""

    def __init__(self) -> None:
        self._rest = b""
        self._parts: dict[bytes, tuple[bytes, bytes]] = {}
        """By stream: when the line that is not whole began, and what there is of it."""

    def feed(self, data: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        found: list[bytes] = []
        for line in lines:
            fields = line.split(b" ", 3)
            if len(fields) < 4:
                continue
            stamp, stream, tag, text = fields
            if stream in self._parts:
                stamp, before = self._parts.pop(stream)
                text = before + text
            if not tag.startswith(b"P"):
                found.append(b"%s %s F %s\n" % (utc(stamp), stream, text))
            elif len(text) >= PARTIAL_LINE_BYTES:
                found.append(b"%s %s P %s\n" % (utc(stamp), stream, text))
            else:
                self._parts[stream] = stamp, text
        return found

    def end(self) -> list[bytes]:
        """What had no end of its line."""
        parts, self._parts = self._parts, {}
        return [b"%s %s F %s\n" % (utc(at), name, text) for name, (at, text) in parts.items()]


def line_of(stream: str, text: bytes) -> bytes:
    """`<time> <text>[newline]` as a CRI line. A part of a long line has no newline."""
    stamp, _, rest = text.partition(b" ")
    whole = rest.endswith(b"\n")
    body = rest.rstrip(b"\n").replace(b"\n", b" ")
    tag = b"F" if whole else b"P"
    return utc(stamp) + b" " + stream.encode() + b" " + tag + b" " + body + b"\n"


def utc(stamp: bytes) -> bytes:
    """The time with nanoseconds, in UTC."""
    if stamp.endswith((b"Z", b"+00:00")):
        head, _, fraction = stamp.removesuffix(b"Z").removesuffix(b"+00:00").partition(b".")
    else:
        head, fraction = _shifted(stamp)
    return head + b"." + fraction.ljust(9, b"0")[:9] + b"Z"


def _shifted(stamp: bytes) -> tuple[bytes, bytes]:
    """A time of another zone; one that cannot be read stays."""
    try:
        text, zone = stamp[:-6].decode(), stamp[-6:].decode()
        head, _, fraction = text.partition(".")
        at = datetime.datetime.fromisoformat(head + zone).astimezone(datetime.UTC)
    except ValueError:
        return stamp, b""
    return at.strftime("%Y-%m-%dT%H:%M:%S").encode(), fraction.encode()


class Seen:
    """Drops lines that the log file has already, after a stream began again."""

    def __init__(self, newest_first: Iterable[bytes] = ()) -> None:
        """Lines of the file."""
        self._known: Counter[bytes] = Counter()
        self.since = 0
        """From when on the stream is to be read, seconds since the epoch; 0 is all of it."""
        for line in newest_first:
            at = second_of(line)
            if not self.since:
                self.since = max(0, at - OVERLAP_SECONDS)
            if at < self.since - OVERLAP_SECONDS:
                break
            self._known[line] += 1

    def is_new(self, line: bytes) -> bool:
        if not self.since:
            return True
        if second_of(line) < self.since:
            return False
        line = line.rstrip(b"\n")
        if not self._known.get(line):
            return True
        self._known[line] -= 1
        return False


def second_of(line: bytes) -> int:
    """When a CRI line was written; 0 when it does not say."""
    try:
        return int(datetime.datetime.fromisoformat(line[:19].decode() + "+00:00").timestamp())
    except ValueError:
        return 0

"""Chunks of output to lines of the Container Runtime Interface's log format. Pure."""

PARTIAL_LINE_BYTES = 16 * 1024
"""A line this long without its end is written in parts tagged P, as container runtimes do."""


class Lines:
    """Turns one stream into `<time> <stream> F|P <line>`; one time stamp for each chunk."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self._full = f" {stream} F ".encode()
        self._partial = f" {stream} P ".encode()
        self._rest = b""

    def feed(self, chunk: bytes, stamp: bytes) -> bytes:
        """Lines to write now; what follows the last newline waits for more."""
        data = self._rest + chunk
        end = data.rfind(b"\n")
        self._rest = data[end + 1 :]
        lines = b""
        if end >= 0:
            full = stamp + self._full
            lines = full + data[:end].replace(b"\n", b"\n" + full) + b"\n"
        while len(self._rest) >= PARTIAL_LINE_BYTES:
            part, self._rest = self._rest[:PARTIAL_LINE_BYTES], self._rest[PARTIAL_LINE_BYTES:]
            lines += stamp + self._partial + part + b"\n"
        return lines

    def end(self, stamp: bytes) -> bytes:
        """The last line when it had no newline."""
        rest, self._rest = self._rest, b""
        return stamp + self._full + rest + b"\n" if rest else b""

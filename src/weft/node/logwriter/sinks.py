"""Those who listen to a container as it prints: each a pipe, which holds the container up when it
is full, for a while."""

import os
import select
import time

STUCK_SECONDS_MAX = 30.0
"""A listener that takes nothing for so long is cut off, and the container goes on."""


class Sink:
    """One pipe of one listener."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self.pending = b""
        self.since = 0.0
        self.ended = False
        """Nothing more comes: closed as soon as everything is written."""

    def offer(self, data: bytes) -> bool:
        """Write what fits, keep the rest; False when nobody listens any more."""
        if not self.pending:
            self.since = time.monotonic()
        self.pending += data
        return self.flush()

    def flush(self) -> bool:
        while self.pending:
            try:
                written = os.write(self.fd, self.pending)
            except BlockingIOError:
                return True
            except OSError:
                return False
            self.since = time.monotonic()
            self.pending = self.pending[written:]
        return True

    @property
    def events(self) -> int:
        """What to poll for; that the other end is gone is always told."""
        return select.EPOLLOUT if self.pending else 0

    @property
    def stuck(self) -> bool:
        return bool(self.pending) and time.monotonic() - self.since > STUCK_SECONDS_MAX

"""Pipes and terminals on the event loop: reads and writes that wait, with the kernel's own
back-pressure and nothing buffered in between."""

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable

READ_BYTES = 1 << 16


class FdStream:
    """Owns a descriptor, which becomes non-blocking. One reader and one writer at a time."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def fd(self) -> int:
        """-1 once closed."""
        return self._fd

    async def read(self, size: int = READ_BYTES) -> bytes:
        """What is there, waiting for the first byte; b"" at the end (of a terminal too)."""
        loop = asyncio.get_running_loop()
        while self._fd >= 0:
            try:
                return os.read(self._fd, size)
            except BlockingIOError:
                await self._ready(loop.add_reader, loop.remove_reader)
            except OSError as error:
                if error.errno != errno.EIO:  # the other side of a terminal is gone
                    raise
                return b""
        return b""

    async def write(self, data: bytes) -> None:
        """All of it. BrokenPipeError when nobody reads any more."""
        loop = asyncio.get_running_loop()
        left = memoryview(data)
        while left:
            if self._fd < 0:
                raise BrokenPipeError(errno.EPIPE, "closed")
            try:
                left = left[os.write(self._fd, left) :]
            except BlockingIOError:
                await self._ready(loop.add_writer, loop.remove_writer)
            except OSError as error:
                raise BrokenPipeError(error.errno, error.strerror) from error

    async def _ready(self, add: Callable[..., object], remove: Callable[[int], object]) -> None:
        waiter = asyncio.get_running_loop().create_future()
        fd = self._fd
        self._waiting.add(waiter)
        add(fd, _wake, waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)
            if self._fd == fd:
                remove(fd)

    def close(self) -> None:
        """Idempotent; whoever waits for it finds the end."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        with contextlib.suppress(RuntimeError):  # no loop any more
            loop = asyncio.get_running_loop()
            loop.remove_reader(fd)
            loop.remove_writer(fd)
        for waiter in self._waiting:
            _wake(waiter)
        os.close(fd)


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)

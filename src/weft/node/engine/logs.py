"""Copies what an engine's container prints into its log file, from where the file ends.

The engine keeps the output while weft is away; whoever comes back reads on.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from weft.node.engine.api import EngineApi, EngineError
from weft.node.engine.lines import Frames, Joined, Plain, Seen, line_of
from weft.node.logs import newest_lines
from weft.node.logwriter.server import FILE_BYTES_MAX, rotate

log = logging.getLogger("weft.node")

AGAIN_SECONDS = 0.5
"""Before a stream that broke off is asked for again."""
LOOK_SECONDS = 0.1
"""Between two looks at a file of the engine's."""
_GONE = 404
_BLOCK_BYTES = 1 << 16


class LogFile:
    """One container's log, appended to and rotated."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._size = 0

    def write(self, data: bytes) -> None:
        """What cannot be written (full disk) is dropped."""
        try:
            if self._fd < 0:
                os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._fd = os.open(self._path, flags, 0o640)
                self._size = os.fstat(self._fd).st_size
                self._cut_half_line()
            while data:
                written = os.write(self._fd, data)
                self._size += written
                data = data[written:]
            if self._size >= FILE_BYTES_MAX:
                self.close()
                rotate(self._path)
        except OSError as error:
            log.warning("log not written path=%s error=%s", self._path, error)
            self.close()

    def _cut_half_line(self) -> None:
        """Of the moment when weft was killed: it is read again."""
        while self._size:
            start = max(0, self._size - _BLOCK_BYTES)
            with open(self._path, "rb") as file:
                at = os.pread(file.fileno(), self._size - start, start).rfind(b"\n")
            size = start + at + 1 if at >= 0 else start
            if size != self._size:
                os.ftruncate(self._fd, size)
                self._size = size
            if at >= 0:
                return

    def newest(self) -> Iterator[bytes]:
        """Lines, last first, without their ends."""
        yield from newest_lines(Path(self._path))

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


async def copy(
    api: EngineApi, engine_id: str, path: str, *, tty: bool, ended: Callable[[], bool]
) -> None:
    """Returns when the container has ended and all is written."""
    file = LogFile(path)
    try:
        while not ended():
            try:
                await _read(api, engine_id, file, tty=tty, follow=True)
            except EngineError as error:
                if error.status == _GONE:
                    return
                log.info("log interrupted container=%s error=%s", engine_id[:12], error)
            if not ended():
                await asyncio.sleep(AGAIN_SECONDS)
        await _rest(api, engine_id, file, tty=tty)
    finally:
        file.close()


class _Source:
    """A log file that its engine writes, and replaces when it is large."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def read(self) -> bytes:
        """The next piece; b"" when there is none yet."""
        if self._fd < 0:
            self._open()
        data = os.read(self._fd, _BLOCK_BYTES) if self._fd >= 0 else b""
        if not data and self._replaced():
            data = os.read(self._fd, _BLOCK_BYTES)  # written before it was replaced
            if not data:
                self.close()
                self._open()
        return data

    def _open(self) -> None:
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._fd = -1

    def _replaced(self) -> bool:
        try:
            now = os.stat(self._path)
        except OSError:
            return False
        held = os.fstat(self._fd) if self._fd >= 0 else None
        return held is not None and (held.st_ino, held.st_dev) != (now.st_ino, now.st_dev)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


async def copy_file(source_path: str, path: str, ended: Callable[[], bool]) -> None:
    """The same from the file that Podman's monitor writes in this very format. (Podman 4.3 leaves
    lines out when it is asked to follow, and tells times in whole seconds.)"""
    file, source, joined = LogFile(path), _Source(source_path), Joined()
    seen = Seen(file.newest())
    try:
        while True:
            last = ended()
            if data := source.read():
                _write_lines(file, seen, joined.feed(data))
                await asyncio.sleep(0)
            elif last:
                break
            else:
                await asyncio.sleep(LOOK_SECONDS)
        _write_lines(file, seen, joined.end())
    finally:
        source.close()
        file.close()


def _write_lines(file: LogFile, seen: Seen, lines: list[bytes]) -> None:
    if data := b"".join(line for line in lines if seen.is_new(line)):
        file.write(data)


async def _rest(api: EngineApi, engine_id: str, file: LogFile, *, tty: bool) -> None:
    """Followers may be left before the end: look once more."""
    while True:
        try:
            await _read(api, engine_id, file, tty=tty, follow=False)
            return
        except EngineError as error:
            if error.status:
                return
            await asyncio.sleep(AGAIN_SECONDS)


async def _read(api: EngineApi, engine_id: str, file: LogFile, *, tty: bool, follow: bool) -> None:
    seen = Seen(file.newest())
    query: dict[str, Any] = {"stdout": 1, "stderr": 1, "timestamps": 1, "follow": int(follow)}
    if seen.since:
        query["since"] = seen.since
    taken = Plain() if tty else Frames()
    async with api.stream(f"/containers/{engine_id}/logs", query) as content:
        try:
            async for data in content.iter_any():
                _write(file, seen, taken.feed(data))
        except ValueError as error:
            log.error("log unreadable container=%s error=%s", engine_id[:12], error)
    if isinstance(taken, Plain):
        _write(file, seen, taken.end())


def _write(file: LogFile, seen: Seen, pieces: list[tuple[str, bytes]]) -> None:
    _write_lines(file, seen, [line_of(stream, text) for stream, text in pieces])

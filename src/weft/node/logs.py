"""Reads containers' log files: CRI lines (`time stream F|P line`), rotated as NAME, NAME.1, ...

Blocking reads of at most READ_BYTES happen in the caller's loop: the files are local and warm.
"""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from weft.lib.timefmt import rfc3339_micro

READ_BYTES = 1 << 16
FOLLOW_POLL_SECONDS = 0.1
"""How often a followed file is looked at."""
ROTATED_MAX = 16
TAIL_BLOCK_BYTES = 1 << 16


class LogQuery(Protocol):
    """What part of a log is wanted; the API server's options have this shape."""

    @property
    def follow(self) -> bool: ...
    @property
    def timestamps(self) -> bool: ...
    @property
    def since(self) -> float | None: ...
    @property
    def tail_lines(self) -> int | None: ...


class LogOptions(Struct, frozen=True):
    """A LogQuery. `since` is seconds since the epoch."""

    follow: bool = False
    timestamps: bool = False
    since: float | None = None
    tail_lines: int | None = None


def pod_log_dir(data_dir: str, namespace: str, pod: str, uid: str) -> Path:
    """As kubelet names it: <namespace>_<pod>_<uid>."""
    return Path(data_dir) / "logs" / f"{namespace}_{pod}_{uid}"


def container_log(directory: Path, container: str, restarts: int) -> Path:
    """The log file of one instance."""
    return directory / container / f"{restarts}.log"


def latest_log(directory: Path, container: str, *, previous: bool = False) -> Path | None:
    """The log of the newest instance, or of the one before it."""
    folder = directory / container
    numbers = sorted(
        (int(p.stem) for p in folder.glob("*.log") if p.stem.isdecimal()), reverse=True
    )
    index = 1 if previous else 0
    return folder / f"{numbers[index]}.log" if len(numbers) > index else None


async def read_log(
    path: Path, query: LogQuery, running: Callable[[], bool] = lambda: False
) -> AsyncIterator[bytes]:
    """The log's text. With `follow`, until `running` says that the container ended."""
    since = _stamp(query.since)
    files = _files(path)
    if query.tail_lines is not None:
        chunk = b"".join(_shown(_tail(files, query.tail_lines), since, query.timestamps))
        if chunk:
            yield chunk
        follower = _Follower(path, at_end=True)
    else:
        for old in files[:-1]:
            async for chunk in _whole(old, since, query.timestamps):
                yield chunk
        follower = _Follower(path)
    async for chunk in follower.read(query, since, running):
        yield chunk


def last_lines(path: Path, count: int) -> bytes:
    """The text of the last lines of a log that is not written any more."""
    return b"".join(_shown(_tail(_files(path), count), b"", False))


def newest_lines(path: Path) -> Iterable[bytes]:
    """Complete lines of a log, last first, without their ends."""
    for file in reversed(_files(path)):
        yield from _backwards(file)


class _Follower:
    """Reads a file to its end and, when asked, on from there, across rotations."""

    def __init__(self, path: Path, *, at_end: bool = False) -> None:
        self._path = path
        self._rest = b""
        self._file = _open(path)
        if self._file >= 0 and at_end:
            os.lseek(self._file, _line_end(self._file), os.SEEK_SET)

    async def read(
        self, query: LogQuery, since: bytes, running: Callable[[], bool]
    ) -> AsyncIterator[bytes]:
        try:
            while True:
                going = query.follow and running()
                data = os.read(self._file, READ_BYTES) if self._file >= 0 else b""
                if data:
                    chunk = b"".join(_shown(self._lines(data), since, query.timestamps))
                    if chunk:
                        yield chunk
                    await asyncio.sleep(0)
                elif not self._rotated() and not going:
                    return
                elif going:
                    await asyncio.sleep(FOLLOW_POLL_SECONDS)
        finally:
            if self._file >= 0:
                os.close(self._file)

    def _lines(self, data: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines

    def _rotated(self) -> bool:
        """Whether the name stands for another file by now; that one is opened."""
        try:
            now = os.stat(self._path)
        except FileNotFoundError:
            return False
        if self._file >= 0:
            held = os.fstat(self._file)
            if (held.st_ino, held.st_dev) == (now.st_ino, now.st_dev):
                return False
            os.close(self._file)
        self._file, self._rest = _open(self._path), b""
        return self._file >= 0


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1


def _files(path: Path) -> list[Path]:
    """The log's files, oldest first, the current one last."""
    old = [Path(f"{path}.{n}") for n in range(ROTATED_MAX, 0, -1)]
    return [p for p in old if p.exists()] + [path]


def _stamp(since: float | None) -> bytes:
    """A time that compares with the time of a line as text."""
    return rfc3339_micro(since).encode()[:-1] if since else b""


async def _whole(path: Path, since: bytes, timestamps: bool) -> AsyncIterator[bytes]:
    options = LogOptions(timestamps=timestamps)
    async for chunk in _Follower(path).read(options, since, lambda: False):
        yield chunk


def _tail(files: Iterable[Path], count: int) -> list[bytes]:
    """The last `count` full lines (partial ones count with the line they belong to)."""
    found: deque[bytes] = deque()
    full = 0
    for path in reversed(list(files)):
        for line in _backwards(path):
            if _is_full(line):
                if full == count:
                    return list(found)
                full += 1
            elif full == 0 and count == 0:
                return []
            found.appendleft(line)
    return list(found)


def _backwards(path: Path) -> Iterable[bytes]:
    """Complete lines of a file, last first."""
    file = _open(path)
    if file < 0:
        return
    try:
        position = _line_end(file)
        rest = b""
        while position > 0:
            size = min(TAIL_BLOCK_BYTES, position)
            position -= size
            rest = os.pread(file, size, position) + rest
            first, *lines = rest.rstrip(b"\n").split(b"\n") if position == 0 else rest.split(b"\n")
            yield from (line for line in reversed(lines) if line)
            rest = first + b"\n" if position else first
        if rest.strip(b"\n"):
            yield rest.strip(b"\n")
    finally:
        os.close(file)


def _line_end(file: int) -> int:
    """Where the last complete line ends; what is being written follows."""
    size = os.fstat(file).st_size
    while size > 0:
        start = max(0, size - TAIL_BLOCK_BYTES)
        at = os.pread(file, size - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        size = start
    return 0


def _is_full(line: bytes) -> bool:
    parts = line.split(b" ", 3)
    return len(parts) > 2 and parts[2] == b"F"


def _shown(lines: Iterable[bytes], since: bytes, timestamps: bool) -> Iterable[bytes]:
    """What a reader sees of CRI lines: the text, joined where a long line was split."""
    joined = False
    for line in lines:
        stamp, _, rest = line.partition(b" ")
        _, _, rest = rest.partition(b" ")
        tag, _, text = rest.partition(b" ")
        if since and stamp[: len(since)] < since:
            continue
        if timestamps and not joined:
            yield stamp + b" "
        joined = tag == b"P"
        yield text if joined else text + b"\n"

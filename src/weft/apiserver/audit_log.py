"""Writes the audit log: lines gathered for a moment, then appended; rotated by size; 0600."""

import asyncio
import contextlib
import logging
import os
import uuid
from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from msgspec import Struct

from weft.apiserver import audit
from weft.apiserver.audit import Policy, Stage, Trail
from weft.lib.aio import Tasks
from weft.lib.files import PRIVATE_DIRECTORY_MODE, PRIVATE_MODE

OWN_ADDRESS = "127.0.0.1"
"""Of clients that come over the Unix socket, such as the dashboard, or in process."""
OWN_AGENT = "weft"
"""The user agent of weft's own parts."""
log = logging.getLogger("weft.apiserver")
FLUSH_SECONDS = 0.1
FILE_BYTES_MAX_DEFAULT = 100 << 20
BACKUPS_DEFAULT = 10
WAITING_BYTES_MAX = 16 << 20
"""When the file cannot be written, this much waits; later events are dropped and counted."""
AUDIT_ID = "Audit-Id"
AGENT_CHARACTERS_MAX = 1024


class AuditSettings(Struct, frozen=True):
    """What is logged, where, and how much is kept."""

    policy: Policy
    path: Path
    file_bytes_max: int = FILE_BYTES_MAX_DEFAULT
    backups: int = BACKUPS_DEFAULT
    """Files kept beside the current one: NAME.1 is the newest."""


class AuditLog:
    """`start`, then `begin` and `tell` for each request, `close` in the end."""

    def __init__(self, settings: AuditSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._lines: list[bytes] = []
        self._waiting_bytes = 0
        self._dropped = 0
        self._fd = -1
        self._size = 0
        self._tasks = Tasks()
        self._closing = asyncio.Event()
        self._flushing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Raises OSError: the file cannot be had."""
        self._open()
        self._flushing = self._tasks.spawn(self._flush_now_and_then(), "audit-log")

    async def close(self) -> None:
        """What was told before is written; idempotent."""
        self._closing.set()
        if self._flushing is not None:
            await self._flushing
        await self._flush()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def begin(self, http: web.BaseRequest) -> Trail:
        """A request has come."""
        given = http.headers.get(AUDIT_ID, "")
        identity = given if given.isascii() and 0 < len(given) <= 64 else str(uuid.uuid4())
        return Trail(
            identity,
            self._clock(),
            str(http.rel_url),
            http.method,
            http.remote or OWN_ADDRESS,
            _text(http.headers.get("User-Agent", ""))[:AGENT_CHARACTERS_MAX],
        )

    def begin_own(self, uri: str, method: str) -> Trail:
        """A part of weft asks, in process."""
        return Trail(str(uuid.uuid4()), self._clock(), uri, method, OWN_ADDRESS, OWN_AGENT)

    def judge(self, trail: Trail) -> None:
        """Who asks for what is known now."""
        wanted = trail.wanted
        assert wanted is not None
        trail.verdict = audit.judge(self._settings.policy, trail.user, wanted)
        self.tell(trail, "RequestReceived")

    def tell(self, trail: Trail, stage: Stage, code: int = 0, answer: bytes | None = None) -> None:
        """Log a stage, if the policy wants it."""
        if not audit.stage_logged(trail, stage):
            return
        if self._waiting_bytes > WAITING_BYTES_MAX:
            self._dropped += 1
            return
        line = audit.event(trail, stage, self._clock(), code, answer)
        self._lines.append(line)
        self._waiting_bytes += len(line)

    async def _flush_now_and_then(self) -> None:
        """In a thread: a slow disk stops nobody's request."""
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), FLUSH_SECONDS)
            await self._flush()

    async def _flush(self) -> None:
        """Write all that came since the last time; what cannot be written waits."""
        lines, self._lines = self._lines, []
        if lines:
            before = sum(map(len, lines))
            await asyncio.to_thread(self._write, lines)
            self._waiting_bytes -= before - sum(map(len, lines))
            self._lines[:0] = lines
        if self._dropped and not self._lines:
            log.error("audit events dropped count=%d", self._dropped)
            self._dropped = 0

    def _write(self, lines: list[bytes]) -> None:
        """Leaves in `lines` what could not be written."""
        try:
            while lines:
                if self._fd < 0:
                    self._open()
                batch, size = self._batch(lines)
                written = os.write(self._fd, batch)
                # A disk that fills up takes a part: the rest goes right behind it.
                lines[:size] = [batch[written:]] if written < len(batch) else []
                self._size += written
                if self._size >= self._settings.file_bytes_max:
                    self._rotate()
        except OSError as error:
            log.error("audit log not written error=%s lines=%d", error, len(lines))
            self._close_file()

    def _batch(self, lines: list[bytes]) -> tuple[bytes, int]:
        """As many lines as fit into the current file, at least one."""
        room, size, total = self._settings.file_bytes_max - self._size, 0, 0
        for line in lines:
            if size and total + len(line) > room:
                break
            size, total = size + 1, total + len(line)
        return b"".join(lines[:size]), size

    def _open(self) -> None:
        path = self._settings.path
        path.parent.mkdir(mode=PRIVATE_DIRECTORY_MODE, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(path, flags, PRIVATE_MODE)
        os.fchmod(self._fd, PRIVATE_MODE)
        self._size = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        self._close_file()
        path = self._settings.path
        for number in range(self._settings.backups, 0, -1):
            older = path.with_name(f"{path.name}.{number}")
            newer = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
            with contextlib.suppress(FileNotFoundError):
                os.replace(newer, older)
        if not self._settings.backups:
            path.unlink(missing_ok=True)
        self._open()

    def _close_file(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _text(header: str) -> str:
    """Headers may hold bytes that are no UTF-8: JSON may not."""
    return header.encode(errors="replace").decode()

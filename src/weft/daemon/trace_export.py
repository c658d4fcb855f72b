"""Sends all spans on to an OTLP endpoint, over HTTP, batch by batch as they come."""

import asyncio
import logging
from collections.abc import Mapping

import aiohttp

from weft.lib import aio

log = logging.getLogger("weft.telemetry")

HEADERS_VARIABLE = "WEFT_OTLP_HEADERS"
"""Environment variable with headers for the endpoint, `name=value,name=value`: it may hold keys,
which have no place on a command line."""
QUEUED_BYTES_MAX = 32 * 1024 * 1024
"""What waits to be sent; the oldest goes first."""
SEND_SECONDS = 10.0
TRIES_MAX = 4
FIRST_PAUSE_SECONDS = 1.0
_PATH = "/v1/traces"


def headers_of(text: str) -> dict[str, str]:
    """`name=value,name=value`. ValueError."""
    found = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"{HEADERS_VARIABLE}: write name=value,name=value")
        found[name.strip()] = value.strip()
    return found


class TraceExport:
    """`start`, `add` what comes, then `close`."""

    def __init__(
        self, url: str, headers: Mapping[str, str], session: aiohttp.ClientSession | None = None
    ) -> None:
        """`session`, if any, shows who sends; it stays open."""
        base = url.rstrip("/")
        self._url = base if base.endswith(_PATH) else base + _PATH
        self._headers = {"Content-Type": "application/x-protobuf", **headers}
        self._session = session
        self._queue: list[bytes] = []
        self._bytes = 0
        self._come = asyncio.Event()
        self._tasks = aio.Tasks()
        self.sent, self.dropped = 0, 0
        """Batches."""

    def start(self) -> None:
        self._tasks.spawn(self._run(), "trace-export")

    async def close(self) -> None:
        await self._tasks.close()

    def add(self, batch: bytes) -> None:
        """An ExportTraceServiceRequest."""
        self._queue.append(batch)
        self._bytes += len(batch)
        while self._bytes > QUEUED_BYTES_MAX:
            self._bytes -= len(self._queue.pop(0))
            self.dropped += 1
        self._come.set()

    async def _run(self) -> None:
        if self._session is not None:
            await self._send_all(self._session)
        else:
            async with aiohttp.ClientSession() as session:
                await self._send_all(session)

    async def _send_all(self, session: aiohttp.ClientSession) -> None:
        while True:
            await self._come.wait()
            self._come.clear()
            while self._queue:
                batch = self._queue.pop(0)
                self._bytes -= len(batch)
                await self._deliver(session, batch)

    async def _deliver(self, session: aiohttp.ClientSession, batch: bytes) -> None:
        pause, error = FIRST_PAUSE_SECONDS, ""
        timeout = aiohttp.ClientTimeout(total=SEND_SECONDS)
        for number in range(TRIES_MAX):
            if number:
                await asyncio.sleep(pause)
                pause *= 2
            try:
                async with session.post(
                    self._url, data=batch, headers=self._headers, allow_redirects=False,
                    timeout=timeout,
                ) as answer:  # fmt: skip
                    if answer.ok:
                        self.sent += 1
                        return
                    error = f"the endpoint answered {answer.status}"
                    if answer.status < 500 and answer.status != 429:
                        break  # it will not take this one later either
            except (aiohttp.ClientError, OSError, TimeoutError) as failure:
                error = str(failure) or type(failure).__name__
        self.dropped += 1
        log.warning("spans not exported url=%s error=%s", self._url, error)

    def metrics(self) -> str:
        """For Prometheus."""
        return (
            "# TYPE weft_trace_export_batches_total counter\n"
            f'weft_trace_export_batches_total{{outcome="sent"}} {self.sent}\n'
            f'weft_trace_export_batches_total{{outcome="dropped"}} {self.dropped}\n'
        )

"""Telemetry, composed: what proxies report, kept, and the pages that show it."""

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from weft.apiserver import failures
from weft.daemon.otlp_receiver import OtlpReceiver
from weft.daemon.trace_export import TraceExport, headers_of
from weft.lib import aio
from weft.lib.aio import now, ticks
from weft.node.dialing import HERE, Dialer
from weft.telemetry import jaeger
from weft.telemetry.collector import Collector
from weft.telemetry.exposition import totals_page
from weft.telemetry.requests import Filter, RequestLog
from weft.telemetry.signals import EdgeTraffic, TrafficDocument
from weft.telemetry.topology import service_series, topology
from weft.telemetry.traces import TraceStore
from weft.telemetry.traffic import Traffic

TRAFFIC = "/weft/v1/traffic"
TRACES = "/weft/v1/jaeger/api/"
"""Below it are the paths of Jaeger's query service, so its clients take what is before `api`."""
REQUESTS = "/weft/v1/requests"
TOPOLOGY = "/weft/v1/topology"
SERVICE = "/weft/v1/service"
REQUESTS_MAX = 1000
"""In one answer."""
TAP_SECONDS = 5.0
"""After so long without a look, proxies log no requests any more."""
LOOK_SECONDS = 0.2
WAIT_SECONDS_MAX = 10.0
SECONDS_DEFAULT = 60.0
SECONDS_MAX = 3 * 3600.0


class Telemetry:
    """What is known of the mesh's traffic since weft started."""

    def __init__(self, certified: Callable[[Any], str]) -> None:
        """`certified` is Collector's."""
        self.traffic = Traffic(now())
        self.requests = RequestLog()
        self.traces = TraceStore()
        self.collector = Collector(
            self.traffic, self.requests, self.traces,
            certified=certified,
        )  # fmt: skip
        self.tap: Callable[[int], None] = lambda _: None
        """Has proxies log this percentage of their requests."""
        self._receiver: OtlpReceiver | None = None
        self._export: TraceExport | None = None
        self._tasks = aio.Tasks()
        self._percent = 0
        self._looked_at = 0.0

    async def open(
        self, address: str, export_url: str, export_headers: str, dialer: Dialer = HERE
    ) -> None:
        """Take the spans of applications at an address, and send all spans on to a URL, if any.
        ValueError for headers that cannot be read."""
        if export_url:
            self._export = TraceExport(export_url, headers_of(export_headers))
            self.collector.on_spans = self._export.add
            self._export.start()
        if address:
            self._receiver = OtlpReceiver(self.collector.take_spans, address, dialer=dialer)
            await self._receiver.start()

    @property
    def otlp_endpoint(self) -> str:
        """Where applications send their spans; empty is nowhere."""
        return self._receiver.endpoint if self._receiver is not None else ""

    async def close(self) -> None:
        await self._tasks.close()
        if self._receiver is not None:
            await self._receiver.close()
        if self._export is not None:
            await self._export.close()

    def handlers(self) -> tuple[Any, ...]:
        """gRPC handlers of the services that proxies report to."""
        return self.collector.handlers()

    def metrics(self) -> str:
        """The mesh's series for Prometheus."""
        page = totals_page(self.traffic.totals)
        dropped = f"weft_mesh_series_dropped_total {self.traffic.dropped}\n"
        exported = self._export.metrics() if self._export is not None else ""
        return page + "# TYPE weft_mesh_series_dropped_total counter\n" + dropped + exported

    async def traffic_page(self, query: Mapping[str, str]) -> tuple[str, bytes]:
        """The edges of the last `seconds`, as JSON."""
        return "application/json", msgspec.json.encode(self.document(_seconds(query)))

    async def topology_page(self, query: Mapping[str, str]) -> tuple[str, bytes]:
        """What passes, with the edges over which nothing passes any more, and refused calls."""
        document = topology(self.traffic, self.document(_seconds(query)), now())
        return "application/json", msgspec.json.encode(document)

    async def service_page(self, query: Mapping[str, str]) -> tuple[str, bytes]:
        """The signals of the service `namespace`, `name` over time."""
        wanted = query.get("namespace", ""), query.get("name", "")
        found = service_series(self.traffic, *wanted, now(), _seconds(query))
        return "application/json", msgspec.json.encode(found)

    def document(self, seconds: float) -> TrafficDocument:
        moment, found, step = now(), [], 0
        for key, counts in self.traffic.edges(moment, seconds).items():
            step, rows = self.traffic.series(key, moment, seconds)
            rates = tuple((row.requests + row.opened) / step for row in rows)
            errors = tuple(row.errors / step for row in rows)
            found.append(EdgeTraffic(key, counts, rates, errors))
        return TrafficDocument(seconds, step, tuple(found))

    async def traces_tree(self, path: str, query: Mapping[str, str]) -> tuple[str, bytes]:
        """Traces, as Jaeger's query service gives them. ApiError."""
        try:
            found = jaeger.answer(self.traces, path, query)
        except jaeger.BadQuery as error:
            raise failures.bad_request(str(error)) from error
        if found is None:
            raise failures.no_such_path()
        return "application/json", msgspec.json.encode(found)

    async def requests_page(self, query: Mapping[str, str]) -> tuple[str, bytes]:
        """Requests that came after the number `after`, as they come: waits for the first up to
        `wait` seconds. Without `after` only those of from now on. Proxies log requests for as long
        as somebody asks."""
        wanted = Filter(
            source=query.get("from", ""),
            destination=query.get("to", ""),
            method=query.get("method", ""),
            path=query.get("path", ""),
            status=query.get("status", ""),
            slower_ms=_number(query, "slower", 0.0),
        )
        self._look(int(_number(query, "percent", 100)))
        after = int(_number(query, "after", self.requests.newest))
        deadline = ticks() + min(WAIT_SECONDS_MAX, _number(query, "wait", 0.0))
        while not (found := self.requests.since(after, wanted.wants, REQUESTS_MAX)):
            if ticks() >= deadline:
                break
            await asyncio.sleep(LOOK_SECONDS)
            self._looked_at = ticks()
        newest = self.requests.newest
        body = {"requests": found, "newest": newest}
        return "application/json", msgspec.json.encode(body)

    def _look(self, percent: int) -> None:
        percent = min(100, max(1, percent))
        self._looked_at = ticks()
        if percent != self._percent:
            if not self._percent:
                self._tasks.spawn(self._stop_when_unwatched(), "tap")
            self._percent = percent
            self.tap(percent)

    async def _stop_when_unwatched(self) -> None:
        while ticks() - self._looked_at < TAP_SECONDS:  # noqa: ASYNC110 - time passes, no event
            await asyncio.sleep(TAP_SECONDS / 5)
        self._percent = 0
        self.tap(0)


def _seconds(query: Mapping[str, str]) -> float:
    return min(SECONDS_MAX, max(5.0, _number(query, "seconds", SECONDS_DEFAULT)))


def _number(query: Mapping[str, str], name: str, default: float) -> float:
    """A finite number of the query; the default for anything else."""
    try:
        value = float(query.get(name, default))
    except ValueError:
        return default
    return value if math.isfinite(value) and value >= 0 else default

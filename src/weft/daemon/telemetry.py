"""Telemetry, composed: what proxies report, kept, and the pages that show it."""

from collections.abc import Mapping
from typing import Any

import msgspec

from weft.lib.aio import now
from weft.telemetry.collector import Collector
from weft.telemetry.exposition import totals_page
from weft.telemetry.signals import EdgeTraffic, TrafficDocument
from weft.telemetry.traffic import Traffic

TRAFFIC = "/weft/v1/traffic"
SECONDS_DEFAULT = 60.0
SECONDS_MAX = 3 * 3600.0


class Telemetry:
    """What is known of the mesh's traffic since weft started."""

    def __init__(self) -> None:
        self.traffic = Traffic(now())
        self.collector = Collector(self.traffic)

    def handlers(self) -> tuple[Any, ...]:
        """gRPC handlers of the services that proxies report to."""
        return self.collector.handlers()

    def metrics(self) -> str:
        """The mesh's series for Prometheus."""
        page = totals_page(self.traffic.totals)
        dropped = f"weft_mesh_series_dropped_total {self.traffic.dropped}\n"
        return page + "# TYPE weft_mesh_series_dropped_total counter\n" + dropped

    async def traffic_page(self, query: Mapping[str, str]) -> tuple[str, bytes]:
        """The edges of the last `seconds`, as JSON."""
        return "application/json", msgspec.json.encode(self.document(_seconds(query)))

    def document(self, seconds: float) -> TrafficDocument:
        moment, found, step = now(), [], 0
        for key, counts in self.traffic.edges(moment, seconds).items():
            step, rows = self.traffic.series(key, moment, seconds)
            rates = tuple((row.requests + row.opened) / step for row in rows)
            errors = tuple(row.errors / step for row in rows)
            found.append(EdgeTraffic(key, counts, rates, errors))
        return TrafficDocument(seconds, step, tuple(found))


def _seconds(query: Mapping[str, str]) -> float:
    try:
        return min(SECONDS_MAX, max(5.0, float(query.get("seconds", SECONDS_DEFAULT))))
    except ValueError:
        return SECONDS_DEFAULT

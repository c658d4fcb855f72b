"""Counters of the API server in Prometheus' text form."""

from collections import Counter
from collections.abc import Mapping

from weft.lib.histogram import Histogram

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
"""All others are one: a client can make up any number of them."""


class Metrics:
    """Counts what was answered."""

    def __init__(self) -> None:
        self.inflight = 0
        self._requests: Counter[tuple[str, int]] = Counter()
        self._durations: dict[str, Histogram] = {}

    def count(self, method: str, code: int, seconds: float | None = None) -> None:
        """One answered request; without a duration where it lasts as long as the client likes."""
        method = method if method in METHODS else "OTHER"
        self._requests[method, code] += 1
        if seconds is not None:
            self._durations.setdefault(method, Histogram()).add(seconds)

    def render(self, revision: int, watches: int, rejected: Mapping[str, int]) -> str:
        """The whole page. `rejected` counts 429 answers by priority level."""
        lines = [
            "# HELP apiserver_request_total Requests answered, by method and HTTP code.",
            "# TYPE apiserver_request_total counter",
            *(
                f'apiserver_request_total{{method="{method}",code="{code}"}} {count}'
                for (method, code), count in sorted(self._requests.items())
            ),
            "# HELP apiserver_request_duration_seconds From a request to its answer; no streams.",
            "# TYPE apiserver_request_duration_seconds histogram",
            *(
                line
                for method, found in sorted(self._durations.items())
                for line in found.lines("apiserver_request_duration_seconds", f'method="{method}"')
            ),
            "# HELP apiserver_current_inflight_requests Requests being answered.",
            "# TYPE apiserver_current_inflight_requests gauge",
            f"apiserver_current_inflight_requests {self.inflight}",
            "# HELP apiserver_longrunning_requests Watches that are open.",
            "# TYPE apiserver_longrunning_requests gauge",
            f'apiserver_longrunning_requests{{verb="WATCH"}} {watches}',
            "# HELP apiserver_flowcontrol_rejected_requests_total Requests answered 429.",
            "# TYPE apiserver_flowcontrol_rejected_requests_total counter",
            *(
                f'apiserver_flowcontrol_rejected_requests_total{{priority_level="{level}"}} {count}'
                for level, count in sorted(rejected.items())
            ),
            "# HELP weft_store_revision The revision of the last write.",
            "# TYPE weft_store_revision gauge",
            f"weft_store_revision {revision}",
        ]
        return "\n".join(lines) + "\n"

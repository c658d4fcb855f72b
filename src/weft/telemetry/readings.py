"""What is measured of pods and workloads: values that the autoscaler decides by.

Numbers of the mesh come from Envoy's counters of calls to a workload, so they need nothing in the
programs.
"""

from collections.abc import Mapping

from msgspec import Struct

CPU = "cpu"
MEMORY = "memory"
REQUESTS = "requests_per_second"
IN_FLIGHT = "requests_in_flight"
"""Requests under way, on average over the interval."""
LATENCIES = {
    "request_duration_milliseconds_p50": 0.5,
    "request_duration_milliseconds_p90": 0.9,
    "request_duration_milliseconds_p95": 0.95,
    "request_duration_milliseconds_p99": 0.99,
}


class Usage(Struct, frozen=True):
    """Of one container, over the last interval."""

    cpu_cores: float
    memory_bytes: int


class PodUsage(Struct, frozen=True):
    """Of one pod."""

    at: float
    """When it was measured; the interval is `Readings.interval_seconds`."""
    containers: Mapping[str, Usage]

    def total(self, resource: str, container: str = "") -> float | None:
        """Cores or bytes of the pod, or of one of its containers; None when unknown."""
        chosen = [u for name, u in self.containers.items() if container in ("", name)]
        if not chosen or resource not in (CPU, MEMORY):
            return None
        return sum(u.cpu_cores if resource == CPU else float(u.memory_bytes) for u in chosen)


class Load(Struct, frozen=True):
    """Calls of one workload over the last interval."""

    requests_per_second: float = 0.0
    in_flight: float = 0.0
    milliseconds: Mapping[float, float] = {}
    """Quantile -> latency; empty when nobody called."""

    def value(self, metric: str) -> float | None:
        """A metric by its name; None when there is none of that name, or nothing to tell."""
        if metric == REQUESTS:
            return self.requests_per_second
        if metric == IN_FLIGHT:
            return self.in_flight
        quantile = LATENCIES.get(metric)
        if quantile is None:
            return None
        return self.milliseconds.get(quantile, 0.0 if not self.milliseconds else None)


class Readings(Struct, frozen=True):
    """Everything at one moment."""

    interval_seconds: float
    pods: Mapping[str, PodUsage] = {}
    """By uid."""
    loads: Mapping[tuple[str, str], Load] = {}
    """By namespace and workload (the name of the Deployment, StatefulSet, ...)."""


NOTHING_READ = Readings(0.0)

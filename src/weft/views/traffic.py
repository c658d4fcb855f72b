"""Traffic as text: who called whom, how a service's calls split over its versions."""

from collections import defaultdict
from collections.abc import Sequence

from weft.telemetry.edges import Edge, quantile_ms
from weft.views.tables import PLAIN, Style, bar, render


def edge_rows(edges: Sequence[Edge], seconds: float) -> list[tuple[str, ...]]:
    """Rows of caller, callee, version, requests per second, errors, median and p99 latency."""
    rows: list[tuple[str, ...]] = []
    for edge in edges:
        rows.append(
            (
                edge.key.source,
                edge.key.destination,
                edge.key.version or "-",
                edge.key.protocol,
                f"{edge.requests / seconds:.0f}",
                f"{edge.errors}",
                _milliseconds(quantile_ms(edge, 0.5)),
                _milliseconds(quantile_ms(edge, 0.99)),
            )
        )
    return rows


EDGE_HEADERS = ("From", "To", "Version", "Protocol", "Rate/s", "Errors", "p50", "p99")


def edge_lines(edges: Sequence[Edge], seconds: float, style: Style = PLAIN) -> list[str]:
    """The rows as an aligned table."""
    return render(EDGE_HEADERS, edge_rows(edges, seconds), style)


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"


def version_shares(edges: Sequence[Edge], prefix: str) -> dict[str, float]:
    """Share of the calls that each version of the destination workloads named `prefix...` got."""
    counts: dict[str, int] = defaultdict(int)
    for edge in edges:
        if edge.key.destination.startswith(prefix):
            counts[edge.key.version or "-"] += edge.requests
    total = sum(counts.values())
    return {version: count / total for version, count in sorted(counts.items())} if total else {}


def split_lines(shares: dict[str, float], wanted: dict[str, float]) -> list[str]:
    """A bar per version, with the share that the route asks for."""
    return [
        f"{version:<4} {bar(share)} {share:6.1%}  (wanted {wanted.get(version, 0.0):.0%})"
        for version, share in shares.items()
    ]

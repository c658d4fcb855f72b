"""How a service's calls split over its versions, as text."""

from collections import defaultdict

from weft.telemetry.signals import TrafficDocument
from weft.views.tables import bar


def version_counts(document: TrafficDocument, service: str) -> dict[str, float]:
    """Requests that each version of a service answered."""
    counts: dict[str, float] = defaultdict(float)
    for traffic in document.edges:
        if traffic.edge.service == service:
            counts[traffic.edge.destination_version or "-"] += traffic.counts.requests
    return dict(sorted(counts.items()))


def shares(counts: dict[str, float]) -> dict[str, float]:
    """Of the whole; nothing of nothing."""
    total = sum(counts.values())
    return {name: count / total for name, count in counts.items()} if total else {}


def split_lines(found: dict[str, float], wanted: dict[str, float]) -> list[str]:
    """A bar per version, with the share that the route asks for."""
    return [
        f"{version:<4} {bar(share)} {share:6.1%}  (wanted {wanted.get(version, 0.0):.0%})"
        for version, share in found.items()
    ]

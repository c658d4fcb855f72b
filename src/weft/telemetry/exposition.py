"""Prometheus' text format: what proxies say in it, with Istio's names and labels.

Source: prometheus.io, "Exposition formats".
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache

from weft.telemetry.edge_labels import FOLDED_KEPT_MAX, TAG, labels
from weft.telemetry.traffic import Total

_ENVOY_PREFIX = "envoy_istio_"
"""Envoy puts its own name before the names that we chose."""
_FOLDED = re.compile(r"^envoy_(istio_\w+)\{" + TAG + r'="((?:[^"\\]|\\.)*)"', re.M)
_COUNTER_LINE = re.compile(r"^# (TYPE|HELP) (\w+)_total(?= )", re.M)


def unfolded(page: str) -> str:
    """A proxy's page of metrics, the mesh's own with all their labels."""
    page = _FOLDED.sub(lambda found: f"{found[1]}{{{label_text(found[2], False)}", page)
    return page.replace(f"# TYPE {_ENVOY_PREFIX}", "# TYPE istio_")


@lru_cache(maxsize=FOLDED_KEPT_MAX)
def label_text(value: str, removing: bool = True) -> str:
    """A folded tag's labels, as they stand between braces."""
    return ",".join(f'{name}="{escaped(text)}"' for name, text in labels(value, removing))


def escaped(text: str) -> str:
    """A label's value between quotation marks."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def totals_page(totals: Mapping[tuple[str, str], Total]) -> str:
    """The mesh's series as a page, all samples of a metric together."""
    by_name: dict[str, dict[str, Total]] = defaultdict(dict)
    for (name, tag), total in totals.items():
        text, same = label_text(tag), by_name[name]
        same[text] = _sum(same[text], total) if text in same else total
    lines: list[str] = []
    for name, found in sorted(by_name.items()):
        listed = found.items()
        histogram = any(total.buckets for _, total in listed)
        lines.append(f"# TYPE {name} {'histogram' if histogram else 'counter'}")
        for text, total in listed:
            if not histogram:
                lines.append(_counter(name, text, total))
            elif total.buckets:  # a counter of this name is somebody's mistake
                lines += _histogram(name, text, total)
    return "".join(f"{line}\n" for line in lines)


def _sum(one: Total, other: Total) -> Total:
    """Of series that only labels told apart that are left out."""
    if one.bounds != other.bounds:
        return one if one.changed_at >= other.changed_at else other
    buckets = [a + b for a, b in zip(one.buckets, other.buckets, strict=True)]
    at = max(one.changed_at, other.changed_at)
    return Total(one.value + other.value, buckets, one.bounds, at)


def openmetrics(page: str) -> str:
    """A page in OpenMetrics' form: a counter is named without its `_total`, and the end is marked.
    Source: OpenMetrics 1.0, "Counter" and "Overall structure"."""
    return _COUNTER_LINE.sub(r"# \1 \2", page) + "# EOF\n"


def _counter(name: str, text: str, total: Total) -> str:
    return f"{name}{{{text}}} {total.value:.15g}"


def _histogram(name: str, text: str, total: Total) -> Iterable[str]:
    below = 0.0
    bounds = (*(f"{bound:g}" for bound in total.bounds), "+Inf")
    for bound, count in zip(bounds, total.buckets, strict=True):
        below += count
        yield f'{name}_bucket{{{text},le="{bound}"}} {below:.15g}'
    yield f"{name}_sum{{{text}}} {total.value:.15g}"
    yield f"{name}_count{{{text}}} {below:.15g}"

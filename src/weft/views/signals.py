"""Live traffic as text: tables of golden signals with sparklines, and the graph of calls."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from weft.telemetry.signals import (
    GROUPINGS,
    EdgeTraffic,
    Signals,
    TrafficDocument,
    quantile_ms,
    signals,
)
from weft.telemetry.traffic import Counts
from weft.views.tables import PLAIN, Style, render

SPARKS = "▁▂▃▄▅▆▇█"
SPARK_WIDTH = 12
ERROR_PERCENT_BAD = 1.0
"""Error rates from here on are shown as bad."""
KIBI = 1024.0


def top_lines(document: TrafficDocument, by: str, style: Style = PLAIN) -> list[str]:
    """Services, workloads or edges with their signals, the busiest first."""
    headings, grouping = GROUPINGS[by]
    found = signals(document, grouping)
    headers = (*headings, "Protocol", "Rate/s", "Errors", "P50", "P95", "P99", "Active", "Last")
    lines = render(headers, [_row(one) for one in found], style)
    for number, one in enumerate(found, 1):
        if one.error_percent >= ERROR_PERCENT_BAD and style.bad:
            lines[number] = f"{style.bad}{lines[number]}{style.reset}"
    return lines


def _row(one: Signals) -> tuple[str, ...]:
    errors = "-" if one.protocol == "tcp" else f"{one.error_percent:.1f}%"
    times = (_duration(each) for each in (one.p50_ms, one.p95_ms, one.p99_ms))
    busy = "-" if one.protocol == "tcp" else _rate(one.in_flight)
    return (*one.name, one.protocol, _rate(one.rate), errors, *times, busy, sparkline(one.series))


def sparkline(series: Sequence[float], width: int = SPARK_WIDTH) -> str:
    """The last steps as a row of bars, the highest of them at full height."""
    shown = series[-width:]
    most = max(shown, default=0.0)
    if not most:
        return SPARKS[0] * len(shown)
    return "".join(SPARKS[round(each / most * (len(SPARKS) - 1))] for each in shown)


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"


def _duration(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "-"
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"


def graph_lines(document: TrafficDocument, style: Style = PLAIN) -> list[str]:
    """Who calls whom, as trees from those whom nobody calls; a workload that was shown before is
    named again without its own calls."""
    calls: dict[tuple[str, str], list[EdgeTraffic]] = defaultdict(list)
    called = set()
    for traffic in document.edges:
        calls[traffic.edge.caller].append(traffic)
        if traffic.edge.caller != traffic.edge.callee:
            called.add(traffic.edge.callee)
    roots = [each for each in calls if each not in called] or list(calls)[:1]
    lines: list[str] = []
    shown: set[tuple[str, str]] = set()
    for root in [*roots, *calls]:  # the latter for circles that nobody outside calls
        if root not in shown:
            lines.append(f"{style.bold}{_name(root)}{style.reset}")
            shown.add(root)
            lines += _branches(root, calls, shown, document.seconds, style)
    return lines


def _branches(
    at: tuple[str, str],
    calls: dict[tuple[str, str], list[EdgeTraffic]],
    shown: set[tuple[str, str]],
    seconds: float,
    style: Style,
) -> Iterable[str]:
    below = sorted(calls.get(at, ()), key=lambda t: -(t.counts.requests + t.counts.opened))
    for number, traffic in enumerate(below, 1):
        last = number == len(below)
        to = traffic.edge.callee
        yield f"{'└' if last else '├'}─ {_edge_text(traffic, seconds, style)}"
        if to not in shown:
            shown.add(to)
            for line in _branches(to, calls, shown, seconds, style):
                yield f"{' ' if last else '│'}  {line}"


def _edge_text(traffic: EdgeTraffic, seconds: float, style: Style) -> str:
    edge, counts = traffic.edge, traffic.counts
    name = _name(traffic.edge.callee)
    if edge.destination_version not in ("", "latest", "unknown"):
        name += f" {edge.destination_version}"
    parts = [edge.protocol, f"{_rate((counts.requests + counts.opened) / seconds)}/s"]
    if edge.security == "mutual_tls":
        parts.insert(1, "mTLS")
    if edge.protocol == "tcp":
        moved = (counts.sent_bytes + counts.received_bytes) / seconds / KIBI
        return f"{name}  {style.dim}{'  '.join(parts)}  {moved:.1f} KiB/s{style.reset}"
    percent = _error_percent(counts)
    bad = percent >= ERROR_PERCENT_BAD
    parts.append(f"p99 {_duration(quantile_ms(counts.buckets, 0.99))}")
    text = f"{name}  {style.dim}{'  '.join(parts)}{style.reset}"
    return f"{text}  {style.bad if bad else style.dim}{percent:.1f}% errors{style.reset}"


def _error_percent(counts: Counts) -> float:
    return 100.0 * counts.errors / counts.requests if counts.requests else 0.0


def _name(workload: tuple[str, str]) -> str:
    namespace, name = workload
    return name if namespace in ("unknown", "") else f"{namespace}/{name}"


def dot_lines(document: TrafficDocument) -> list[str]:
    """The graph in Graphviz' language."""
    lines = ["digraph mesh {", "  rankdir=LR; node [shape=box];"]
    for traffic in document.edges:
        counts = traffic.counts
        rate = (counts.requests + counts.opened) / document.seconds
        bad = _error_percent(counts) >= ERROR_PERCENT_BAD
        colour = ' color="red"' if bad else ""
        label = f"{traffic.edge.protocol} {_rate(rate)}/s"
        ends = f'"{_name(traffic.edge.caller)}" -> "{_name(traffic.edge.callee)}"'
        lines.append(f'  {ends} [label="{label}"{colour}];')
    return [*lines, "}"]

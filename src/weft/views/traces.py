"""Traces as text: a list, and one as a waterfall."""

from collections.abc import Iterator, Sequence

from weft.lib.timefmt import rfc3339_micro
from weft.telemetry.traces import Span, Trace
from weft.views.tables import PLAIN, Style, render

WATERFALL_WIDTH = 40
"""Characters that stand for the whole duration."""


def trace_rows(traces: Sequence[Trace], style: Style = PLAIN) -> list[str]:
    """A line per trace, the newest first."""
    rows = [
        (
            trace.trace_id,
            rfc3339_micro(trace.start)[11:23],
            trace.root.service,
            trace.root.name,
            str(len(trace.spans)),
            _milliseconds(trace.duration_ms),
            "Error" if trace.failed else "ok",
        )
        for trace in traces
    ]
    return render(("Trace", "Began", "Service", "Name", "Spans", "Took", "Outcome"), rows, style)


def waterfall(trace: Trace, style: Style = PLAIN) -> list[str]:
    """The spans below those that caused them, each with a bar for when and how long."""
    whole = max(trace.duration_ms, 0.001)
    rows = list(_tree(trace))
    names = [f"{'  ' * depth}{span.who}: {span.name}" for depth, span in rows]
    width = max(len(name) for name in names)
    lines = [f"{style.bold}{trace.trace_id}{style.reset}  {_milliseconds(trace.duration_ms)}"]
    for name, (_, span) in zip(names, rows, strict=True):
        colour = style.bad if span.error else style.good
        bar = _bar((span.start - trace.start) * 1000 / whole, span.duration_ms / whole)
        said = f"  {span.message or _status(span)}" if span.error else ""
        took = _milliseconds(span.duration_ms).rjust(9)
        lines.append(f"{name.ljust(width)}  {colour}{bar}{style.reset}  {took}{said}")
    if trace.dropped:
        lines.append(f"{trace.dropped} more spans found no room")
    return lines


def _tree(trace: Trace) -> Iterator[tuple[int, Span]]:
    below: dict[str, list[Span]] = {}
    for span in sorted(trace.spans.values(), key=lambda s: (s.start, s.span_id)):
        parent = span.parent_id if span.parent_id in trace.spans else ""
        below.setdefault(parent, []).append(span)
    shown: set[str] = set()

    def walk(parent: str, depth: int) -> Iterator[tuple[int, Span]]:
        for span in below.get(parent, ()):
            if span.span_id not in shown:
                shown.add(span.span_id)
                yield depth, span
                yield from walk(span.span_id, depth + 1)

    yield from walk("", 0)
    for span in trace.spans.values():  # circles, which nobody sends in good faith
        if span.span_id not in shown:
            shown.add(span.span_id)
            yield 0, span


def _bar(start: float, length: float) -> str:
    begin = min(WATERFALL_WIDTH - 1, int(max(0.0, start) * WATERFALL_WIDTH))
    width = min(max(1, round(length * WATERFALL_WIDTH)), WATERFALL_WIDTH - begin)
    return " " * begin + "█" * width + " " * (WATERFALL_WIDTH - begin - width)


def _status(span: Span) -> str:
    code = span.attribute("http.status_code") or span.attribute("http.response.status_code")
    return f"status {code}" if code else "failed"


def _milliseconds(value: float) -> str:
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.1f} ms"

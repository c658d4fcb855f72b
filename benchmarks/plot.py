"""A plot of bars, as SVG: readable on light and dark pages."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from benchmarks.harness import number

WIDTH, LABEL, BAR, GAP, HEAD = 760, 225, 22, 8, 40
OWN, OTHER = "#2f6fdb", "#8a94a6"
INK = "#6b7280"


def bars(groups: Sequence[tuple[str, Mapping[str, float]]], own: str = "weft") -> str:
    """One group of bars below the other; those whose name begins with `own` stand out."""
    lines: list[str] = []
    y = 0
    for title, values in groups:
        most = max(values.values(), default=1.0) or 1.0
        lines.append(_text(0, y + 24, title, "font-weight:600"))
        y += HEAD
        for name, value in values.items():
            length = (WIDTH - LABEL - 80) * value / most
            colour = OWN if name.startswith(own) else OTHER
            lines.append(_text(LABEL - 10, y + 16, name, "text-anchor:end"))
            lines.append(
                f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" rx="3" '
                f'fill="{colour}"/>'
            )
            lines.append(_text(LABEL + length + 8, y + 16, number(value), ""))
            y += BAR + GAP
        y += GAP
    body = "\n".join(lines)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="{INK}">\n{body}\n</svg>\n'
    )


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" style="{style}">{escape(text)}</text>'

"""Alerts and objectives as text."""

from collections.abc import Iterable

from weft.lib.timefmt import age
from weft.telemetry.alerting.document import AlertRow, AlertsDocument, ObjectiveRow
from weft.views.signals import sparkline
from weft.views.tables import PLAIN, Style, render

QUIET = "nothing is wrong as far as weft can see"


def alert_lines(
    document: AlertsDocument, now: float, wide: bool, style: Style = PLAIN
) -> list[str]:
    """What is wrong now (with `wide` also what is over), the most urgent first, each with its
    evidence and where to look; then the objectives."""
    shown = [row for row in document.alerts if wide or row.state != "resolved"]
    lines: list[str] = []
    for row in shown:
        lines += _alert(row, now, style)
    if not shown:
        lines.append(f"{style.good}{QUIET}{style.reset}")
    if document.objectives:
        lines += ["", *_objectives(document.objectives, style)]
    return lines


def _alert(row: AlertRow, now: float, style: Style) -> Iterable[str]:
    colour = style.dim if row.state == "resolved" else style.bad
    since = age(max(0.0, now - row.active_at))
    word = row.severity if row.state == "firing" else row.state
    when = f"for {since}"
    if row.ended_at is not None:
        when = f"ended {age(max(0.0, now - row.ended_at))} ago"
    yield f"{colour}{word:<9}{style.reset} {style.bold}{row.summary}{style.reset}  ({when})"
    if row.evidence:
        yield f"{'':9} {row.evidence}"
    asked = f"{row.name} of {row.rule}" if row.rule else row.name
    look = f"  look: {row.hint}" if row.hint else ""
    yield f"{style.dim}{'':9} {asked}{look}{style.reset}"


def _objectives(objectives: Iterable[ObjectiveRow], style: Style) -> list[str]:
    rows = []
    for one in objectives:
        status = one.status
        left = status.budget_remaining_percent
        good = status.good_percent
        rows.append(
            (
                *(one.namespace, one.name, one.service, f"{one.objective:g}%"),
                "-" if good is None else f"{good:.3f}%",
                "-" if left is None else f"{left:.1f}%",
                status.state or "met",
                sparkline([100.0 if g is None else g for g in one.good_series]),
            )
        )
    heads = (
        "Namespace",
        "Objective",
        "Service",
        "Promised",
        "Kept",
        "Budget left",
        "State",
        "Hour",
    )
    return render(heads, rows, style)

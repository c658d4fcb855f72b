"""The answer of `weft why` as text: the verdict first, then what led there, step by step."""

from collections.abc import Iterator

from weft.mesh.explain.answer import Answer, Candidate, EndpointRow, NodeRow, Onward, ShareRow
from weft.views.tables import PLAIN, Style

LABEL_COLUMNS = 16
INDENT = " " * LABEL_COLUMNS
GOOD = ("routed",)
BUSY = ("redirected", "answered", "passed through")


def why_lines(answer: Answer, style: Style = PLAIN) -> list[str]:
    """All lines of an answer."""
    tone = style.good if answer.outcome in GOOD else style.bad
    tone = style.busy if answer.outcome in BUSY else tone
    lines = [
        f"{style.bold}{answer.request}{style.reset}",
        f"{tone}→ {answer.summary}{style.reset}",
    ]
    if answer.hint:
        lines.append(f"{style.bold}hint:{style.reset} {answer.hint}")
    lines.append("")
    for step in answer.steps:
        lines.append(_line(step.what, step.text, style))
    lines += _routes(answer.considered, style)
    for effect in answer.effects:
        lines.append(_line(effect.what, effect.text, style))
    for share in answer.shares:
        lines += _share(share, len(answer.shares) > 1, style)
    lines += _nodes(answer.nodes, style)
    return [line.rstrip() for line in lines]


def _line(label: str, text: str, style: Style) -> str:
    return f"{style.dim}{label.ljust(LABEL_COLUMNS)}{style.reset}{text}"


def _routes(considered: tuple[Candidate, ...], style: Style) -> Iterator[str]:
    label = "routes"
    for each in considered:
        tone, mark = (style.good, "✓") if each.taken else (style.dim, "✗")
        text = f"{tone}{mark} {each.route}{style.reset}  {each.place.text}"
        yield _line(label, text, style)
        if each.reason:
            yield f"{INDENT}  {style.dim}{each.reason}{style.reset}"
        label = ""


def _share(share: ShareRow, several: bool, style: Style) -> Iterator[str]:
    percent = f"{share.percent:.3g} % " if several else ""
    subset = f" subset {share.subset}" if share.subset else ""
    text = f"{percent}{share.host} port {share.port}{subset} ({share.protocol})"
    yield _line("back end", f"{style.bold}{text}{style.reset}", style)
    for place in share.places:
        yield f"{INDENT}{place.text}"
    if share.arrives_as:
        yield f"{INDENT}gets {share.arrives_as}"
    for effect in share.effects:
        yield f"{INDENT}{style.dim}{effect.what}{style.reset} {effect.text}"
    yield from _endpoints(share.endpoints, style)
    if share.onward is not None:
        yield from _onward(share.onward, style)


def _onward(onward: Onward, style: Style) -> Iterator[str]:
    """The second step, as the first is shown."""
    yield ""
    tone = style.good if onward.outcome in GOOD else style.bad
    text = f"{tone}→ the egress gateway: {onward.summary}{style.reset}"
    yield text
    for step in onward.steps:
        yield _line(step.what, step.text, style)
    yield from _routes(onward.considered, style)
    for effect in onward.effects:
        yield _line(effect.what, effect.text, style)
    for share in onward.shares:
        yield from _share(share, len(onward.shares) > 1, style)


def _endpoints(endpoints: tuple[EndpointRow, ...], style: Style) -> Iterator[str]:
    rows = [
        (
            each.address,
            f"weight {each.weight}",
            each.envoy or each.health,
            " ".join(p for p in (each.pod, f"on {each.node}" if each.node else "") if p),
            each.locality,
            f"takes over ({each.takes_over})" if each.takes_over else "",
            each.travels,
            each.access,
        )
        for each in endpoints
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        tone = style.good if row[2] == "healthy" else style.bad
        cells[2] = f"{tone}{cells[2]}{style.reset}"
        yield f"{INDENT}{'  '.join(cells)}"


def _nodes(nodes: tuple[NodeRow, ...], style: Style) -> Iterator[str]:
    label = "in force"
    for node in nodes:
        tone = style.good if node.state == "acknowledged" else style.bad
        details = f" ({'; '.join(node.details)})" if node.details else ""
        yield _line(label, f"{node.node}: {tone}{node.state}{style.reset}{details}", style)
        label = ""

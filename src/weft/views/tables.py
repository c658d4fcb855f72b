"""Tables as lines of text, aligned as kubectl aligns them, with optional colour by meaning."""

from collections.abc import Sequence

from msgspec import Struct

GAP = "   "
CELL_CHARS_MIN = 9
"""No cell is made shorter."""
GOOD = frozenset({"Running", "Ready", "Active", "Completed", "Succeeded", "True", "acked", "Bound"})
BUSY = frozenset(
    {"Pending", "ContainerCreating", "Terminating", "PodInitializing", "pending", "Unknown"}
)
BAD_WORDS = ("Error", "BackOff", "Failed", "OOMKilled", "NotReady", "rejected", "Evicted")


class Style(Struct, frozen=True):
    """Escape codes; all empty when colour is off."""

    good: str = ""
    busy: str = ""
    bad: str = ""
    dim: str = ""
    bold: str = ""
    reset: str = ""


PLAIN = Style()
COLOUR = Style(
    good="\x1b[32m",
    busy="\x1b[33m",
    bad="\x1b[31m",
    dim="\x1b[2m",
    bold="\x1b[1m",
    reset="\x1b[0m",
)


def tone(text: str, style: Style) -> str:
    """The colour a cell's text deserves; "" for most."""
    if text in GOOD:
        return style.good
    if text in BUSY or text.startswith("Init:"):
        return style.busy
    return style.bad if any(word in text for word in BAD_WORDS) else ""


def fitted(
    headers: Sequence[str],
    rows: Sequence[Sequence[object]],
    style: Style,
    width: int,
    spare: Sequence[str] = (),
) -> list[str]:
    """`render` within so many columns: as far as the table is too wide, the columns `spare` are
    left out, the last first, then the widest cells lose their middle."""
    kept = list(headers)
    for name in (*reversed(spare), None):
        chosen = [headers.index(k) for k in kept]
        cells = [[str(row[i]) for i in chosen] for row in rows]
        widths = [max([len(h), *(len(row[i]) for row in cells)]) for i, h in enumerate(kept)]
        over = sum(widths) + len(GAP) * (len(widths) - 1) - width
        if over <= 0 or name is None:
            break
        kept.remove(name)
    while over > 0 and max(widths) > CELL_CHARS_MIN:
        widest = widths.index(max(widths))
        others = [w for i, w in enumerate(widths) if i != widest]
        goal = max(widths[widest] - over, CELL_CHARS_MIN, *(others or [0]))
        goal = goal if goal < widths[widest] else widths[widest] - 1
        over -= widths[widest] - goal
        widths[widest] = goal
    short = [[shortened(c, widths[i]) for i, c in enumerate(row)] for row in cells]
    return render(kept, short, style)


def shortened(text: str, length: int) -> str:
    """A text without its middle, where it is too long: names differ at their ends."""
    if len(text) <= length:
        return text
    end = (length - 1) // 2
    return f"{text[: length - 1 - end]}…{text[len(text) - end :]}"


def render(
    headers: Sequence[str], rows: Sequence[Sequence[object]], style: Style = PLAIN
) -> list[str]:
    """Lines of a left-aligned table. Widths count the text, not the colour codes."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [
        max([len(header), *(len(row[i]) for row in cells)]) for i, header in enumerate(headers)
    ]
    lines = [_line([(h.upper(), style.bold) for h in headers], widths, style)]
    lines += [_line([(c, tone(c, style)) for c in row], widths, style) for row in cells]
    return lines


def _line(cells: Sequence[tuple[str, str]], widths: Sequence[int], style: Style) -> str:
    last = len(cells) - 1
    parts = []
    for i, (text, colour) in enumerate(cells):
        padded = text if i == last else text.ljust(widths[i])
        parts.append(f"{colour}{padded}{style.reset}" if colour else padded)
    return GAP.join(parts).rstrip()


def bar(share: float, width: int = 24) -> str:
    """A horizontal bar for a share between 0 and 1."""
    filled = round(max(0.0, min(1.0, share)) * width)
    return "█" * filled + "░" * (width - filled)

"""What would change, as text: a line for each thing, with a unified diff below it."""

from collections.abc import Iterator, Mapping, Sequence

from weft.offline.differences import Difference
from weft.views.tables import PLAIN, Style

MARKS = {"added": "+", "removed": "-", "changed": "~"}
LINES_SHOWN_MAX = 200
"""Of each resource; a new route table may have thousands."""


def diff_lines(
    objects: Sequence[Difference], nodes: Mapping[str, Sequence[Difference]], style: Style = PLAIN
) -> Iterator[str]:
    """All lines; none when nothing changes."""
    if objects:
        yield f"{style.bold}Objects{style.reset}"
        for each in objects:
            yield from _difference(each, style)
    for node, found in nodes.items():
        if found:
            if objects:
                yield ""
            yield f"{style.bold}Envoy of node {node}{style.reset}"
        for group in _alike(found):
            yield from _difference(group[0], style, group[1:])


def _alike(found: Sequence[Difference]) -> list[list[Difference]]:
    """Those that change in the same way together: the listeners of pods mostly do."""
    groups: dict[tuple[str, str, tuple[str, ...]], list[Difference]] = {}
    for each in found:
        alike = each.lines if each.change == "changed" else (each.name,)
        groups.setdefault((each.kind, each.change, alike), []).append(each)
    return list(groups.values())


def _difference(
    found: Difference, style: Style, others: Sequence[Difference] = ()
) -> Iterator[str]:
    tone = {"added": style.good, "removed": style.bad}.get(found.change, style.busy)
    for each in (found, *others):
        about = f"  {each.about}" if each.about else ""
        yield f"{tone}{MARKS[each.change]} {each.kind} {each.name}{style.reset}{about}"
    for line in found.lines[:LINES_SHOWN_MAX]:
        yield f"    {_toned(line, style)}"
    if len(found.lines) > LINES_SHOWN_MAX:
        more = len(found.lines) - LINES_SHOWN_MAX
        yield f"    {style.dim}… {more} more lines; -o json shows all{style.reset}"


def _toned(line: str, style: Style) -> str:
    tone = {"+": style.good, "-": style.bad, "@": style.dim}.get(line[:1], "")
    return f"{tone}{line}{style.reset}" if tone else line

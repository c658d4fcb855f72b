"""One queue as text."""

from weft.lib.timefmt import age, parse_rfc3339
from weft.offline.queue_document import Entry, QueueDocument
from weft.views.tables import PLAIN, Style, render


def queue_lines(found: QueueDocument, now: float, style: Style = PLAIN) -> list[str]:
    """Its policy and quota, then who is in it."""
    quota = f", quota {found.quota}" if found.quota else ""
    lines = [f"{style.bold}{found.name}{style.reset}  {found.policy}{quota}", ""]
    if not found.entries:
        return [*lines, "nobody runs or waits in it"]
    heads = ("State", "Kind", "Namespace", "Name", "Needs", "Runs", "Age", "Why")
    return [*lines, *render(heads, [_row(entry, now) for entry in found.entries], style)]


def _row(entry: Entry, now: float) -> tuple[str, ...]:
    runs = f"~{age(entry.seconds)}" if entry.seconds is not None else "?"
    since = age(max(0.0, now - parse_rfc3339(entry.created))) if entry.created else ""
    return (
        *(entry.state, entry.kind, entry.namespace, entry.name),
        *(entry.needs, runs, since, entry.why),
    )

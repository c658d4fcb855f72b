"""`weft apply --wait`: until everything that was applied is in force on all nodes, and runs."""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from weft.api.kinds import Kind
from weft.api.manifests import Document
from weft.cli import output
from weft.lib.aio import ticks
from weft.runtime.client import Client
from weft.views.settled import Settled, settled
from weft.views.tables import bar

LOOK_SECONDS = 0.1
LOOK_SECONDS_MAX = 0.5
"""Between two looks: at first, and after a while."""
TIMEOUT_SECONDS_DEFAULT = 60.0
HOPELESS_SECONDS = 1.0
"""What is left may be wrong only until weft has looked at all that was applied with it."""
NEVER = float("inf")
BAR_CHARS = 12
Key = tuple[Kind, str, str]
"""(kind, namespace, name)"""


async def wait_for(
    client: Client,
    documents: Sequence[Document],
    namespace: str,
    report: Callable[[str], None],
    timeout_seconds: float,
) -> list[str]:
    """Wait and tell of each object that is done; what is still missing in the end, a line each."""
    open_: dict[Key, Settled] = {}
    for document in documents:
        if document.kind is not None and settled(document.kind.group, document.kind.kind, {}):
            place = (document.namespace or namespace) if document.kind.namespaced else ""
            open_[document.kind, place, document.name] = Settled(False, "not looked at yet")
    line, deadline, pause = _Line(len(open_)), ticks() + timeout_seconds, LOOK_SECONDS
    hopeless_since = NEVER
    while open_:
        objects = await _objects(client, open_)
        open_.update({key: _state(key, objects.get(key)) for key in open_})
        for key, state in tuple(open_.items()):
            if state.done:
                del open_[key]
                line.clear()
                report(f"{label(key)} {state.text}")
        hopeless = bool(open_) and all(s.failed for s in open_.values())
        hopeless_since = min(hopeless_since, ticks()) if hopeless else NEVER
        if not open_ or ticks() >= min(deadline, hopeless_since + HOPELESS_SECONDS):
            break
        line.show(open_)
        await asyncio.sleep(pause)
        pause = min(pause * 1.1, LOOK_SECONDS_MAX)
    line.clear()
    return [f"{label(key)}: {state.text}" for key, state in open_.items()]


def label(key: Key) -> str:
    kind, _, name = key
    return f"{kind.singular}{'.' + kind.group if kind.group else ''}/{name}"


def _state(key: Key, obj: Mapping[str, Any] | None) -> Settled:
    if obj is None:
        return Settled(False, "it does not exist any more", failed=True)
    found = settled(key[0].group, key[0].kind, obj)
    return found or Settled(True, "done")


async def _objects(client: Client, keys: Mapping[Key, Any]) -> dict[Key, Mapping[str, Any]]:
    """One list per kind and namespace, however many objects there are."""
    found: dict[Key, Mapping[str, Any]] = {}
    for kind, place in {(kind, place) for kind, place, _ in keys}:
        for item in (await client.list(kind, place)).items:
            obj = orjson.loads(item)
            found[kind, place, obj["metadata"]["name"]] = obj
    return found


class _Line:
    """One line of progress on a terminal; nothing elsewhere."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._shown = False
        self._live = sys.stderr.isatty()

    def show(self, open_: Mapping[Key, Settled]) -> None:
        if not self._live:
            return
        key, state = next(iter(open_.items()))
        done = self._total - len(open_)
        progress = bar(done / self._total, BAR_CHARS)
        text = f"{progress} {done} of {self._total} done; {label(key)}: {state.text}"
        columns = max(20, output.columns() - 1)
        print(f"\r\x1b[K{text[:columns]}", end="", file=sys.stderr, flush=True)
        self._shown = True

    def clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = False

"""Watch streams: what the store reports, as changes that a client asked to see.

An event is encoded once for all who watch it. A reader that lags behind the store's bounded
buffer is told 410 and has to list again.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Literal

from msgspec import Struct

from weft.apiserver import codec, failures, keys
from weft.apiserver.conversion_review import Converter, Unconverted
from weft.apiserver.reading import too_old
from weft.apiserver.request import ListOptions, Target, parse_revision
from weft.apiserver.selection import Selection, compile_selection
from weft.store.interface import Compacted, Event, Store, Watch

ENCODED_EVENTS_MAX = 2048
"""Encoded events that are kept for watchers that have not sent them yet."""
BOOKMARK_SECONDS = 60.0
WATCH_SECONDS_DEFAULT = 3600.0

ChangeType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


class Change(Struct, frozen=True):
    """One event of a watch."""

    type: ChangeType
    object: bytes
    frame: bytes
    """The line that is sent, as a chunk of HTTP/1.1's chunked coding: made once for all."""


def classify(event: Event, selection: Selection) -> tuple[ChangeType, bytes] | None:
    """What an event means for a selection, and the stored bytes to show; None: nothing.

    An object that leaves the selection is shown as deleted in its last matching state, as
    kube-apiserver's watch cache does.
    """
    if selection.everything:
        if event.type == "delete":
            return "DELETED", event.value
        return ("ADDED" if event.previous is None else "MODIFIED"), event.value
    key, previous = event.key, event.previous
    if event.type == "delete":
        return ("DELETED", event.value) if selection.matches(key, event.value) else None
    before = previous is not None and selection.matches(key, previous)
    if selection.matches(key, event.value):
        return ("MODIFIED" if before else "ADDED"), event.value
    return ("DELETED", previous) if before and previous is not None else None


def frame(line: bytes) -> bytes:
    """A line as one chunk (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(line), line)


class Watches:
    """Opens watches on a store."""

    def __init__(self, store: Store, converter: Converter | None = None) -> None:
        self._store = store
        self._converter = converter or Unconverted()
        self._encoded: dict[tuple[int, str, str, str, str], Change] = {}
        self._last: dict[tuple[str, str], tuple[Sequence[Event], tuple[Change, ...]]] = {}
        """Group and version -> the last batch and what it means."""
        self._live: set[Watch] = set()
        self.open = 0
        """Watches that are open now."""

    def stream(
        self, target: Target, options: ListOptions
    ) -> AsyncGenerator[Sequence[Change], None]:
        """Batches of changes until the timeout. Raises ApiError 400 at once, while iterating 410
        at any time."""
        selection = compile_selection(
            target.kind, target.version, options.label_selector, options.field_selector
        )
        start = parse_revision(options.resource_version)
        return self._stream(target, options, selection, start)

    def close(self) -> None:
        """End every open watch."""
        for watch in list(self._live):
            watch.close()

    async def _stream(
        self, target: Target, options: ListOptions, selection: Selection, start: int
    ) -> AsyncGenerator[Sequence[Change], None]:
        prefix = keys.prefix(target.kind, target.namespace)
        if start > self._store.revision:
            raise failures.gone(f"{too_old(start, self._store.revision)}: from another history")
        self.open += 1
        try:
            if start == 0 or options.send_initial_events:
                first, start = await self._present(target, prefix, selection)
                if options.send_initial_events:
                    mark = codec.bookmark(target.kind, target.version, start, initial_end=True)
                    first.append(_bookmark(mark))
                if first:
                    yield first
            watch = self._open(prefix, start)
            self._live.add(watch)
            try:
                async for changes in self._follow(watch, target, selection, options):
                    yield changes
            finally:
                self._live.discard(watch)
                watch.close()
        finally:
            self.open -= 1

    def _open(self, prefix: str, start: int) -> Watch:
        try:
            return self._store.watch(prefix, start + 1)
        except Compacted as error:
            raise failures.gone(too_old(start, error.oldest)) from error

    async def _present(
        self, target: Target, prefix: str, selection: Selection
    ) -> tuple[list[Change], int]:
        found = await self._store.range(prefix)
        changes = []
        entries = found.entries
        if target.kind.definition is not None:
            entries = tuple(await self._converter.entries(target.kind, target.version, entries))
        for entry in entries:
            if selection.matches(entry.key, entry.value):
                served = codec.served_entry(target.kind, target.version, entry)
                changes.append(Change("ADDED", served, frame(codec.event("ADDED", served))))
        return changes, found.revision

    async def _follow(
        self, watch: Watch, target: Target, selection: Selection, options: ListOptions
    ) -> AsyncGenerator[Sequence[Change], None]:
        """Relies on `revision` never running ahead of what open watches were offered: when an
        interrupted watch has nothing left, its reader has seen everything up to there."""
        loop = asyncio.get_running_loop()
        end = loop.time() + (options.timeout_seconds or WATCH_SECONDS_DEFAULT)
        mark_at = loop.time() + BOOKMARK_SECONDS if options.bookmarks else end
        timer = loop.call_at(min(end, mark_at), watch.interrupt)
        try:
            async for batch in watch:
                if batch:
                    shown = batch
                    if target.kind.definition is not None:
                        kind, version = target.kind, target.version
                        shown = await self._converter.events(kind, version, batch)
                    if changes := self._changes(shown, target, selection):
                        yield changes
                    continue
                if options.bookmarks:
                    mark = self._store.revision
                    yield (_bookmark(codec.bookmark(target.kind, target.version, mark)),)
                if loop.time() >= end:
                    return
                timer = loop.call_at(min(end, loop.time() + BOOKMARK_SECONDS), watch.interrupt)
        except Compacted as error:
            raise failures.gone(f"watch lagged behind: {too_old(0, error.oldest)}") from error
        finally:
            timer.cancel()

    def _changes(
        self, batch: Sequence[Event], target: Target, selection: Selection
    ) -> Sequence[Change]:
        """Those who watch all of a prefix are handed the same batch: its changes are made once."""
        if not selection.everything:
            found = ((event, classify(event, selection)) for event in batch)
            return [self._encode(event, target, *shown) for event, shown in found if shown]
        last = self._last.get((target.kind.group, target.version))
        if last is not None and last[0] is batch:
            return last[1]
        shown = ((event, classify(event, selection)) for event in batch)
        changes = tuple(self._encode(event, target, *each) for event, each in shown if each)
        self._last[target.kind.group, target.version] = (batch, changes)
        return changes

    def _encode(self, event: Event, target: Target, type_: ChangeType, value: bytes) -> Change:
        known = (event.revision, event.key, target.kind.group, target.version, type_)
        change = self._encoded.get(known)
        if change is None:
            served = codec.to_served(target.kind, target.version, value, event.revision)
            change = Change(type_, served, frame(codec.event(type_, served)))
            if len(self._encoded) >= ENCODED_EVENTS_MAX:
                del self._encoded[next(iter(self._encoded))]
            self._encoded[known] = change
        return change


def _bookmark(obj: bytes) -> Change:
    return Change("BOOKMARK", obj, frame(codec.event("BOOKMARK", obj)))

"""The revisioned key space itself, as a value machine: no I/O, no clock, no waiting.

A write has two steps, so that an engine can make it durable in between: `stage` checks it against
everything staged before it and gives it the next revision; `commit` makes it visible. Staged
transactions commit in order, or all of them are dropped by `rollback`.
"""

import sys
from bisect import bisect_left

from msgspec import Struct

from weft.store.interface import Compacted, Conflict, Delete, Entry, Event, Put, Range, Txn
from weft.store.keys import SortedKeys, prefix_end

FIRST_REVISION = 1
"""The revision of an empty store (etcd's; 0 has a meaning of its own in the Kubernetes API)."""
HISTORY_EVENTS_MAX = 20_000
"""Events kept for watches and reads in the past before automatic compaction."""
HISTORY_BYTES_MAX = 32 * 1024 * 1024
"""Bytes of superseded values that history may keep alive before automatic compaction."""
HISTORY_KEPT_FRACTION = 0.9
"""How much of a full history an automatic compaction keeps, so that it is rare."""


class Change(Struct, frozen=True):
    """An event with the entries around it (None: the key is absent)."""

    event: Event
    before: Entry | None
    after: Entry | None


class Staged(Struct, frozen=True):
    """A checked transaction with its revision, not yet visible. No changes: nothing to commit."""

    revision: int
    changes: tuple[Change, ...]


class Superseded(Struct, frozen=True):
    """A version of a key that no reader can ask for any more."""

    key: str
    revision: int


class Mvcc:
    """All present entries and a window of history."""

    def __init__(self) -> None:
        self.revision = FIRST_REVISION
        self.oldest_revision = FIRST_REVISION
        self._present: dict[str, Entry] = {}
        self._keys = SortedKeys()
        # Parallel: each event with the entry it replaced. Bytes are shared with the entries.
        self._events: list[Event] = []
        self._before: list[Entry | None] = []
        self._history_bytes = 0
        # What staged transactions will make of a key, and at which revision.
        self._pending: dict[str, tuple[int, Entry | None]] = {}
        self._staged_revision = FIRST_REVISION

    def __len__(self) -> int:
        return len(self._present)

    # --- writing

    def stage(self, txn: Txn) -> Staged:
        """Check `txn` on top of everything staged. Raises Conflict; ValueError for a key that
        occurs twice in `ops`."""
        if len({op.key for op in txn.ops}) < len(txn.ops):
            raise ValueError("a transaction names a key twice")
        for expected in txn.expect:
            entry = self._latest(expected.key)
            found = entry.mod_revision if entry else 0
            if found != expected.mod_revision:
                raise Conflict(expected.key, found)
        revision = self._staged_revision + 1
        changes = tuple(c for op in txn.ops if (c := self._change(op, revision)) is not None)
        if not changes:
            return Staged(self._staged_revision, ())
        for change in changes:
            self._pending[change.event.key] = (revision, change.after)
        self._staged_revision = revision
        return Staged(revision, changes)

    def pending_revision(self, key: str) -> int:
        """The revision of the last staged, uncommitted transaction that changes `key`; 0: none."""
        pending = self._pending.get(key)
        return pending[0] if pending is not None else 0

    def commit(self, staged: Staged) -> tuple[Event, ...]:
        """Make the oldest staged transaction visible; gives its events."""
        for change in staged.changes:
            self._show(change)
            pending = self._pending.get(change.event.key)
            if pending is not None and pending[0] == staged.revision:
                del self._pending[change.event.key]
        if staged.changes:
            self.revision = staged.revision
        return tuple(change.event for change in staged.changes)

    def rollback(self) -> None:
        """Drop every staged transaction; their revisions are given out again."""
        self._pending.clear()
        self._staged_revision = self.revision

    def apply(self, txn: Txn) -> tuple[Event, ...]:
        """Stage and commit in one step. Raises as `stage` does."""
        return self.commit(self.stage(txn))

    def restore(self, key: str, value: bytes | None, create_revision: int, revision: int) -> None:
        """Repeat a recorded change (None: deletion) while loading; revisions must not fall.

        Changes before `oldest_revision` only form the base on which history stands.
        """
        before = self._present.get(key)
        key = before.key if before else key
        after = None if value is None else Entry(key, value, create_revision, revision)
        self.revision = self._staged_revision = max(self.revision, revision)
        if revision >= self.oldest_revision:
            self._show(Change(_event(key, before, after, revision), before, after))
        else:
            self._place(key, before, after)

    def _latest(self, key: str) -> Entry | None:
        pending = self._pending.get(key)
        return pending[1] if pending is not None else self._present.get(key)

    def _change(self, op: Put | Delete, revision: int) -> Change | None:
        before = self._latest(op.key)
        if isinstance(op, Put):
            key = before.key if before else op.key
            after = Entry(key, op.value, before.create_revision if before else revision, revision)
            return Change(_event(key, before, after, revision), before, after)
        if before is None:
            return None
        return Change(_event(before.key, before, None, revision), before, None)

    def _show(self, change: Change) -> None:
        self._events.append(change.event)
        self._before.append(change.before)
        self._history_bytes += len(change.event.previous or b"")
        self._place(change.event.key, change.before, change.after)

    def _place(self, key: str, before: Entry | None, after: Entry | None) -> None:
        if after is not None:
            self._present[key] = after
            if before is None:
                self._keys.add(key)
        elif before is not None:
            del self._present[key]
            self._keys.remove(key)

    # --- reading

    def get(self, key: str) -> Entry | None:
        """The visible entry."""
        return self._present.get(key)

    def range(self, prefix: str, *, limit: int = 0, after: str = "", revision: int = 0) -> Range:
        """As Store.range. A revision in the future reads the present. Raises Compacted."""
        low = max(prefix, after + "\0") if after else prefix
        high = prefix_end(prefix)
        if 0 < revision < self.revision:
            return self._range_at(revision, low, high, limit)
        keys, remaining = self._keys.between(low, high, limit or sys.maxsize)
        present = self._present
        return Range(tuple([present[key] for key in keys]), self.revision, remaining)

    def _range_at(self, revision: int, low: str, high: str | None, limit: int) -> Range:
        self._check_reach(revision)
        past: dict[str, Entry | None] = {}
        for at in range(self._index(revision + 1), len(self._events)):
            key = self._events[at].key
            if key >= low and (high is None or key < high):
                past.setdefault(key, self._before[at])
        # Only so many present keys are needed: each past one can displace one of them at most.
        wanted = limit + len(past) if limit else sys.maxsize
        keys, beyond = self._keys.between(low, high, wanted)
        found = {key: self._present[key] for key in keys}
        edge = keys[-1] if beyond else None
        for key, entry in past.items():
            in_view = edge is None or key <= edge
            if entry is not None and in_view:
                found[key] = entry
            elif entry is not None:
                beyond += key not in self._present
            elif in_view:
                found.pop(key, None)
            else:
                beyond -= key in self._present
        ordered = sorted(found) if past else keys
        taken = ordered[:limit] if limit else ordered
        entries = tuple([found[key] for key in taken])
        return Range(entries, revision, len(ordered) - len(taken) + beyond)

    def history(self, prefix: str, from_revision: int) -> tuple[Event, ...]:
        """Events under `prefix` with revision >= `from_revision`. Raises Compacted."""
        self._check_reach(from_revision)
        found = self._events[self._index(from_revision) :]
        return tuple(event for event in found if event.key.startswith(prefix))

    def _check_reach(self, revision: int) -> None:
        if revision < self.oldest_revision:
            raise Compacted(self.oldest_revision)

    def _index(self, revision: int) -> int:
        return bisect_left(self._events, revision, key=lambda event: event.revision)

    # --- forgetting

    def compact(self, revision: int) -> tuple[Superseded, ...]:
        """Make `revision` the oldest one; gives the versions that nothing needs any more.

        The version a kept event replaced stays needed (it is the event's `previous`).
        """
        revision = min(revision, self.revision)
        if revision <= self.oldest_revision:
            return ()
        end = self._index(revision)
        gone: list[Superseded] = []
        for event, before in zip(self._events[:end], self._before[:end], strict=True):
            self._history_bytes -= len(event.previous or b"")
            if before is not None:
                gone.append(Superseded(event.key, before.mod_revision))
            if event.type == "delete":
                gone.append(Superseded(event.key, event.revision))
        del self._events[:end]
        del self._before[:end]
        self.oldest_revision = revision
        return tuple(gone)

    def compaction_due(self) -> int:
        """The revision to compact to because history outgrew its limits; 0: it did not."""
        count, size = len(self._events), self._history_bytes
        if count <= HISTORY_EVENTS_MAX and size <= HISTORY_BYTES_MAX:
            return 0
        at = max(0, count - int(HISTORY_EVENTS_MAX * HISTORY_KEPT_FRACTION))
        size -= sum(len(event.previous or b"") for event in self._events[:at])
        while at < count and size > HISTORY_BYTES_MAX * HISTORY_KEPT_FRACTION:
            size -= len(self._events[at].previous or b"")
            at += 1
        return self._events[at].revision if at < count else self.revision


def _event(key: str, before: Entry | None, after: Entry | None, revision: int) -> Event:
    previous = before.value if before else None
    if after is not None:
        return Event("put", key, after.value, revision, after.create_revision, previous)
    created = before.create_revision if before else revision
    return Event("delete", key, previous or b"", revision, created, previous)

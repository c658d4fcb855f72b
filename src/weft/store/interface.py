"""The store: one revisioned key space that every engine implements alike.

Semantics are etcd's: one revision counts every transaction that changes something (an empty store
is at revision 1), watchers see every event from the revision they ask for in order and once, and
compaction forgets history (not the present). A write becomes visible to reads and watches when it
is durable, never before; its caller is told after that.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol

from msgspec import Struct


class Put(Struct, frozen=True):
    """Set `key` to `value`."""

    key: str
    value: bytes


class Delete(Struct, frozen=True):
    """Remove `key`; removing what is not there is no event."""

    key: str


class Expect(Struct, frozen=True):
    """The transaction applies only if `key` was last changed at `mod_revision` (0: is absent)."""

    key: str
    mod_revision: int


class Txn(Struct, frozen=True):
    """Operations that apply together or not at all, at one new revision. No key twice."""

    ops: tuple[Put | Delete, ...]
    expect: tuple[Expect, ...] = ()


class Entry(Struct, frozen=True, gc=False):
    """A key's present (or asked-for) value."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int


class Event(Struct, frozen=True, gc=False):
    """One change. `value` is the new value, for a deletion the last one; `previous` the value
    before the change (None on creation; for a deletion the last value too)."""

    type: Literal["put", "delete"]
    key: str
    value: bytes
    revision: int
    create_revision: int
    previous: bytes | None = None


class Range(Struct, frozen=True):
    """A consistent read of a prefix at `revision`, in key order."""

    entries: tuple[Entry, ...]
    revision: int
    remaining: int = 0
    """How many entries of the prefix follow the last one returned."""


class StoreError(Exception):
    """The engine cannot serve: disk full, corrupt file, connection lost. Says what and where."""


class Conflict(Exception):
    """An expectation did not hold; nothing was applied."""

    def __init__(self, key: str, mod_revision: int) -> None:
        super().__init__(f"{key} is at revision {mod_revision}")
        self.key = key
        self.mod_revision = mod_revision


class Compacted(Exception):
    """The asked-for revision is older than history reaches."""

    def __init__(self, oldest: int) -> None:
        super().__init__(f"history starts at revision {oldest}")
        self.oldest = oldest


class Watch(Protocol):
    """An open watch. Iterating yields batches: the events of one or more whole revisions.

    A read that is cancelled loses nothing. `Store.revision` never runs ahead of what open watches
    have been offered.
    """

    def __aiter__(self) -> AsyncIterator[Sequence[Event]]: ...

    def interrupt(self) -> None:
        """Let the reader have an empty batch once it has read all that it was offered. A timer
        calls this: cheaper than a timeout around every read."""

    def close(self) -> None:
        """End iteration; idempotent."""


class Store(Protocol):
    """What the API server needs of an engine."""

    @property
    def revision(self) -> int:
        """The revision of the last applied transaction."""

    @property
    def oldest_revision(self) -> int:
        """The oldest revision that can still be read at or watched from."""

    async def apply(self, txn: Txn) -> int:
        """Apply and return the new revision, once it is durable and visible. A transaction that
        changes nothing makes no revision: the present one is returned. Conflict speaks of
        visible state only. Raises Conflict, StoreError."""

    async def get(self, key: str) -> Entry | None:
        """The present entry."""

    async def range(
        self, prefix: str, *, limit: int = 0, after: str = "", revision: int = 0
    ) -> Range:
        """Entries under `prefix` with keys greater than `after`. `limit` 0 is no limit;
        `revision` 0 is the present. Raises Compacted."""

    def watch(self, prefix: str, from_revision: int) -> Watch:
        """Every event under `prefix` with revision >= `from_revision`. Raises Compacted at once
        or, when the watcher lags behind its bounded buffer, while iterating."""

    async def compact(self, revision: int) -> None:
        """Forget history before `revision` (at most the present one), which then is the oldest."""

    async def close(self) -> None:
        """Flush and release everything; open watches end."""

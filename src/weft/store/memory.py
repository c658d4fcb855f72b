"""The engine without a file: for tests and for runs that may forget everything."""

from weft.store.interface import Txn
from weft.store.local import LocalStore
from weft.store.mvcc import Mvcc


class MemoryStore(LocalStore):
    """Everything in this process; durable as long as it lives."""

    def __init__(self) -> None:
        super().__init__(Mvcc())

    async def apply(self, txn: Txn) -> int:
        """As Store.apply."""
        self._check_open()
        events = self._mvcc.apply(txn)
        if events:
            self._hub.publish(events, self._mvcc.oldest_revision)
            if due := self._mvcc.compaction_due():
                self._mvcc.compact(due)
        return self._mvcc.revision

    async def compact(self, revision: int) -> None:
        """As Store.compact."""
        self._check_open()
        self._mvcc.compact(revision)

    async def close(self) -> None:
        """As Store.close; idempotent."""
        self._closed = True
        self._hub.close()

"""Answers who is in a queue, for `weft queue get`."""

from collections.abc import Mapping

import msgspec

from weft.api.snapshot import Snapshot
from weft.lib.aio import now
from weft.offline import queue_document

QUEUES = "/weft/v1/queues"


class QueuePage:
    """`?name=batch`; null when there is no such queue."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    async def __call__(self, query: Mapping[str, str]) -> tuple[str, bytes]:
        found = queue_document.document(self._snapshot, query.get("name", ""), now())
        return "application/json", msgspec.json.encode(found)

"""Keeps the graph of nodes and their pods as the store has it."""

import asyncio
import logging

from weft.apiserver import keys
from weft.apiserver.node_graph import NodeGraph
from weft.apiserver.verbs import known_kind
from weft.lib.aio import Tasks
from weft.store.interface import Compacted, Store, Watch

log = logging.getLogger("weft.apiserver")
RETRY_SECONDS = 0.5
"""Between attempts to follow a store that gives errors."""


class NodeGraphFollower:
    """`start` once, `close` in the end."""

    def __init__(self, store: Store, graph: NodeGraph) -> None:
        self._store = store
        self._graph = graph
        self._kind = known_kind("pods")
        self._prefix = keys.prefix(self._kind)
        self._tasks = Tasks()
        self._watch: Watch | None = None

    async def start(self) -> None:
        """Returns when every stored pod is known."""
        revision = await self._load()
        self._tasks.spawn(self._follow(revision), "node-graph")

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
        await self._tasks.close()

    async def _load(self) -> int:
        found = await self._store.range(self._prefix)
        self._graph.clear()
        for entry in found.entries:
            self._graph.put(entry.value)
        return found.revision

    async def _follow(self, revision: int) -> None:
        """A right that ended must not stay: whatever goes wrong, all is read anew."""
        known: int | None = revision
        while not self._tasks.closing:
            try:
                if known is None:
                    known = await self._load()
                self._watch = self._store.watch(self._prefix, known + 1)
                async for batch in self._watch:
                    for event in batch:
                        if event.type == "put":
                            self._graph.put(event.value)
                        else:
                            self._graph.remove(keys.names(self._kind, event.key))
                return
            except Compacted:
                log.warning("pods of nodes are read anew: the watch lagged behind")
            except Exception:
                log.exception("pods of nodes are read anew: they could not be followed")
                await asyncio.sleep(RETRY_SECONDS)
            known = None

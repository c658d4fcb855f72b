"""Keeps the graph of nodes and their pods as the store has it."""

from collections.abc import Mapping
from typing import Any

from weft.apiserver import keys
from weft.apiserver.node_graph import NodeGraph
from weft.apiserver.request import Target
from weft.apiserver.store_follower import StoreFollower
from weft.apiserver.verbs import known_kind
from weft.store.interface import Store


class NodeGraphFollower(StoreFollower):
    """Pods, and what they name."""

    def __init__(self, store: Store, graph: NodeGraph) -> None:
        self._kind = known_kind("pods")
        super().__init__(store, keys.prefix(self._kind), "pods of nodes")
        self._graph = graph

    async def look(self, target: Target, body: Any) -> None:
        """At the pod that a write is about, so that a node in process, which may be quicker than
        this, is not refused what is its own. StoreError."""
        name = target.name if target.kind is self._kind else ""
        spec = body.get("spec") if isinstance(body, Mapping) else None
        bound = spec.get("boundObjectRef") if isinstance(spec, Mapping) else None
        if target.subresource == "token" and isinstance(bound, Mapping):
            name = str(bound.get("name") or "")
        if name:
            entry = await self._store.get(keys.key(self._kind, name, target.namespace))
            if entry is not None:
                self._graph.put(entry.value)

    def clear(self) -> None:
        self._graph.clear()

    def put(self, key: str, value: bytes) -> None:
        self._graph.put(value)

    def remove(self, key: str) -> None:
        self._graph.remove(keys.names(self._kind, key))

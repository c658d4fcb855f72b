"""Keeps the graph of nodes and their pods as the store has it."""

from weft.apiserver import keys
from weft.apiserver.node_graph import NodeGraph
from weft.apiserver.store_follower import StoreFollower
from weft.apiserver.verbs import known_kind
from weft.store.interface import Store


class NodeGraphFollower(StoreFollower):
    """Pods, and what they name."""

    def __init__(self, store: Store, graph: NodeGraph) -> None:
        self._kind = known_kind("pods")
        super().__init__(store, keys.prefix(self._kind), "pods of nodes")
        self._graph = graph

    def clear(self) -> None:
        self._graph.clear()

    def put(self, key: str, value: bytes) -> None:
        self._graph.put(value)

    def remove(self, key: str) -> None:
        self._graph.remove(keys.names(self._kind, key))

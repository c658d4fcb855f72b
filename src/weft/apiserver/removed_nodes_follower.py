"""Keeps the list of removed nodes as the store has it."""

from weft.api.wellknown import REMOVED_NODES
from weft.apiserver import codec, keys
from weft.apiserver.removed_nodes import RemovedNodes
from weft.apiserver.store_follower import StoreFollower
from weft.apiserver.verbs import known_kind
from weft.store.interface import Store

NAMESPACE = "kube-system"


class RemovedNodesFollower(StoreFollower):
    """One ConfigMap."""

    def __init__(self, store: Store, removed: RemovedNodes) -> None:
        self._key = keys.key(known_kind("configmaps"), REMOVED_NODES, NAMESPACE)
        super().__init__(store, self._key, "removed nodes")
        self._removed = removed

    def clear(self) -> None:
        self._removed.put({})

    def put(self, key: str, value: bytes) -> None:
        if key == self._key:
            self._removed.put(codec.to_object(value).get("data") or {})

    def remove(self, key: str) -> None:
        if key == self._key:
            self._removed.put({})

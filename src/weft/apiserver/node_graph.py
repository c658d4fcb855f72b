"""Which pods run on which node and what they read: what a node's rights follow from. Pure."""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from weft.api.k8s.pod_v1 import Pod
from weft.api.objects import decode
from weft.api.pod_references import Reference, references

Name = tuple[str, str]
"""(namespace, name)"""
_TERMINAL = ("Succeeded", "Failed")


class PodFacts(Struct, frozen=True):
    """What is kept of a pod."""

    uid: str
    node: str
    reads: frozenset[Reference]


class NodeGraph:
    """Kept current by a follower of the store."""

    def __init__(self) -> None:
        self._pods: dict[Name, PodFacts] = {}
        self._readers: dict[tuple[str, str, str, str], set[Name]] = {}
        """(node, plural, namespace, name) -> pods."""

    def put(self, stored: bytes) -> None:
        """A pod as it is stored; one that cannot be read gives nobody rights."""
        try:
            pod = decode(Pod, stored)
        except msgspec.MsgspecError:
            return
        name = (pod.metadata.namespace, pod.metadata.name)
        node = pod.spec.node_name
        reads = references(pod) if node and pod.status.phase not in _TERMINAL else frozenset()
        facts = PodFacts(pod.metadata.uid, node, reads)
        if self._pods.get(name) != facts:
            self.remove(name)
            self._pods[name] = facts
            for key in self._keys(name, facts):
                self._readers.setdefault(key, set()).add(name)

    def remove(self, name: Name) -> None:
        facts = self._pods.pop(name, None)
        for key in self._keys(name, facts) if facts is not None else ():
            readers = self._readers[key]
            readers.discard(name)
            if not readers:
                del self._readers[key]

    def clear(self) -> None:
        self._pods.clear()
        self._readers.clear()

    def pod(self, namespace: str, name: str) -> PodFacts | None:
        return self._pods.get((namespace, name))

    def runs(self, node: str, namespace: str, name: str) -> bool:
        """Whether a pod is bound to the node."""
        facts = self._pods.get((namespace, name))
        return facts is not None and bool(node) and facts.node == node

    def reads(self, node: str, plural: str, namespace: str, name: str) -> bool:
        """Whether a pod of the node that has not ended names this object."""
        return (node, plural, namespace, name) in self._readers

    @staticmethod
    def _keys(name: Name, facts: PodFacts) -> Iterable[tuple[str, str, str, str]]:
        return ((facts.node, plural, name[0], read) for plural, read in facts.reads)

"""Hands every node what NetworkPolicies say of its pods, whenever that changes."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from weft.api.errors import ApiError
from weft.daemon.node_links import NodeLinks
from weft.mesh.model import MeshModel, Walls
from weft.node.network_netns import NetnsNetwork, NetworkError

log = logging.getLogger("weft.nodes")

RETRY_SECONDS = 1.0
METHOD = "walls"
PodWalls = Mapping[str, Walls]
"""By uid; who is not named is open."""


def walls_by_node(model: MeshModel) -> dict[str, dict[str, Walls]]:
    """Every node with pods, also one whose pods are all open: they may not have been."""
    found: dict[str, dict[str, Walls]] = {}
    for workload in model.workloads:
        if workload.netns:
            own = found.setdefault(workload.node, {})
            if workload.walls is not None:
                own[workload.uid] = workload.walls
    return found


def read_walls(args: Mapping[str, Any]) -> dict[str, Walls]:
    """What a node was told. ValueError."""
    return msgspec.convert(args["pods"], dict[str, Walls])


class WallKeeper:
    """`on_model` with every model; `run` until cancelled."""

    def __init__(self, own: str, network: NetnsNetwork | None, links: NodeLinks) -> None:
        self._own = own
        self._network = network
        self._links = links
        self._wanted: dict[str, dict[str, Walls]] = {}
        self._pods: frozenset[str] = frozenset()
        self._told: dict[str, tuple[dict[str, Walls], frozenset[str]]] = {}
        self._changed = asyncio.Event()
        self._news = asyncio.Event()
        """Set, and replaced, when a node has been told something."""

    async def in_force(self, node: str, pod_uid: str) -> None:
        """Returns when what the last model says of the pod holds on its node."""
        while not self._holds(node, pod_uid):
            await self._news.wait()

    def link_changed(self, node: str, connected: bool) -> None:
        """Who connects (again) is told (again): the machine may have been started anew."""
        self._told.pop(node, None)
        if connected:
            self._changed.set()

    def on_model(self, model: MeshModel) -> None:
        wanted = walls_by_node(model)
        pods = frozenset(w.uid for w in model.workloads if w.netns)
        if wanted != self._wanted or (pods != self._pods and any(wanted.values())):
            self._wanted, self._pods = wanted, pods
            self._changed.set()
            self._tell_waiting()

    def _holds(self, node: str, pod_uid: str) -> bool:
        wanted = self._wanted.get(node, {}).get(pod_uid)
        told = self._told.get(node)
        return wanted is None if told is None else told[0].get(pod_uid) == wanted

    def _tell_waiting(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def run(self) -> None:
        while True:
            self._changed.clear()
            waiting = [node for node in tuple(self._wanted) if not await self._tell(node)]
            for gone in self._told.keys() - self._wanted.keys():
                del self._told[gone]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS if waiting else None):
                    await self._changed.wait()

    async def _tell(self, node: str) -> bool:
        """Whether the node has it."""
        said = (self._wanted[node], self._pods)
        if node != self._own and not self._links.connected(node):
            self._told.pop(node, None)
            return not said[0]
        if self._told.get(node) == said:
            return True
        try:
            if node == self._own:
                if self._network is not None:
                    await self._network.enforce(said[0])
            else:
                await self._links.call(node, METHOD, pods=msgspec.to_builtins(said[0]))
        except (NetworkError, ApiError, OSError, TimeoutError) as error:
            log.warning("network policies not in force node=%s error=%s", node, error)
            return False
        if node != self._own and not self._links.connected(node):
            return False
        self._told[node] = said
        self._tell_waiting()
        return True

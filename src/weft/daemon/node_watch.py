"""A node that is cut off loses its traffic at once, not when its Lease ends.

The control plane has two connections to each node: the agent's link and the proxy's stream. When
both are gone, and stay so for a moment, the node is unreachable: Ready becomes Unknown, and the
node controller does the rest. An agent that restarts leaves the proxy's stream alone.
"""

import asyncio
import logging
from typing import Any

import msgspec

from weft.api.conditions import condition
from weft.api.errors import ApiError
from weft.api.k8s.core_v1 import Node
from weft.api.registry import kind_for
from weft.api.wellknown import REASON_NODE_LOST
from weft.daemon.node_links import NodeLinks
from weft.lib.aio import Tasks, now
from weft.lib.timefmt import rfc3339
from weft.runtime.cache import Cache
from weft.runtime.client import Client
from weft.xds.server import AdsServer

log = logging.getLogger("weft.nodes")

LOST_SECONDS = 3.0
"""Without both connections for so long, a node is unreachable."""
LOOK_SECONDS = 0.5
RETRY_SECONDS = 1.0


class NodeWatch:
    """Tell it of links that come and go."""

    def __init__(self, client: Client, cache: Cache, links: NodeLinks, ads: AdsServer) -> None:
        self._client, self._cache, self._links, self._ads = client, cache, links, ads
        self._tasks = Tasks()
        self._watched: set[str] = set()

    def link_changed(self, node: str, connected: bool) -> None:
        if node not in self._watched:
            self._watched.add(node)
            self._tasks.spawn(self._watch(node), f"node-watch-{node}")

    async def close(self) -> None:
        await self._tasks.close()

    async def _watch(self, node: str) -> None:
        """From a node's first connection on, for as long as it has a Node object."""
        loop = asyncio.get_running_loop()
        heard = loop.time()
        while True:
            if self._links.connected(node) or self._ads.connected(node):
                heard = loop.time()
                if self._links.connected(node):
                    await self._say(node, lost=False)
            elif loop.time() - heard > LOST_SECONDS:
                await self._say(node, lost=True)
                if self._cache.get(Node, node) is None:
                    self._watched.discard(node)
                    return
            await asyncio.sleep(LOOK_SECONDS)

    async def _say(self, name: str, *, lost: bool) -> None:
        """Write the condition, when it is not so already."""
        node = self._cache.get(Node, name)
        found = condition(node.status.conditions, "Ready") if node is not None else None
        if node is None or found is None or lost is (found.status == "Unknown"):
            return
        if not lost and found.reason != REASON_NODE_LOST:
            return  # silent for another reason: its Lease says when it is back
        at = rfc3339(now())
        ready: dict[str, Any] = {
            "type": "Ready",
            "status": "Unknown" if lost else "True",
            "reason": REASON_NODE_LOST if lost else "KubeletReady",
            "message": "The node's agent and proxy lost their connections."
            if lost
            else "The node's agent is connected again.",
            "lastTransitionTime": at,
            "lastHeartbeatTime": found.last_heartbeat_time if lost else at,
        }
        others = [c for c in msgspec.to_builtins(node.status.conditions) if c["type"] != "Ready"]
        body = {
            "metadata": {"resourceVersion": node.metadata.resource_version},
            "status": {"conditions": [*others, ready]},
        }
        try:
            await self._client.patch(kind_for(Node), name, body, subresource="status")
            log.warning("node is %s node=%s", "unreachable" if lost else "back", name)
        except ApiError as error:
            log.info("node condition not written node=%s error=%s", name, error)
            await asyncio.sleep(RETRY_SECONDS)

"""Keeps this machine's routes to the pods of other nodes true to the Node objects."""

import asyncio
import logging

from msgspec import Struct

from weft.api.k8s.core_v1 import Node
from weft.node.node_routes import NodeRoutes, wanted_routes
from weft.runtime.informer import Informers

log = logging.getLogger("weft.nodes")

RETRY_SECONDS = 5.0


class RouteKeeper:
    """`run` until cancelled; `remove` in the end."""

    def __init__(self, informers: Informers, node: str) -> None:
        self._informers = informers
        self._node = node
        self._routes = NodeRoutes()
        self._changed = asyncio.Event()
        informers.add(Node)
        informers.subscribe(self._on_change)

    def _on_change(self, cls: type[Struct], before: Struct | None, after: Struct | None) -> None:
        if cls is Node:
            self._changed.set()

    async def run(self) -> None:
        await self._informers.synced((Node,))
        while True:
            self._changed.clear()
            try:
                await self._routes.apply(
                    wanted_routes(self._informers.cache.list(Node), self._node)
                )
            except OSError as error:
                log.warning("routes to other nodes not set error=%s", error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await self._changed.wait()

    async def remove(self) -> None:
        try:
            await self._routes.remove()
        except OSError as error:
            log.warning("routes to other nodes not removed error=%s", error)

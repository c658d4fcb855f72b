"""Notices that the node's Envoy ended by itself and was started again by the pod host."""

import asyncio
from collections.abc import Callable

from weft.node.envoy import is_envoy
from weft.node.podhost_client import PodhostError
from weft.node.runtime import ContainerRuntime

LOOK_SECONDS = 5.0


class ProxyWatch:
    """`told` gets a sentence for each time."""

    def __init__(self, runtime: ContainerRuntime, told: Callable[[str], None]) -> None:
        self._runtime, self._told = runtime, told
        self._restarts: dict[str, int] = {}

    async def run(self) -> None:
        """For ever. What happened before the first look is not news."""
        await self.look()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        try:
            states = [s for s in await self._runtime.list() if is_envoy(s.id)]
        except (PodhostError, OSError):
            return  # looked at again
        for state in states:
            times = state.restarts - self._restarts.get(state.id, state.restarts)
            if times > 0:
                ended = state.message.removesuffix(", starting again") or "ended by itself"
                self._told(f"The node's Envoy {ended} and was started again; pods run on.")
        self._restarts = {s.id: s.restarts for s in states}

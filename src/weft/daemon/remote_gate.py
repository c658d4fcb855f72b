"""What a node's agent waits for, asked of the control plane over the link."""

import asyncio

from weft.api.errors import ApiError
from weft.daemon.agent_link import AgentLink
from weft.daemon.node_link import LinkDownError
from weft.node.envoy import EnvoyError

RETRY_SECONDS = 0.2
WAIT_SECONDS_MAX = 60.0
"""The control plane answers at the latest after half of it; then it is asked again."""
COUNT_SECONDS_MAX = 5.0


class LinkGate:
    """node.gate.ProxyGate. While the control plane is away nothing is acknowledged, so it waits."""

    def __init__(self, link: AgentLink) -> None:
        self._link = link

    async def listeners_ready(self, pod_uid: str) -> None:
        await self._wait("listeners_ready", pod_uid)

    async def endpoint_draining(self, pod_uid: str) -> None:
        await self._wait("endpoint_draining", pod_uid)

    async def listeners_removed(self, pod_uid: str) -> None:
        await self._wait("listeners_removed", pod_uid)

    async def _wait(self, what: str, pod_uid: str) -> None:
        while True:
            try:
                if await self._link.call("wait", WAIT_SECONDS_MAX, what=what, pod=pod_uid):
                    return
            except (LinkDownError, ApiError, TimeoutError):
                await asyncio.sleep(RETRY_SECONDS)


class LinkInFlight:
    """node.agent_settings.InFlight: the requests of all nodes' callers."""

    def __init__(self, link: AgentLink) -> None:
        self._link = link

    async def active(self, address: str, ports: tuple[int, ...] = ()) -> int:
        try:
            found = await self._link.call(
                "active", COUNT_SECONDS_MAX, address=address, ports=list(ports)
            )
        except (LinkDownError, ApiError, TimeoutError) as error:
            raise EnvoyError(f"the proxies of all nodes cannot be asked: {error}") from error
        return int(found)

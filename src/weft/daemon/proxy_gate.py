"""What the node agent waits for, answered by the xDS server."""

from collections.abc import Awaitable, Callable

from weft.xds.server import AdsServer

InForce = Callable[[str, str], Awaitable[None]]
"""Of a node and a pod: returns when the pod's NetworkPolicies hold there."""


class AdsGate:
    """ProxyGate of one node."""

    def __init__(self, ads: AdsServer, node: str, in_force: InForce) -> None:
        self._ads = ads
        self._node = node
        self._in_force = in_force

    async def listeners_ready(self, pod_uid: str) -> None:
        await self._ads.wait(lambda ads: ads.listeners_ready(self._node, pod_uid))
        # The model that made the listeners was heard of by whoever keeps the policies before them.
        await self._in_force(self._node, pod_uid)

    async def endpoint_draining(self, pod_uid: str) -> None:
        await self._ads.wait(lambda ads: ads.endpoint_draining(pod_uid))

    async def listeners_removed(self, pod_uid: str) -> None:
        await self._ads.wait(lambda ads: ads.listeners_removed(self._node, pod_uid))

"""What the node agent waits for, answered by the xDS server."""

from weft.xds.server import AdsServer


class AdsGate:
    """ProxyGate of one node."""

    def __init__(self, ads: AdsServer, node: str) -> None:
        self._ads = ads
        self._node = node

    async def listeners_ready(self, pod_uid: str) -> None:
        await self._ads.wait(lambda ads: ads.listeners_ready(self._node, pod_uid))

    async def endpoint_draining(self, pod_uid: str) -> None:
        await self._ads.wait(lambda ads: ads.endpoint_draining(pod_uid))

    async def listeners_removed(self, pod_uid: str) -> None:
        await self._ads.wait(lambda ads: ads.listeners_removed(self._node, pod_uid))

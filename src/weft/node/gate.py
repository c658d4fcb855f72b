"""What the agent waits for from the mesh: the drain contract's other side."""

from typing import Protocol


class ProxyGate(Protocol):
    """Acknowledgements of node proxies about one pod. Each call returns when it holds; callers
    bound the wait themselves."""

    async def listeners_ready(self, pod_uid: str) -> None:
        """This node's proxy acknowledged the pod's listeners, and its NetworkPolicies are in force:
        its processes may start."""

    async def endpoint_draining(self, pod_uid: str) -> None:
        """Every connected proxy acknowledged that the pod gets no new requests."""

    async def listeners_removed(self, pod_uid: str) -> None:
        """This node's proxy closed the pod's listeners: its network may go."""


class OpenGate:
    """No mesh: everything holds at once."""

    async def listeners_ready(self, pod_uid: str) -> None: ...

    async def endpoint_draining(self, pod_uid: str) -> None: ...

    async def listeners_removed(self, pod_uid: str) -> None: ...

"""A machine in memory: containers, networks, images and a mesh that tests steer by hand."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from msgspec.structs import replace

from weft.lib.aio import now
from weft.node.runtime import (
    ContainerSpec,
    ContainerState,
    ExecResult,
    Image,
    OciImage,
    PodNetwork,
    PodsUsage,
)


class FakeRuntime:
    """Containers that run until they are told to end. Survives the agent, as a pod host does."""

    def __init__(self) -> None:
        self.specs: dict[str, ContainerSpec] = {}
        self.states: dict[str, ContainerState] = {}
        self.signals: list[tuple[str, int]] = []
        self.queues: list[asyncio.Queue[ContainerState]] = []
        self.obeys_sigterm = True
        self.exec_result = ExecResult(0, b"")

    async def start(self, spec: ContainerSpec) -> ContainerState:
        self.specs[spec.id] = spec
        self.states[spec.id] = ContainerState(spec.id, pid=100, started_at=now())
        return self.states[spec.id]

    async def signal(self, container_id: str, signal_number: int) -> None:
        self.signals.append((container_id, signal_number))
        if self.obeys_sigterm and signal_number == 15:
            self.end(container_id, 143)

    async def kill(self, container_id: str) -> None:
        self.signals.append((container_id, 9))
        self.end(container_id, 137)

    def end(self, container_id: str, code: int, reason: str = "") -> None:
        """The program ended by itself, or by a signal."""
        state = self.states.get(container_id)
        if state is None or state.exit_code is not None:
            return
        reason = reason or ("Completed" if code == 0 else "Error")
        self.states[container_id] = replace(state, exit_code=code, reason=reason, finished_at=now())
        for queue in self.queues:
            queue.put_nowait(self.states[container_id])

    async def release(self, directory: str) -> None:
        return

    async def remove(self, container_id: str) -> None:
        self.states.pop(container_id, None)

    async def list(self) -> tuple[ContainerState, ...]:
        return tuple(self.states.values())

    async def events(self) -> AsyncIterator[ContainerState]:
        queue: asyncio.Queue[ContainerState] = asyncio.Queue()
        self.queues.append(queue)
        for state in tuple(self.states.values()):
            if state.exit_code is not None:
                queue.put_nowait(state)
        while True:
            yield await queue.get()

    async def exec(
        self, container_id: str, argv: tuple[str, ...], timeout_seconds: float
    ) -> ExecResult:
        return self.exec_result

    async def usage(self, container_id: str) -> tuple[float, int]:
        return 0.0, 0

    async def limit_pods(self, memory_bytes: int | None, pids: int | None) -> None:
        return

    async def pods_usage(self) -> PodsUsage:
        return PodsUsage()

    @property
    def running(self) -> Sequence[str]:
        return [s.id for s in self.states.values() if s.exit_code is None]


class FakeNetwork:
    """Addresses without namespaces, kept over restarts of the agent."""

    def __init__(self) -> None:
        self.pods: dict[str, PodNetwork] = {}
        self.count = 0

    async def create(self, pod_uid: str) -> PodNetwork:
        if pod_uid not in self.pods:
            self.count += 1
            netns = f"/run/netns/{self.count}"
            self.pods[pod_uid] = PodNetwork(f"127.77.0.{self.count}", netns)
        return self.pods[pod_uid]

    async def delete(self, pod_uid: str) -> None:
        self.pods.pop(pod_uid, None)

    async def list(self) -> dict[str, PodNetwork]:
        return dict(self.pods)


class FakeImages:
    def __init__(self, *names: str) -> None:
        self.images = {n: Image(n, "/srv", ("serve",)) for n in names}

    def resolve(self, name: str) -> Image | None:
        return self.images.get(name)

    def names(self) -> tuple[str, ...]:
        return tuple(self.images)

    def layers(self, image: OciImage) -> tuple[str, ...]:
        return ()

    def id_of(self, name: str) -> str:
        return f"weft://{name}"


class FakeMesh:
    """Gate and request counter. Everything holds at once unless a test holds it back."""

    def __init__(self) -> None:
        self.events: dict[str, asyncio.Event] = {}
        self.asked: list[str] = []
        self.requests = 0
        for name in ("ready", "draining", "removed"):
            self.events[name] = asyncio.Event()
            self.events[name].set()

    def hold(self, name: str) -> None:
        self.events[name].clear()

    def release(self, name: str) -> None:
        self.events[name].set()

    async def _wait(self, name: str) -> None:
        self.asked.append(name)
        await self.events[name].wait()

    async def listeners_ready(self, pod_uid: str) -> None:
        await self._wait("ready")

    async def endpoint_draining(self, pod_uid: str) -> None:
        await self._wait("draining")

    async def listeners_removed(self, pod_uid: str) -> None:
        await self._wait("removed")

    async def active(self, address: str, ports: tuple[int, ...] = ()) -> int:
        return self.requests

"""Containers by what runs them: those from images by a container engine, processes by the pod
host."""

import asyncio
from collections.abc import AsyncIterator

from weft.lib.aio import Tasks
from weft.node.engine.runtime import EngineRuntime
from weft.node.podhost_client import PodhostRuntime
from weft.node.runtime import (
    Command,
    ContainerRuntime,
    ContainerSpec,
    ContainerState,
    ExecResult,
    Limits,
    PodsUsage,
    Process,
)


class RoutedRuntime:
    """ContainerRuntime."""

    def __init__(self, podhost: PodhostRuntime, engine: EngineRuntime) -> None:
        self._podhost = podhost
        self._engine = engine

    def _of(self, container_id: str) -> ContainerRuntime:
        return self._engine if self._engine.has(container_id) else self._podhost

    async def start(self, spec: ContainerSpec) -> ContainerState:
        return await (self._engine if spec.engine is not None else self._podhost).start(spec)

    async def signal(self, container_id: str, signal_number: int) -> None:
        await self._of(container_id).signal(container_id, signal_number)

    async def limit(self, container_id: str, limits: Limits) -> None:
        await self._of(container_id).limit(container_id, limits)

    async def retire(self, container_id: str) -> None:
        await self._of(container_id).retire(container_id)

    async def kill(self, container_id: str) -> None:
        await self._of(container_id).kill(container_id)

    async def release(self, directory: str) -> None:
        await self._engine.release(directory)
        await self._podhost.release(directory)

    async def remove(self, container_id: str) -> None:
        await self._of(container_id).remove(container_id)

    async def list(self) -> tuple[ContainerState, ...]:
        return (*await self._podhost.list(), *await self._engine.list())

    async def events(self) -> AsyncIterator[ContainerState]:
        queue: asyncio.Queue[ContainerState | Exception] = asyncio.Queue()

        async def forward(events: AsyncIterator[ContainerState]) -> None:
            try:
                async for state in events:
                    queue.put_nowait(state)
            except Exception as error:
                queue.put_nowait(error)

        tasks = Tasks()
        tasks.spawn(forward(self._podhost.events()), "podhost-events")
        tasks.spawn(forward(self._engine.events()), "engine-events")
        try:
            while True:
                found = await queue.get()
                if isinstance(found, Exception):
                    raise found
                yield found
        finally:
            await tasks.close()

    async def exec(
        self, container_id: str, argv: tuple[str, ...], timeout_seconds: float
    ) -> ExecResult:
        return await self._of(container_id).exec(container_id, argv, timeout_seconds)

    async def open_exec(self, container_id: str, command: Command) -> Process:
        return await self._of(container_id).open_exec(container_id, command)

    async def open_attach(self, container_id: str, command: Command) -> Process:
        return await self._of(container_id).open_attach(container_id, command)

    async def usage(self, container_id: str) -> tuple[float, int]:
        return await self._of(container_id).usage(container_id)

    async def limit_pods(self, memory_bytes: int | None, pids: int | None) -> None:
        await self._podhost.limit_pods(memory_bytes, pids)
        await self._engine.limit_pods(memory_bytes, pids)

    async def pods_usage(self) -> PodsUsage:
        return await self._podhost.pods_usage()

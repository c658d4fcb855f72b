"""All controllers and the scheduler on a real API server, with a fake node agent."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from tests.runtime.support import kind
from weft.api.errors import ApiError
from weft.controllers.catalog import controllers
from weft.lib.aio import now
from weft.lib.timefmt import rfc3339
from weft.runtime.client import Client
from weft.runtime.events import EventRecorder
from weft.runtime.informer import Informers
from weft.runtime.loop import ControllerLoop
from weft.scheduler.controller import CONTROLLER as SCHEDULER

NODE = {
    "metadata": {"name": "n1"},
    "status": {
        "conditions": [{"type": "Ready", "status": "True"}],
        "allocatable": {"cpu": "64", "memory": "64Gi", "pods": "500"},
    },
}


class Cluster:
    """A client with what tests ask of it."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def create(self, plural: str, body: dict[str, Any], namespace: str = "shop") -> None:
        found = kind(plural)
        await self.client.create(found, body, namespace if found.namespaced else "")

    async def all(self, plural: str, namespace: str = "shop") -> list[dict[str, Any]]:
        found = await self.client.list(kind(plural), namespace)
        return [msgspec.json.decode(i) for i in found.items]

    async def get(self, plural: str, name: str, namespace: str = "shop") -> dict[str, Any] | None:
        try:
            body = await self.client.get(kind(plural), name, namespace)
        except ApiError:
            return None
        found: dict[str, Any] = msgspec.json.decode(body)
        return found

    async def until(self, holds: Callable[[], Awaitable[bool]], seconds: float = 15.0) -> None:
        async with asyncio.timeout(seconds):
            while not await holds():  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def agent(self) -> None:
        """Makes bound pods ready (those of Jobs: done), and ends those asked to end."""
        while True:
            for pod in await self.all("pods", ""):
                await self._advance(pod)
            await asyncio.sleep(0.02)

    async def _advance(self, pod: dict[str, Any]) -> None:
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        phase = pod["status"].get("phase")
        try:
            if pod["metadata"].get("deletionTimestamp"):
                if pod["metadata"].get("deletionGracePeriodSeconds"):
                    await self.client.delete(kind("pods"), name, namespace, grace_period_seconds=0)
            elif pod["spec"].get("nodeName") and phase == "Pending":
                await self.client.patch(
                    kind("pods"), name, {"status": _status(pod)}, namespace, subresource="status"
                )
        except ApiError as error:
            if error.code not in (404, 409):
                raise


def _status(pod: dict[str, Any]) -> dict[str, Any]:
    if "job-name" in pod["metadata"]["labels"]:
        return {"phase": "Succeeded"}
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": rfc3339(now())}
    others = pod["status"].get("conditions") or []
    return {"phase": "Running", "podIP": "10.0.0.9", "conditions": [*others, ready]}


@asynccontextmanager
async def cluster(client: Client) -> AsyncIterator[Cluster]:
    informers = Informers(client)
    recorder = EventRecorder(client, "weft")
    loops = [ControllerLoop(c, client, informers, recorder) for c in (*controllers(), SCHEDULER)]
    made = Cluster(client)
    recorder.start()
    informers.start()
    for one in loops:
        one.start()
    await made.create("nodes", NODE)
    await client.patch(kind("nodes"), "n1", {"status": NODE["status"]}, subresource="status")
    await made.create("namespaces", {"metadata": {"name": "shop"}})
    agent = asyncio.ensure_future(made.agent())
    try:
        yield made
    finally:
        agent.cancel()
        for one in loops:
            await one.close()
        await recorder.close()
        await informers.close()

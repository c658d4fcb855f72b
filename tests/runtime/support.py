"""A real API server in process on a memory store, and a client whose calls can be bent."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

from weft.api.k8s.apps_v1 import ReplicaSet
from weft.api.k8s.container_v1 import Container
from weft.api.k8s.core_v1 import ConfigMap
from weft.api.k8s.meta_v1 import ObjectMeta, OwnerReference
from weft.api.k8s.pod_v1 import Pod, PodSpec
from weft.api.kinds import Kind
from weft.api.registry import by_name
from weft.apiserver.addresses import Ranges
from weft.apiserver.local_client import LocalClient
from weft.apiserver.resources import Resources
from weft.apiserver.watching import Watches
from weft.lib.aio import now
from weft.runtime.client import ObjectList, WatchEvent
from weft.store.interface import Store
from weft.store.memory import MemoryStore


def kind(name: str) -> Kind:
    found = by_name(name)
    assert found is not None
    return found


class BentClient(LocalClient):
    """Counts calls; `before` runs ahead of every call and may raise or wait."""

    def __init__(self, store: Store | None = None) -> None:
        self.store = store or MemoryStore()
        resources = Resources(
            self.store, clock=now, random=random.Random(7).randrange, ranges=Ranges()
        )
        super().__init__(resources, Watches(self.store))
        self.calls: list[str] = []
        self.before: Callable[[str, Kind], Any] = lambda verb, kind: None
        self.bend: Callable[[WatchEvent], WatchEvent] = lambda event: event

    async def _call(self, verb: str, kind: Kind) -> None:
        self.calls.append(f"{verb} {kind.plural}")
        waiting = self.before(verb, kind)
        if waiting is not None:
            await waiting

    async def list(self, kind: Kind, *args: Any, **options: Any) -> ObjectList:
        await self._call("list", kind)
        return await super().list(kind, *args, **options)

    async def watch(self, kind: Kind, *args: Any, **options: Any) -> AsyncIterator[WatchEvent]:
        await self._call("watch", kind)
        async for event in super().watch(kind, *args, **options):
            await self._call("event", kind)
            yield self.bend(event)

    async def create(self, kind: Kind, *args: Any, **options: Any) -> bytes:
        await self._call("create", kind)
        return await super().create(kind, *args, **options)

    async def patch(self, kind: Kind, *args: Any, **options: Any) -> bytes:
        await self._call("patch", kind)
        return await super().patch(kind, *args, **options)

    async def delete(self, kind: Kind, *args: Any, **options: Any) -> bytes:
        await self._call("delete", kind)
        return await super().delete(kind, *args, **options)


async def new_client(store: Store | None = None) -> BentClient:
    """A client to an API that has the namespace `default`."""
    client = BentClient(store)
    await client.create(kind("namespaces"), {"metadata": {"name": "default"}})
    client.calls.clear()
    return client


def config(name: str, owner: str = "", **data: str) -> ConfigMap:
    owners = (
        (OwnerReference(api_version="v1", kind="X", name="x", uid=owner, controller=True),)
        if owner
        else ()
    )
    metadata = ObjectMeta(name=name, namespace="default", owner_references=owners)
    return ConfigMap(metadata=metadata, data=data)


def pod(name: str, *, uid: str = "", node: str = "", leaving: bool = False) -> Pod:
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace="default",
            uid=uid,
            deletion_timestamp="2026-01-01T00:00:00Z" if leaving else "",
        ),
        spec=PodSpec(containers=(Container(name="c", image="i"),), node_name=node),
    )


def replica_set(name: str) -> ReplicaSet:
    return ReplicaSet(metadata=ObjectMeta(name=name, namespace="default"))


async def eventually(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    """Wait until `condition` holds; fails the test when it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - conditions here have no event to wait for
            await asyncio.sleep(0.002)

"""An API server on a memory store with a clock that tests move and repeatable randomness."""

import random
from typing import Any

import orjson

from weft.api import registry
from weft.api.kinds import Kind
from weft.apiserver.access import MASTERS, User
from weft.apiserver.addresses import Ranges
from weft.apiserver.local_client import LocalClient
from weft.apiserver.request import Target, WriteOptions
from weft.apiserver.resources import Resources
from weft.apiserver.watching import Watches
from weft.store.memory import MemoryStore

USER = User("alice", (MASTERS,))
START = 1_790_000_000.0


class Clock:
    """Seconds since the epoch, moved by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def kind(name: str) -> Kind:
    found = registry.by_name(name)
    assert found is not None
    return found


class Api:
    """Verbs in short form: names of kinds in, JSON out."""

    def __init__(self, ranges: Ranges | None = None) -> None:
        self.clock = Clock()
        self.store = MemoryStore()
        self.resources = Resources(
            self.store,
            clock=self.clock,
            random=random.Random(7).randrange,
            ranges=ranges or Ranges(),
        )
        self.watches = Watches(self.store)
        self.client = LocalClient(self.resources, self.watches)

    def target(
        self, plural: str, name: str = "", sub: str = "", namespace: str = "default"
    ) -> Target:
        found = kind(plural)
        return Target(found, found.version, namespace if found.namespaced else "", name, sub)

    async def create(
        self, plural: str, obj: Any, options: WriteOptions | None = None, namespace: str = "default"
    ) -> dict[str, Any]:
        done = await self.resources.create(
            self.target(plural, namespace=namespace), obj, options or WriteOptions(), USER
        )
        return orjson.loads(done.body)

    async def get(self, plural: str, name: str, sub: str = "") -> dict[str, Any]:
        return orjson.loads(await self.resources.get(self.target(plural, name, sub)))

    async def update(
        self, plural: str, obj: Any, sub: str = "", options: WriteOptions | None = None
    ) -> dict[str, Any]:
        target = self.target(plural, obj["metadata"]["name"], sub)
        done = await self.resources.update(target, obj, options or WriteOptions(), USER)
        return orjson.loads(done.body)

    async def patch(
        self,
        plural: str,
        name: str,
        body: Any,
        how: Any = "merge",
        sub: str = "",
        options: WriteOptions | None = None,
    ) -> dict[str, Any]:
        target = self.target(plural, name, sub)
        done = await self.resources.patch(target, how, body, options or WriteOptions(), USER)
        return orjson.loads(done.body)


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    containers = [{"name": "c", "image": "app:1"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": containers} | spec,
    }


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


def deployment(name: str = "web", replicas: int = 2) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": "app:1"}]},
            },
        },
    }


def service(name: str = "web", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}]} | spec,
    }

"""From objects to what proxies shall have, when files and nodes come and go."""

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.waiting import until
from weft.api.registry import by_name
from weft.apiserver.addresses import Ranges
from weft.apiserver.local_client import LocalClient
from weft.apiserver.resources import Resources
from weft.apiserver.watching import Watches
from weft.daemon.mesh_loop import MeshLoop
from weft.lib.aio import Tasks, now
from weft.mesh.build import BuildSettings
from weft.runtime.informer import Informers
from weft.store.memory import MemoryStore
from weft.xds.server import AdsServer


class Mesh:
    """A mesh loop on a real API."""

    def __init__(self) -> None:
        store = MemoryStore()
        resources = Resources(store, clock=now, random=random.Random(7).randrange, ranges=Ranges())
        self.client = LocalClient(resources, Watches(store))
        self.informers = Informers(self.client)
        self.ads = AdsServer()
        self.loop = MeshLoop(self.informers, self.ads, BuildSettings())
        self.tasks = Tasks()

    async def create(self, plural: str, name: str, **body: Any) -> None:
        kind = by_name(plural)
        assert kind is not None
        namespace = "default" if kind.namespaced else ""
        await self.client.create(kind, {"metadata": {"name": name}} | body, namespace)

    async def delete(self, plural: str, name: str) -> None:
        kind = by_name(plural)
        assert kind is not None
        await self.client.delete(kind, name, "default" if kind.namespaced else "")


@pytest_asyncio.fixture
async def mesh() -> AsyncIterator[Mesh]:
    mesh = Mesh()
    await mesh.create("namespaces", "default")
    mesh.informers.start()
    mesh.tasks.spawn(mesh.loop.run(), "mesh-loop")
    yield mesh
    await mesh.tasks.close()
    await mesh.informers.close()


def gateway(certificate: str) -> dict[str, Any]:
    tls = {"mode": "SIMPLE", "serverCertificate": certificate, "privateKey": certificate}
    port = {"number": 443, "name": "https", "protocol": "HTTPS"}
    return {"selector": {}, "servers": [{"port": port, "hosts": ["*"], "tls": tls}]}


async def test_a_certificate_path_that_cannot_be_looked_at_stops_nothing(
    mesh: Mesh, tmp_path: Path
) -> None:
    """Longer than a file name may be; as an ordinary user, somebody else's directory is alike."""
    await mesh.create("gateways", "edge", spec=gateway(f"{tmp_path}/{'x' * 300}"))
    await until(lambda: mesh.loop.diagnostics)
    await mesh.create("nodes", "node-1")
    await until(lambda: mesh.ads.nodes() == ("node-1",))


async def test_a_node_that_is_gone_is_forgotten(mesh: Mesh) -> None:
    await mesh.create("nodes", "node-1")
    await mesh.create("nodes", "node-2")
    await until(lambda: set(mesh.ads.nodes()) == {"node-1", "node-2"})
    await mesh.delete("nodes", "node-1")
    await until(lambda: mesh.ads.nodes() == ("node-2",))
    assert set(mesh.loop.wanted) == {"node-2"}

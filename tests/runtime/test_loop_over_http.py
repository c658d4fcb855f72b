"""A controller in another process' place: over TLS, on the durable store, through a restart."""

import asyncio
import random
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.runtime.support import config, eventually, kind
from tests.runtime.test_http_client import TOKEN, Tls, connection
from tests.runtime.test_loop import owner_keys, replicas
from weft.api.errors import ApiError
from weft.api.k8s.core_v1 import ConfigMap
from weft.api.k8s.pod_v1 import Pod
from weft.api.objects import to_json
from weft.apiserver.access import MASTERS, User
from weft.apiserver.app import ApiServer, Settings
from weft.runtime.client import ObjectList
from weft.runtime.controller import Controller, Watch
from weft.runtime.events import EventRecorder
from weft.runtime.http_client import HttpClient
from weft.runtime.informer import Informers
from weft.runtime.loop import ControllerLoop
from weft.store.sqlite import SqliteStore

OWNERS = 10
MAPS = kind("configmaps")


class Api:
    """weft's API server on a file, which can go away and come back on the same port."""

    def __init__(self, path: Path, tls: Tls) -> None:
        self.path, self.tls, self.port = path, tls, 0

    async def start(self) -> None:
        self.store = await SqliteStore.open(self.path)
        self.server = ApiServer(self.store, Settings(tokens={TOKEN: User("a", (MASTERS,))}))
        await self.server.start("127.0.0.1", self.port, self.tls.context)
        self.port = self.server.port

    async def stop(self) -> None:
        await self.server.close()
        await self.store.close()


class Watched(HttpClient):
    """Counts lists."""

    lists = 0

    async def list(self, *args: Any, **options: Any) -> ObjectList:
        self.lists += 1
        return await super().list(*args, **options)


async def scale(client: HttpClient, name: str, count: int) -> None:
    while True:
        try:
            await client.patch(MAPS, name, {"data": {"n": str(count)}}, "default")
        except ApiError as error:
            if error.code != 503:
                raise
            await asyncio.sleep(0.02)
        else:
            return


@pytest.mark.slow
async def test_a_controller_survives_a_restart_of_the_api_server(tmp_path: Path) -> None:
    tls, chance = Tls(tmp_path), random.Random(3)
    api = Api(tmp_path / "store.db", tls)
    await api.start()
    client = Watched(connection(api.server, tls))
    informers = Informers(client)
    watches = (Watch(Pod, owner_keys),)
    controller = Controller(name="test", primary=ConfigMap, plan=replicas, watches=watches)
    loop = ControllerLoop(controller, client, informers, EventRecorder(client, "test"))
    informers.start()
    loop.start()

    def counts() -> dict[str, int]:
        owners = informers.cache.list(ConfigMap)
        return {o.metadata.name: len(informers.cache.owned(Pod, o.metadata.uid)) for o in owners}

    wanted = {f"a{n}": n % 4 for n in range(OWNERS)}
    for name, count in wanted.items():
        await client.create(MAPS, to_json(config(name, n=str(count))))
    await eventually(lambda: counts() == wanted, 20)
    for _ in range(3):
        changes = [scale(client, name, chance.randrange(6)) for name in wanted]
        changing = asyncio.gather(*changes)
        await asyncio.sleep(chance.uniform(0, 0.05))
        await api.stop()
        await asyncio.sleep(0.1)
        await api.start()
        await changing
    page = await client.list(MAPS)
    wanted = {o["metadata"]["name"]: int(o["data"]["n"]) for o in map(orjson.loads, page.items)}
    await eventually(lambda: counts() == wanted, 20)
    assert client.lists == 3, "one list per kind and the test's own: watches resumed"
    await loop.close()
    await informers.close()
    await client.close()
    await api.stop()

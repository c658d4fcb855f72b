"""A controller in another process' place: over TLS, on the durable store, and kill -9."""

import asyncio
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.runtime.api_process import TOKEN
from tests.runtime.support import config, eventually, kind
from tests.runtime.test_http_client import Tls
from tests.runtime.test_loop import owner_keys, replicas
from weft.api.errors import ApiError
from weft.api.k8s.core_v1 import ConfigMap
from weft.api.k8s.pod_v1 import Pod
from weft.api.objects import to_json
from weft.runtime.client import ObjectList
from weft.runtime.controller import Controller, Watch
from weft.runtime.events import EventRecorder
from weft.runtime.http_client import HttpClient
from weft.runtime.informer import Informers
from weft.runtime.kubeconfig import Connection
from weft.runtime.loop import ControllerLoop

OWNERS = 10
MAPS = kind("configmaps")


class Api:
    """weft's API server in a process on a file; it is killed and comes back on the same port."""

    def __init__(self, directory: Path) -> None:
        self.tls, self.port = Tls(directory), 0
        (directory / "ca.pem").write_text(self.tls.root.roots)
        self._files = [str(directory / name) for name in ("store.db", "server.pem", "ca.pem")]

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.runtime.api_process", *self._files, str(self.port)]
        root = Path(__file__).parent.parent.parent
        self._process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


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
async def test_a_controller_survives_kills_of_the_api_server(tmp_path: Path) -> None:
    chance, api = random.Random(3), Api(tmp_path)
    api.start()
    try:
        await converge(api, chance)
    finally:
        api.kill()


async def converge(api: Api, chance: random.Random) -> None:
    """Scale ten owners up and down while the server is killed; all get what they want."""
    client = Watched(
        Connection(server=f"https://127.0.0.1:{api.port}", ca=api.tls.root.roots, token=TOKEN)
    )
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
        api.kill()
        await asyncio.to_thread(api.start)
        await changing
    page = await client.list(MAPS)
    wanted = {o["metadata"]["name"]: int(o["data"]["n"]) for o in map(orjson.loads, page.items)}
    await eventually(lambda: counts() == wanted, 20)
    assert client.lists == 3, "one list per kind and the test's own: watches resumed"
    await loop.close()
    await informers.close()
    await client.close()

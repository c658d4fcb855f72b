"""Starting, starting again on the same store, housekeeping."""

import asyncio
from pathlib import Path

from tests.apiserver.support import START, Api, kind
from weft.api.objects import key_of
from weft.apiserver.app import ApiServer, Settings, remove_old_events
from weft.apiserver.codec import loads
from weft.runtime.client import Client
from weft.store.interface import Put, Txn
from weft.store.sqlite import SqliteStore


async def test_a_second_start_on_the_same_store_finds_everything(tmp_path: Path) -> None:
    for _ in range(2):
        store = await SqliteStore.open(tmp_path / "weft.db")
        server = ApiServer(store, Settings())
        await server.start("127.0.0.1", 0)
        client = server.local_client()
        found = await client.get(kind("svc"), "kubernetes", "default")
        assert loads(found)["spec"]["clusterIP"] == "10.96.0.1"
        endpoints = loads(await client.get(kind("endpointslice"), "kubernetes", "default"))
        assert endpoints["ports"][0]["port"] == server.port
        names = [key_of(loads(i))[1] for i in (await client.list(kind("ns"))).items]
        assert names == ["default", "istio-system", "kube-node-lease", "kube-public", "kube-system"]
        await server.close()
        await store.close()


async def test_the_local_client_is_a_client(api: Api) -> None:
    client: Client = api.client
    await client.create(kind("cm"), {"metadata": {"name": "a", "namespace": "default"}})
    assert (await client.list(kind("cm"))).items


async def test_many_writers_of_one_object_on_disk(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "weft.db")
    server = ApiServer(store, Settings())
    await server.start("127.0.0.1", 0)
    client = server.local_client()
    await client.create(kind("cm"), {"metadata": {"name": "a"}}, "default")
    writes = (client.patch(kind("cm"), "a", {"data": {f"k{n}": "v"}}, "default") for n in range(12))
    await asyncio.gather(*writes)
    assert len(loads(await client.get(kind("cm"), "a", "default"))["data"]) == 12
    await server.close()
    await store.close()


async def test_old_events_are_removed(api: Api) -> None:
    regarding = {"kind": "Pod", "name": "p", "namespace": "default"}
    for name, at in (("old", "2026-09-21T12:00:00Z"), ("new", "2026-09-21T14:00:00Z")):
        event = {"metadata": {"name": name}, "involvedObject": regarding, "lastTimestamp": at}
        await api.create("events", event)
    assert await remove_old_events(api.store, START) == 1
    page = await api.client.list(kind("events"), "default")
    assert [key_of(loads(i))[1] for i in page.items] == ["new"]


async def test_an_event_with_an_unreadable_time_goes_by_its_creation(api: Api) -> None:
    regarding = {"kind": "Pod", "name": "p", "namespace": "default"}
    await api.create("events", {"metadata": {"name": "odd"}, "involvedObject": regarding})
    key = "/registry/core/events/default/odd"
    stored = await api.store.get(key)
    assert stored is not None
    odd = stored.value.replace(b'"metadata":{', b'"lastTimestamp":"yesterday","metadata":{', 1)
    await api.store.apply(Txn((Put(key, odd),)))
    assert await remove_old_events(api.store, START) == 0
    assert await remove_old_events(api.store, START + 4000) == 1

"""Starting, starting again on the same store, housekeeping."""

from tests.apiserver.support import START, Api, kind
from weft.api.objects import key_of
from weft.apiserver.app import ApiServer, Settings, remove_old_events
from weft.apiserver.codec import loads
from weft.store.memory import MemoryStore


async def test_a_second_start_on_the_same_store_finds_everything() -> None:
    store = MemoryStore()
    for _ in range(2):
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


async def test_old_events_are_removed(api: Api) -> None:
    regarding = {"kind": "Pod", "name": "p", "namespace": "default"}
    for name, at in (("old", "2026-09-21T12:00:00Z"), ("new", "2026-09-21T14:00:00Z")):
        event = {"metadata": {"name": name}, "involvedObject": regarding, "lastTimestamp": at}
        await api.create("events", event)
    assert await remove_old_events(api.store, START) == 1
    page = await api.client.list(kind("events"), "default")
    assert [key_of(loads(i))[1] for i in page.items] == ["new"]

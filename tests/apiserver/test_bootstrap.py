"""What exists from the first moment on, and comes back."""

import random

import orjson

from weft.api.registry import by_resource
from weft.apiserver.addresses import Ranges
from weft.apiserver.bootstrap import bootstrap, keep_service
from weft.apiserver.local_client import LocalClient
from weft.apiserver.resources import Resources
from weft.apiserver.verbs import known_kind
from weft.apiserver.watching import Watches
from weft.lib.aio import now
from weft.store.memory import MemoryStore

ENDPOINT = ("192.0.2.1", 6443)


async def test_the_service_kubernetes_comes_back() -> None:
    store, ranges = MemoryStore(), Ranges()
    resources = Resources(store, clock=now, random=random.Random(7).randrange, ranges=ranges)
    client = LocalClient(resources, Watches(store))
    await bootstrap(client, ranges.kubernetes_ip, ENDPOINT)
    slices = by_resource("discovery.k8s.io", "v1", "endpointslices")
    assert slices is not None
    for kind in (known_kind("services"), slices):
        await client.delete(kind, "kubernetes", "default")
        await keep_service(client, store, ranges.kubernetes_ip, ENDPOINT)
    service = orjson.loads(await client.get(known_kind("services"), "kubernetes", "default"))
    assert service["spec"]["clusterIP"] == ranges.kubernetes_ip
    found = orjson.loads(await client.get(slices, "kubernetes", "default"))
    assert found["endpoints"][0]["addresses"] == [ENDPOINT[0]]
    revision = store.revision
    await keep_service(client, store, ranges.kubernetes_ip, ENDPOINT)
    assert store.revision == revision, "what is there is left alone"

"""The status of a pod as it stands in the API after several reports."""

import asyncio
import random
from typing import Any

import orjson

from weft.api.k8s.core_v1 import Namespace
from weft.api.k8s.pod_v1 import Pod, PodCondition, PodStatus
from weft.api.registry import kind_for
from weft.apiserver.addresses import Ranges
from weft.apiserver.local_client import LocalClient
from weft.apiserver.resources import Resources
from weft.apiserver.watching import Watches
from weft.lib.aio import now
from weft.node.status_writer import StatusWriter
from weft.store.memory import MemoryStore

POD = kind_for(Pod)


async def test_what_a_condition_no_longer_says_goes() -> None:
    store = MemoryStore()
    resources = Resources(store, clock=now, random=random.Random(7).randrange, ranges=Ranges())
    client = LocalClient(resources, Watches(store))
    spec = {"containers": [{"name": "web", "image": "web:1.0"}]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}
    await client.create(kind_for(Namespace), namespace)
    uid = orjson.loads(await client.create(POD, body, "default"))["metadata"]["uid"]
    writer = StatusWriter(client, "default", "web", uid)
    running = asyncio.ensure_future(writer.run())

    async def report(*conditions: PodCondition) -> dict[str, Any]:
        writer.report(PodStatus(phase="Running", conditions=conditions))
        await asyncio.wait_for(writer.flush(), 5)
        found = orjson.loads(await client.get(POD, "web", "default"))["status"]["conditions"]
        return {c["type"]: (c["status"], c.get("reason"), c.get("message")) for c in found}

    initial = PodCondition(type="Initialized", status="True")
    unready = PodCondition(type="Ready", status="False", reason="NotReady", message="not yet")
    assert await report(initial, unready) == {
        "Initialized": ("True", None, None),
        "Ready": ("False", "NotReady", "not yet"),
    }
    ready = PodCondition(type="Ready", status="True")
    assert (await report(initial, ready))["Ready"] == ("True", None, None)
    running.cancel()

"""All controllers and the scheduler together, on a real API server, with a fake node agent."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from tests.runtime.support import BentClient, kind, new_client
from weft.api.errors import ApiError
from weft.api.objects import to_json
from weft.controllers.catalog import controllers
from weft.lib.aio import now
from weft.lib.timefmt import rfc3339
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
WEB = {"app": "web"}
DEPLOYMENT = {
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 3,
        "selector": {"matchLabels": WEB},
        "template": {
            "metadata": {"labels": WEB},
            "spec": {"containers": [{"name": "main", "image": "web:1"}]},
        },
    },
}
SERVICE = {
    "metadata": {"name": "web"},
    "spec": {"selector": WEB, "ports": [{"port": 80, "targetPort": 8080}]},
}
JOB = {
    "metadata": {"name": "once"},
    "spec": {
        "completions": 2,
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "main", "image": "job:1"}],
            }
        },
    },
}


class Cluster:
    """A client with what tests ask of it."""

    def __init__(self, client: BentClient) -> None:
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

    async def until(self, holds: Callable[[], Any], seconds: float = 15.0) -> None:
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
async def cluster() -> AsyncIterator[Cluster]:
    client = await new_client()
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


async def available(c: Cluster, count: int, image: str) -> bool:
    pods = await c.all("pods")
    status = (await c.get("deployments", "web") or {}).get("status") or {}
    found = await c.get("deployments", "web") or {}
    return (
        status.get("availableReplicas") == count == status.get("updatedReplicas")
        and status.get("replicas") == count
        and status.get("observedGeneration") == found["metadata"]["generation"]
        and {p["spec"]["containers"][0]["image"] for p in pods} == {image}
    )


def test_names_are_unique_and_every_class_has_a_kind() -> None:
    every = (*controllers(), SCHEDULER)
    assert len({c.name for c in every}) == len(every)
    for controller in every:
        for cls in controller.classes:
            to_json(cls())


@pytest.mark.slow
async def test_a_deployment_runs_rolls_scales_and_goes() -> None:
    async with cluster() as c:
        await c.create("services", SERVICE)
        await c.create("deployments", DEPLOYMENT)
        await c.until(lambda: available(c, 3, "web:1"))
        await c.until(lambda: slice_has(c, 3))
        containers = [{"name": "main", "image": "web:2"}]
        body = {"spec": {"template": {"spec": {"containers": containers}}}}
        await c.client.patch(kind("deployments"), "web", body, "shop")
        await c.until(lambda: available(c, 3, "web:2"))
        await c.client.patch(kind("deployments"), "web", {"spec": {"replicas": 5}}, "shop")
        await c.until(lambda: available(c, 5, "web:2"))
        sets = await c.all("replicasets")
        assert sorted(s["spec"]["replicas"] for s in sets) == [0, 5]
        reasons = {e["reason"] for e in await c.all("events")}
        assert {"ScalingReplicaSet", "Scheduled"} <= reasons
        await c.client.delete(kind("deployments"), "web", "shop", propagation="Foreground")
        await c.until(lambda: is_empty(c, "deployments", "replicasets", "pods"))
        await c.until(lambda: slice_has(c, 0))


async def slice_has(c: Cluster, count: int) -> bool:
    found = await c.all("endpointslices")
    return len(found) == 1 and len(found[0].get("endpoints") or ()) == count


async def is_empty(c: Cluster, *plurals: str) -> bool:
    return not [o for plural in plurals for o in await c.all(plural)]


@pytest.mark.slow
async def test_a_job_completes() -> None:
    async with cluster() as c:
        await c.create("jobs", JOB)

        async def complete() -> bool:
            status = (await c.get("jobs", "once") or {}).get("status") or {}
            return any(x["type"] == "Complete" for x in status.get("conditions") or ())

        await c.until(complete)
        job = await c.get("jobs", "once")
        assert job is not None
        assert job["status"]["succeeded"] == 2
        assert not [p for p in await c.all("pods") if p["metadata"].get("finalizers")]


@pytest.mark.slow
async def test_a_namespace_goes_with_all_it_holds() -> None:
    async with cluster() as c:
        await c.create("services", SERVICE)
        await c.create("deployments", DEPLOYMENT)
        await c.until(lambda: available(c, 3, "web:1"))
        assert await c.get("serviceaccounts", "default") is not None
        await c.client.delete(kind("namespaces"), "shop")

        async def gone() -> bool:
            return await c.get("namespaces", "shop", "") is None

        await c.until(gone)
        for plural in ("pods", "services", "endpointslices", "serviceaccounts", "replicasets"):
            assert await c.all(plural) == []

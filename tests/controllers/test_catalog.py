"""All controllers and the scheduler together, on a real API server, with a fake node agent."""

import pytest

from tests.controllers.cluster import Cluster, cluster
from tests.runtime.support import kind, new_client
from weft.api.objects import to_json
from weft.controllers.catalog import controllers
from weft.scheduler.controller import CONTROLLER as SCHEDULER

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
    async with cluster(await new_client()) as c:
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
    async with cluster(await new_client()) as c:
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
    async with cluster(await new_client()) as c:
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

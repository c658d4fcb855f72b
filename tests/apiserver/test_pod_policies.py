"""Service accounts and limit ranges of new pods; evictions."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.apiserver.serving import Running, running
from tests.apiserver.support import pod

PODS = "/api/v1/namespaces/default/pods"
RANGES = "/api/v1/namespaces/default/limitranges"


@pytest_asyncio.fixture
async def live(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as found:
        yield found


async def post(live: Running, path: str, body: Any) -> tuple[int, Any]:
    return await live.json("POST", path, json=body)


async def test_a_pod_runs_as_an_account_that_exists(live: Running) -> None:
    status, answer = await post(live, PODS, pod(serviceAccountName="nobody"))
    assert (status, answer["message"]) == (
        403,
        'pods "p" is forbidden: error looking up service account default/nobody: '
        'serviceaccount "nobody" not found',
    )
    assert (await post(live, PODS, pod()))[0] == 201


def sized(name: str, requests: Any = None, limits: Any = None) -> Any:
    found = pod(name)
    resources = {"requests": requests or {}, "limits": limits or {}}
    found["spec"]["containers"][0]["resources"] = resources
    return found


async def test_limit_ranges_fill_in_and_refuse(live: Running) -> None:
    item = {
        "type": "Container", "max": {"cpu": "1", "memory": "1Gi"}, "min": {"cpu": "50m"},
        "defaultRequest": {"cpu": "100m"}, "default": {"cpu": "500m"},
        "maxLimitRequestRatio": {"cpu": "10"},
    }  # fmt: skip
    whole = {"type": "Pod", "max": {"cpu": "1500m"}}
    body = {"metadata": {"name": "sizes"}, "spec": {"limits": [item, whole]}}
    status, made = await post(live, RANGES, body)
    assert status == 201
    assert made["spec"]["limits"][0]["default"] == {"cpu": "500m", "memory": "1Gi"}
    status, found = await post(live, PODS, pod())
    assert status == 201, found
    assert found["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "100m", "memory": "1Gi"},
        "limits": {"cpu": "500m", "memory": "1Gi"},
    }
    note = found["metadata"]["annotations"]["kubernetes.io/limit-ranger"]
    assert note == (
        "LimitRanger plugin set: cpu, memory request for container c; "
        "cpu, memory limit for container c"
    )
    for asked, why in (
        (({"cpu": "10m"}, {"cpu": "50m"}),
         "minimum cpu usage per Container is 50m, but request is 10m"),
        (({"cpu": "1"}, {"cpu": "2"}), "maximum cpu usage per Container is 1, but limit is 2"),
        (({"cpu": "50m"}, {"cpu": "1"}),
         "cpu max limit to request ratio per Container is 10, but provided ratio is 20.000000"),
        (({"memory": "2Gi"}, {"memory": "2Gi"}),
         "maximum memory usage per Container is 1Gi, but limit is 2Gi"),
    ):  # fmt: skip
        status, answer = await post(live, PODS, sized("q", *asked))
        assert status == 403, asked
        assert why in answer["message"]
    two = sized("two", {"cpu": "900m"}, {"cpu": "900m"})
    two["spec"]["containers"].append({**two["spec"]["containers"][0], "name": "d"})
    _, answer = await post(live, PODS, two)
    assert answer["message"] == (
        'pods "two" is forbidden: maximum cpu usage per Pod is 1500m, but limit is 1800m'
    )


async def test_ranges_that_make_no_sense(live: Running) -> None:
    item = {"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "2"}}
    status, answer = await post(
        live, RANGES, {"metadata": {"name": "x"}, "spec": {"limits": [item]}}
    )
    assert status == 422
    assert "min value 2 is greater than max value 1" in answer["message"]


async def test_an_eviction_deletes_the_pod(live: Running) -> None:
    await post(live, PODS, pod())
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    other = {**eviction, "metadata": {"name": "q"}}
    assert (await post(live, f"{PODS}/p/eviction", other))[0] == 400
    dry = {**eviction, "deleteOptions": {"dryRun": ["All"]}}
    assert (await post(live, f"{PODS}/p/eviction", dry))[0] == 201
    status, answer = await post(live, f"{PODS}/p/eviction", eviction)
    assert (status, answer["status"]) == (201, "Success")
    assert (await live.json("GET", f"{PODS}/p"))[0] == 404
    assert (await post(live, f"{PODS}/p/eviction", eviction))[0] == 404

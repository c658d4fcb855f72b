"""ResourceQuotas as clients meet them: never exceeded, counted anew, told in Kubernetes' words."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver.serving import Running
from tests.apiserver.support import Api, config_map, pod, service
from tests.apiserver.test_app_kubectl import Kubectl, binaries
from weft.api.errors import ApiError
from weft.apiserver.request import ListOptions, WriteOptions

_ALL = ListOptions()


def quota(name: str = "q", **hard: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"hard": {k.replace("__", "/"): v for k, v in
                                                         hard.items()}}}  # fmt: skip


async def used(api: Api, name: str = "q") -> dict[str, str]:
    return (await api.get("quota", name))["status"]["used"]


async def test_creations_side_by_side_never_exceed(api: Api) -> None:
    await api.create("quota", quota(configmaps="5"))
    tries = [api.create("configmaps", config_map(f"c{n}")) for n in range(60)]
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(d, dict) for d in done) == 5
    refused = [d for d in done if isinstance(d, ApiError)]
    assert {d.code for d in refused} == {403}
    assert refused[0].message.endswith(
        "is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=5, "
        "limited: configmaps=5"
    )
    assert await used(api) == {"configmaps": "5"}


async def test_a_quota_that_comes_between_counts_all(api: Api) -> None:
    tries: list[Any] = [api.create("configmaps", config_map(f"c{n}")) for n in range(4)]
    tries.insert(2, api.create("quota", quota(configmaps="3")))
    tries += [api.create("configmaps", config_map(f"d{n}")) for n in range(4)]
    await asyncio.gather(*tries, return_exceptions=True)
    left = (await api.resources.list(api.target("configmaps"), _ALL)).entries
    await api.resources.quotas.recount("default")
    assert await used(api) == {"configmaps": str(len(left))}


async def test_what_was_deleted_makes_room_at_once(api: Api) -> None:
    await api.create("quota", quota(count__configmaps="1"))
    for name in ("a", "b", "c"):
        await api.create("configmaps", config_map(name))
        await api.client.delete(api.target("configmaps").kind, name, "default")
    await api.resources.quotas.recount("default")
    assert await used(api) == {"count/configmaps": "0"}


async def test_pods_that_ended_make_room(api: Api) -> None:
    await api.create("quota", quota(pods="1"))
    await api.create("pods", pod("a"))
    with pytest.raises(ApiError, match="exceeded quota: q, requested: pods=1"):
        await api.create("pods", pod("b"))
    await api.patch("pods", "a", {"status": {"phase": "Succeeded"}}, sub="status")
    await api.create("pods", pod("b"))


async def test_a_service_may_not_grow_beyond(api: Api) -> None:
    await api.create("quota", quota(**{"services.nodeports": "1"}))
    made = await api.create("services", service("a", type="NodePort"))
    made["spec"]["ports"] += [{"name": "two", "port": 81}]
    made["spec"]["ports"][0]["name"] = "one"
    with pytest.raises(ApiError, match=r"requested: services\.nodeports=1, used: "):
        await api.update("services", made)
    await api.patch("services", "a", {"spec": {"type": "ClusterIP"}})
    assert await used(api) == {"services.nodeports": "0"}


async def test_a_dry_run_is_refused_and_charges_nothing(api: Api) -> None:
    dry = WriteOptions(dry_run=True)
    await api.create("quota", quota(configmaps="1"))
    await api.create("configmaps", config_map("a"), dry)
    await api.create("configmaps", config_map("a"))
    with pytest.raises(ApiError, match="exceeded quota"):
        await api.create("configmaps", config_map("b"), dry)


async def test_what_no_quota_may_say(api: Api) -> None:
    with pytest.raises(ApiError, match="must be a standard resource for quota"):
        await api.create("quota", quota(bananas="1"))
    with pytest.raises(ApiError, match="must be an integer"):
        await api.create("quota", quota(pods="1500m"))
    two = quota(pods="1")
    two["spec"]["scopes"] = ["BestEffort", "NotBestEffort"]
    with pytest.raises(ApiError, match="conflicting scopes"):
        await api.create("quota", two)


@pytest.mark.slow
@pytest.mark.parametrize("binary", binaries(), ids=lambda p: Path(p).name)
async def test_kubectl(live: Running, binary: str) -> None:
    kubectl = Kubectl(binary, live)
    made = await kubectl("create", "quota", "q", "--hard=cpu=1,pods=2,count/deployments.apps=1")
    assert made == "resourcequota/q created\n"
    await kubectl("wait", "quota/q", "--for=jsonpath={.status.used.pods}=0", "--timeout=5s")
    err = await kubectl.fails("apply", "-f", "-", stdin=json.dumps(pod("bare")))
    assert 'pods "bare" is forbidden: failed quota: q: must specify cpu for: c' in err
    sized = pod("a")
    sized["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "600m"}}
    await kubectl("apply", "-f", "-", stdin=json.dumps(sized))
    sized["metadata"]["name"] = "b"
    err = await kubectl.fails("apply", "-f", "-", stdin=json.dumps(sized))
    assert "exceeded quota: q, requested: cpu=600m, used: cpu=600m, limited: cpu=1" in err
    shown = await kubectl("describe", "quota", "q")
    assert ["cpu", "600m", "1"] in [line.split() for line in shown.splitlines()]
    assert "Resource Quotas\n" in await kubectl("describe", "ns", "default")
    row = (await kubectl("get", "quota", "q", "--no-headers")).split()
    assert row[1:8] == [
        "count/deployments.apps:",
        "0/1,",
        "cpu:",
        "600m/1,",
        "pods:",
        "1/2",
        row[7],
    ]
    await kubectl("delete", "pod", "a", "--force", "--grace-period=0")
    await kubectl("wait", "quota/q", "--for=jsonpath={.status.used.pods}=0", "--timeout=5s")
    await kubectl("create", "quota", "best", "--hard=pods=1", "--scopes=BestEffort")
    assert "Scopes:     BestEffort" in await kubectl("describe", "quota", "best")

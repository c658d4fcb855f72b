"""Weft's own parts write what their roles say, and their writes stand in the audit log."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.apiserver.support import config_map, kind
from weft.api.errors import ApiError
from weft.apiserver.app import ApiServer, Settings
from weft.apiserver.audit import parse_policy
from weft.apiserver.audit_log import AuditSettings
from weft.apiserver.part_roles import CONTROLLERS
from weft.apiserver.parts import user_of
from weft.controllers.catalog import controllers
from weft.scheduler.controller import CONTROLLER as SCHEDULER_LOOP
from weft.scheduler.queues.controller import CONTROLLER as QUEUES
from weft.store.memory import MemoryStore

POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Request", "users": ["system:serviceaccount:kube-system:start-order-controller"]},
        {"level": "Metadata", "users": ["system:kube-scheduler", "system:node:n"]},
    ],
}
POD: dict[str, Any] = {
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    audit = AuditSettings(parse_policy(POLICY), tmp_path / "audit.log")
    server = ApiServer(MemoryStore(), Settings(audit=audit))
    await server.start("127.0.0.1", 0)
    try:
        await server.local_client().create(kind("pods"), POD, "default")
        yield server
    finally:
        await server.close()


async def test_a_part_may_do_what_its_role_says_and_nothing_else(server: ApiServer) -> None:
    job, scheduler = server.local_client("job"), server.local_client("scheduler")
    other = POD | {"metadata": {"name": "of-a-job"}}
    await job.create(kind("pods"), other, "default")
    with pytest.raises(ApiError) as refused:
        await job.create(kind("configmaps"), config_map("m"), "default")
    assert refused.value.code == 403
    assert refused.value.message == (
        'configmaps is forbidden: User "system:serviceaccount:kube-system:job-controller" cannot '
        'create resource "configmaps" in API group "" in the namespace "default"'
    )
    for work in (
        scheduler.create(kind("pods"), POD | {"metadata": {"name": "q"}}, "default"),
        scheduler.patch(kind("nodes"), "n", {"spec": {"unschedulable": True}}),
        job.patch(kind("pods"), "p", {"status": {}}, "default", subresource="status"),
        job.delete(kind("secrets"), "s", "default"),
        job.bind("p", "default", "n"),
        job.request_token("default", "default", {"spec": {}}),
        server.local_client("start-order").update(kind("pods"), other | {"kind": "Pod"}),
    ):
        with pytest.raises(ApiError, match="is forbidden: User"):
            await work


async def test_the_node_of_this_machine_has_the_rights_of_a_node(
    server: ApiServer, tmp_path: Path
) -> None:
    """Its own pods and Node; tokens for its pods only; all of it stands in the audit log."""
    pods = kind("pods")
    everything, node = server.local_client(), server.node_client("n")
    uids = {}
    for name, place in (("mine", "n"), ("others", "m")):
        spec = POD["spec"] | {"nodeName": place}
        made = await everything.create(pods, {"metadata": {"name": name}, "spec": spec}, "default")
        uids[name] = orjson.loads(made)["metadata"]["uid"]

    def token(pod: str) -> dict[str, Any]:
        return {"spec": {"boundObjectRef": {"kind": "Pod", "name": pod, "uid": uids[pod]}}}

    status = {"status": {"phase": "Running"}}
    await node.patch(pods, "mine", status, "default", subresource="status")
    await node.create(kind("nodes"), {"metadata": {"name": "n"}})
    assert b"token" in await node.request_token("default", "default", token("mine"))
    for work in (
        node.patch(pods, "others", status, "default", subresource="status"),
        node.patch(pods, "mine", {"metadata": {"labels": {"a": "b"}}}, "default"),
        node.delete(pods, "others", "default"),
        node.create(pods, POD | {"metadata": {"name": "q"}}, "default"),
        node.create(kind("nodes"), {"metadata": {"name": "m"}}),
        node.patch(kind("nodes"), "n", {"spec": {"unschedulable": True}}),
        node.delete(kind("nodes"), "n"),
        node.create(kind("configmaps"), config_map("m"), "default"),
        node.request_token("default", "default", token("others")),
        node.request_token("default", "default", {"spec": {}}),
    ):
        with pytest.raises(ApiError) as refused:
            await work
        assert refused.value.code == 403
    await server.close()
    told = (tmp_path / "audit.log").read_bytes().splitlines()
    assert {orjson.loads(line)["user"]["username"] for line in told} == {"system:node:n"}
    assert len(told) == 13


async def test_a_role_that_is_taken_away_takes_the_right_away(server: ApiServer) -> None:
    roles, job = kind("clusterroles"), server.local_client("job")
    name = "system:controller:job-controller"
    body = {"metadata": {"labels": {"a": "b"}}}
    await job.patch(kind("pods"), "p", body, "default")
    await server.local_client().patch(roles, name, {"rules": []})

    async def until_refused() -> None:  # rules are followed, not read with each request
        async with asyncio.timeout(10):
            while True:
                await job.patch(kind("pods"), "p", body, "default")
                await asyncio.sleep(0)

    with pytest.raises(ApiError, match="forbidden"):
        await until_refused()


async def test_the_audit_log_names_the_part(server: ApiServer, tmp_path: Path) -> None:
    body = {"metadata": {"labels": {"a": "b"}}}
    await server.local_client("start-order").patch(kind("pods"), "p", body, "default")
    with pytest.raises(ApiError):
        await server.local_client("scheduler").delete(kind("secrets"), "s", "default")
    await server.local_client("job").patch(kind("pods"), "p", body, "default")
    await server.close()
    written, refused = map(orjson.loads, (tmp_path / "audit.log").read_bytes().splitlines())
    assert written["user"]["username"] == (
        "system:serviceaccount:kube-system:start-order-controller"
    )
    assert (written["verb"], written["requestURI"]) == (
        "patch", "/api/v1/namespaces/default/pods/p",
    )  # fmt: skip
    assert written["requestObject"] == body
    assert written["responseStatus"]["code"] == 200
    assert written["annotations"]["authorization.k8s.io/reason"] == (
        'RBAC: allowed by ClusterRoleBinding "system:controller:start-order-controller" of '
        'ClusterRole "system:controller:start-order-controller" to ServiceAccount '
        '"start-order-controller/kube-system"'
    )
    assert refused["user"]["username"] == "system:kube-scheduler"
    assert refused["responseStatus"]["code"] == 403
    assert refused["annotations"]["authorization.k8s.io/decision"] == "forbid"


def test_every_controller_has_a_role() -> None:
    """Also those that no catalogue of controllers lists."""
    loops = (*controllers(), SCHEDULER_LOOP, QUEUES)
    accounts = [user_of(each.name).name.rpartition(":")[2] for each in loops]
    assert [a for a in accounts if a not in CONTROLLERS and a != "kube-scheduler"] == []

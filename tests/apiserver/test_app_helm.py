"""What helm 3 and 4 send, request by request (helm itself: test_app_helm_binary.py).

A release is a Secret `sh.helm.release.v1.NAME.vN` of type `helm.sh/release.v1`, found by labels.
Its objects are created, then patched: by helm 3 with three-way strategic merges (JSON merges for
custom kinds), by helm 4 with server-side apply. Hooks are Jobs that are created, watched and
deleted; `--wait` reads the objects until they are ready.
"""

import asyncio
import base64
import gzip
import json
from typing import Any

import pytest

from tests.apiserver.serving import Running
from tests.apiserver.support import deployment, service
from tests.apiserver.test_protobuf import data, wrapped

SECRETS = "/api/v1/namespaces/default/secrets"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
JOBS = "/apis/batch/v1/namespaces/default/jobs"
PROTOBUF = {
    "Content-Type": "application/vnd.kubernetes.protobuf",
    "Accept": "application/vnd.kubernetes.protobuf,application/json",
    "User-Agent": "Helm/3.17.0",
}
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json", "User-Agent": "Helm/3.17.0"}
APPLY = {"Content-Type": "application/apply-patch+yaml", "User-Agent": "Helm/4.0.0"}
HOOK = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "migrate", "annotations": {"helm.sh/hook": "pre-install"}},
    "spec": {
        "template": {
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "app:1"}]}
        }
    },
}


def release(revision: int, status: str) -> tuple[bytes, str]:
    """A release Secret as protobuf, as helm's driver makes it; and its name."""
    name = f"sh.helm.release.v1.shop.v{revision}"
    body = json.dumps({"name": "shop", "version": revision, "info": {"status": status}}).encode()
    packed = base64.b64encode(gzip.compress(body, mtime=0))
    labels = {"name": "shop", "owner": "helm", "status": status, "version": str(revision)}
    meta = data(1, name) + b"".join(data(11, data(1, k) + data(2, v)) for k, v in labels.items())
    secret = data(1, meta) + data(2, data(1, "release") + data(2, packed))
    return wrapped("v1", "Secret", secret + data(3, "helm.sh/release.v1")), name


async def releases(live: Running, selector: str) -> list[str]:
    path = f"{SECRETS}?labelSelector={selector}"
    _, found = await live.json("GET", path, headers={"Accept": PROTOBUF["Accept"]})
    return [item["metadata"]["name"] for item in found["items"]]


def relabelled(obj: dict[str, Any], image: str) -> dict[str, Any]:
    obj["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "Helm", "app": "web"}
    obj["metadata"]["annotations"] = {"meta.helm.sh/release-name": "shop"}
    obj["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return obj


async def test_install_upgrade_history_uninstall(live: Running) -> None:
    """The requests of helm 3."""
    code, version = await live.json("GET", "/version")
    assert code == 200
    assert int(version["minor"]) >= 20
    assert await releases(live, "name%3Dshop,owner%3Dhelm") == []
    body, first = release(1, "pending-install")
    code, made = await live.json("POST", SECRETS, data=body, headers=PROTOBUF)
    assert code == 201, made
    assert made["type"] == "helm.sh/release.v1"
    stored = gzip.decompress(base64.b64decode(base64.b64decode(made["data"]["release"])))
    assert json.loads(stored)["name"] == "shop"
    code, again = await live.json("POST", SECRETS, data=body, headers=PROTOBUF)
    assert (code, again["reason"]) == (409, "AlreadyExists")

    # a hook: created, watched until it is done, deleted
    code, job = await live.json("POST", f"{JOBS}?fieldManager=helm", json=HOOK)
    assert code == 201
    watched = f"{JOBS}?watch=true&fieldSelector=metadata.name%3Dmigrate&resourceVersion=0"
    async with live.session.get(watched) as stream:
        line = json.loads(await stream.content.readline())
        assert line["type"] == "ADDED"
        job["status"] = {"succeeded": 1, "startTime": "2026-01-01T00:00:00Z",
                         "completionTime": "2026-01-01T00:00:01Z",
                         "conditions": [{"type": "Complete", "status": "True"}]}  # fmt: skip
        await live.json("PUT", f"{JOBS}/migrate/status", json=job)
        async with asyncio.timeout(5):
            line = json.loads(await stream.content.readline())
        assert line["object"]["status"]["conditions"][0]["type"] == "Complete"
    code, gone = await live.json(
        "DELETE", f"{JOBS}/migrate", json={"propagationPolicy": "Background"}
    )
    assert code == 200
    assert gone["status"] == "Success"

    helm = "?fieldManager=helm"
    web = relabelled(deployment(), "app:1")
    assert (await live.json("POST", f"{DEPLOYMENTS}{helm}", json=web))[0] == 201
    services = "/api/v1/namespaces/default/services"
    shop = {"apiVersion": "v1", "kind": "Service"} | service()
    assert (await live.json("POST", f"{services}{helm}", json=shop))[0] == 201
    done, _ = release(1, "deployed")
    code, _ = await live.json("PUT", f"{SECRETS}/{first}", data=done, headers=PROTOBUF)
    assert code == 200
    assert await releases(live, "name%3Dshop,owner%3Dhelm,status%3Ddeployed") == [first]

    # an upgrade: three-way strategic merge against the live object; an unchanged one sends nothing
    body, second = release(2, "pending-upgrade")
    assert (await live.json("POST", SECRETS, data=body, headers=PROTOBUF))[0] == 201
    container = {"name": "c", "image": "app:2"}
    patch = {"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "c"}], "containers": [container]}}}}  # fmt: skip
    code, web = await live.json(
        "PATCH", f"{DEPLOYMENTS}/web{helm}", data=json.dumps(patch), headers=STRATEGIC
    )
    assert code == 200
    assert web["spec"]["template"]["spec"]["containers"][0]["image"] == "app:2"
    assert {e["manager"] for e in web["metadata"]["managedFields"]} == {"helm"}
    superseded, _ = release(1, "superseded")
    await live.json("PUT", f"{SECRETS}/{first}", data=superseded, headers=PROTOBUF)
    done, _ = release(2, "deployed")
    await live.json("PUT", f"{SECRETS}/{second}", data=done, headers=PROTOBUF)
    assert await releases(live, "name%3Dshop,owner%3Dhelm") == [first, second]

    # --wait reads until the deployment's status tells of the present generation
    web["status"] = {"observedGeneration": web["metadata"]["generation"], "replicas": 2,
                     "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}  # fmt: skip
    await live.json("PUT", f"{DEPLOYMENTS}/web/status", json=web)
    _, web = await live.json("GET", f"{DEPLOYMENTS}/web")
    assert web["status"]["readyReplicas"] == web["spec"]["replicas"]

    # uninstall: background deletion of each object, then of the release's Secrets
    options = wrapped("apps/v1", "DeleteOptions", data(4, "Background"))
    code, _ = await live.json("DELETE", f"{DEPLOYMENTS}/web", data=options, headers=PROTOBUF)
    assert code == 200
    for name in (first, second):
        assert (await live.json("DELETE", f"{SECRETS}/{name}", headers=PROTOBUF))[0] == 200
    assert await releases(live, "owner%3Dhelm") == []


async def test_server_side_apply(live: Running) -> None:
    """The requests of helm 4: apply, with force on request, and the take-over of what helm 3
    made."""
    path = f"{DEPLOYMENTS}/web"
    old = relabelled(deployment(), "app:1")
    await live.json("POST", f"{DEPLOYMENTS}?fieldManager=helm", json=old)
    await live.json("PATCH", f"{path}?fieldManager=kubectl-edit", headers=STRATEGIC,
                    data=json.dumps({"spec": {"replicas": 9}}))  # fmt: skip
    new = relabelled(deployment(), "app:2")
    query = "?fieldManager=helm&force=false&fieldValidation=Warn"
    code, body = await live.json("PATCH", f"{path}{query}", data=json.dumps(new), headers=APPLY)
    assert (code, body["reason"]) == (409, "Conflict")
    assert {c["field"] for c in body["details"]["causes"]} >= {".spec.replicas"}
    forced = query.replace("false", "true")
    code, body = await live.json("PATCH", f"{path}{forced}", data=json.dumps(new), headers=APPLY)
    assert code == 200
    assert body["spec"]["replicas"] == 2
    dry = f"{path}{forced}&dryRun=All"
    third = relabelled(deployment(), "app:3")
    code, shown = await live.json("PATCH", dry, data=json.dumps(third), headers=APPLY)
    assert shown["spec"]["template"]["spec"]["containers"][0]["image"] == "app:3"
    _, kept = await live.json("GET", path)
    assert kept["spec"]["template"]["spec"]["containers"][0]["image"] == "app:2"


@pytest.mark.parametrize("path", ["/openapi/v3", "/apis", "/api", "/openapi/v2"])
async def test_discovery_that_helm_reads(live: Running, path: str) -> None:
    accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    headers = {"Accept": accept if path.endswith("v2") else "application/json"}
    async with live.session.get(path, headers=headers) as answer:
        assert answer.status == 200

"""Conversion webhooks on a real server with TLS: HostPorts of two versions, as in the Kubernetes
documentation. v1 is stored and has `hostPort`; v2 has `host` and `port`."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

pytest.importorskip("re2")

from tests.apiserver.crds import GROUP
from tests.apiserver.serving import Running
from tests.apiserver.test_app_kubectl import Kubectl, binaries
from tests.apiserver.webhooks import Webhook, add, patch, rule, serving
from weft.apiserver import keys, webhook_conversion

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CRD = f"{CRDS}/hostports.{GROUP}"
MERGE = {"Content-Type": "application/merge-patch+json"}


def at(version: str, name: str = "") -> str:
    path = f"/apis/{GROUP}/{version}/namespaces/default/hostports"
    return f"{path}/{name}" if name else path


def _version(name: str, fields: dict[str, Any], column: str, **more: Any) -> dict[str, Any]:
    spec = {"type": "object", "properties": fields}
    return {
        "name": name, "served": True, "storage": name == "v1", "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": column.title(), "type": "string", "jsonPath": f".spec.{column}"}
        ],
        "selectableFields": [{"jsonPath": f".spec.{column}"}],
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": spec, "status": {"type": "object", "properties": {"ok": {"type": "boolean"}}},
        }}},
    } | more  # fmt: skip


TEXT = {"type": "string"}


def definition(webhook: Webhook) -> dict[str, Any]:
    names = {"plural": "hostports", "kind": "HostPort", "shortNames": ["hp"]}
    versions = [
        _version("v1", {"hostPort": TEXT}, "hostPort"),
        _version("v2", {"host": TEXT, "port": TEXT | {"default": "80"}}, "host"),
    ]
    client = {"url": f"https://127.0.0.1:{webhook.port}/convert", "caBundle": webhook.bundle}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"hostports.{GROUP}"},
        "spec": {
            "group": GROUP, "scope": "Namespaced", "names": names, "versions": versions,
            "conversion": {"strategy": "Webhook", "webhook": {
                "clientConfig": client, "conversionReviewVersions": ["v2", "v1"]}},
        },
    }  # fmt: skip


def host_port(version: str, name: str = "a", **spec: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/{version}", "kind": "HostPort",
        "metadata": {"name": name}, "spec": spec,
    }  # fmt: skip


def converted(obj: dict[str, Any], wanted: str) -> dict[str, Any]:
    spec = obj.get("spec") or {}
    if wanted.endswith("/v2"):
        host, _, port = spec.get("hostPort", "").partition(":")
        spec = {"host": host, "port": port, "unknown": "pruned"}
    else:
        spec = {"hostPort": f"{spec.get('host', '')}:{spec.get('port', '')}"}
    texts = (obj["metadata"].get("annotations") or {}) | {"from": obj["apiVersion"]}
    metadata = obj["metadata"] | {"annotations": texts, "generation": 77}
    return obj | {"apiVersion": wanted, "metadata": metadata, "spec": spec}


def convert(request: dict[str, Any]) -> dict[str, Any]:
    wanted = request["desiredAPIVersion"]
    made = [converted(obj, wanted) for obj in request["objects"]]
    return {"result": {"status": "Success"}, "convertedObjects": made}


def failing(text: str) -> Any:
    return lambda _: {"result": {"status": "Failed", "message": text}}


@pytest_asyncio.fixture
async def webhook(tmp_path: Path) -> AsyncIterator[Webhook]:
    async with serving(tmp_path) as found:
        found.decide["/convert"] = convert
        yield found


@pytest_asyncio.fixture
async def defined(live: Running, webhook: Webhook) -> Running:
    status, made = await live.json("POST", CRDS, json=definition(webhook))
    assert status == 201, made
    return live


async def stored(live: Running, name: str = "a") -> dict[str, Any]:
    found = await live.store.get(f"{keys.ROOT}{GROUP}/hostports/default/{name}")
    assert found is not None
    return orjson.loads(found.value)


async def test_each_version_in_its_own_words(defined: Running, webhook: Webhook) -> None:
    status, made = await defined.json("POST", at("v2"), json=host_port("v2", host="h"))
    assert (status, made["apiVersion"]) == (201, f"{GROUP}/v2")
    assert made["spec"] == {"host": "h", "port": "80"}
    assert (made["metadata"]["generation"], made["metadata"]["annotations"]) == (
        1, {"from": f"{GROUP}/v1"},
    )  # fmt: skip
    kept = await stored(defined)
    assert (kept["apiVersion"], kept["spec"]) == (f"{GROUP}/v1", {"hostPort": "h:80"})
    assert "resourceVersion" not in webhook.seen[0]["objects"][0]["metadata"]
    assert (await defined.json("GET", at("v1", "a")))[1]["spec"] == {"hostPort": "h:80"}
    calls = len(webhook.seen)
    assert (await defined.json("GET", at("v2", "a")))[1] == made
    assert len(webhook.seen) == calls, "what was converted once is kept"


async def test_updates_patches_status_and_apply(defined: Running) -> None:
    await defined.json("POST", at("v1"), json=host_port("v1", hostPort="h:1"))
    _, found = await defined.json("GET", at("v2", "a"))
    found["spec"]["port"] = "2"
    status, found = await defined.json("PUT", at("v2", "a"), json=found)
    assert (status, found["metadata"]["generation"]) == (200, 2)
    assert (await stored(defined))["spec"] == {"hostPort": "h:2"}
    change = {"spec": {"host": "other"}}
    status, found = await defined.json("PATCH", at("v2", "a"), json=change, headers=MERGE)
    assert (status, found["spec"]) == (200, {"host": "other", "port": "2"})
    found["status"] = {"ok": True}
    status, found = await defined.json("PUT", at("v2", "a") + "/status", json=found)
    assert (status, (await stored(defined))["status"]) == (200, {"ok": True})
    apply = {"Content-Type": "application/apply-patch+yaml"}
    body = json.dumps(host_port("v2", "b", host="x", port="9"))
    path = at("v2", "b") + "?fieldManager=m"
    status, made = await defined.json("PATCH", path, data=body, headers=apply)
    assert (status, made["spec"]) == (201, {"host": "x", "port": "9"})
    body = json.dumps(host_port("v2", "b", host="y", port="9"))
    status, made = await defined.json("PATCH", path, data=body, headers=apply)
    assert (status, made["spec"]["host"]) == (200, "y")
    assert (await stored(defined, "b"))["spec"] == {"hostPort": "y:9"}
    before = await stored(defined, "b")
    dry = at("v2", "b") + "?dryRun=All"
    change = {"spec": {"host": "z"}}
    status, made = await defined.json("PATCH", dry, json=change, headers=MERGE)
    assert (status, made["spec"]["host"], await stored(defined, "b")) == (200, "z", before)


async def test_lists_in_batches_pages_and_by_fields(
    defined: Running, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(5):
        made = host_port("v1", f"n{index}", hostPort=f"h{index}:1")
        await defined.json("POST", at("v1"), json=made)
    assert webhook.seen == []
    _, page = await defined.json("GET", at("v2") + "?limit=2")
    assert [i["spec"]["host"] for i in page["items"]] == ["h0", "h1"]
    assert [len(r["objects"]) for r in webhook.seen] == [2]
    monkeypatch.setattr(webhook_conversion, "CALL_OBJECTS_MAX", 2)
    _, found = await defined.json("GET", at("v2"))
    assert [i["spec"]["host"] for i in found["items"]] == [f"h{n}" for n in range(5)]
    assert sorted(len(r["objects"]) for r in webhook.seen) == [1, 2, 2]
    _, found = await defined.json("GET", at("v2") + "?fieldSelector=spec.host%3Dh3")
    assert [i["metadata"]["name"] for i in found["items"]] == ["n3"]
    _, found = await defined.json("GET", at("v2") + "?labelSelector=a%3Db")
    assert found["items"] == []
    assert (await defined.json("DELETE", at("v2")))[0] == 200
    assert (await defined.json("GET", at("v1")))[1]["items"] == []


async def test_watches_of_both_versions_call_once(defined: Running, webhook: Webhook) -> None:
    _, listed = await defined.json("GET", at("v2"))
    start = listed["metadata"]["resourceVersion"]

    async def three(version: str) -> list[Any]:
        found = []
        query = f"?watch=1&resourceVersion={start}&timeoutSeconds=20"
        async with defined.session.get(at(version) + query) as response:
            async for line in response.content:
                found.append(json.loads(line))
                if len(found) == 3:
                    break
        return found

    watchers = [asyncio.ensure_future(three(v)) for v in ("v1", *["v2"] * 10)]
    while defined.server._watches.open < len(watchers):  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await defined.json("POST", at("v1"), json=host_port("v1", hostPort="h:1"))
    change = {"spec": {"hostPort": "i:2"}}
    await defined.json("PATCH", at("v1", "a"), json=change, headers=MERGE)
    await defined.json("DELETE", at("v1", "a"))
    first, *others = await asyncio.wait_for(asyncio.gather(*watchers), 20)
    assert [(e["type"], e["object"]["spec"]["hostPort"]) for e in first] == [
        ("ADDED", "h:1"), ("MODIFIED", "i:2"), ("DELETED", "i:2"),
    ]  # fmt: skip
    assert all(other == others[0] for other in others)
    assert [(e["type"], e["object"]["spec"]["host"]) for e in others[0]] == [
        ("ADDED", "h"), ("MODIFIED", "i"), ("DELETED", "i"),
    ]  # fmt: skip
    assert others[0][0]["object"]["apiVersion"] == f"{GROUP}/v2"
    assert len(webhook.seen) <= 3, "watchers share what is converted"


async def test_failures_write_nothing_and_say_why(
    defined: Running, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = f"conversion webhook for {GROUP}/v1, Kind=HostPort"
    await defined.json("POST", at("v1"), json=host_port("v1", hostPort="h:1"))
    webhook.decide["/convert"] = failing("no such host")
    status, answer = await defined.json("GET", at("v2", "a"))
    assert (status, answer["message"]) == (500, f"{about} failed: no such host")
    assert (await defined.json("GET", at("v2")))[0] == 500
    status, answer = await defined.json("POST", at("v2"), json=host_port("v2", "b", host="h"))
    about_v2 = about.replace("v1", "v2")
    assert (status, answer["message"]) == (500, f"{about_v2} failed: no such host")
    assert (await defined.json("GET", at("v1", "b")))[0] == 404
    change = {"spec": {"host": "x"}}
    assert (await defined.json("PATCH", at("v2", "a"), json=change, headers=MERGE))[0] == 500
    assert (await defined.json("GET", at("v1", "a")))[1]["spec"] == {"hostPort": "h:1"}
    async with defined.session.get(at("v2") + "?watch=1") as response:
        assert response.status in (200, 500)
        assert "no such host" in (await response.content.readline()).decode()
    webhook.decide["/convert"] = lambda r: {
        "result": {"status": "Success"},
        "convertedObjects": [
            o | {"apiVersion": r["desiredAPIVersion"], "metadata": o["metadata"] | {"name": "z"}}
            for o in r["objects"]
        ],
    }
    status, answer = await defined.json("GET", at("v2", "a"))
    assert "must have the same name: a != z" in answer["message"]
    with monkeypatch.context() as patch:
        patch.setattr(webhook_conversion, "CONVERSION_SECONDS_MAX", 0.1)
        webhook.delay = 30
        status, answer = await defined.json("GET", at("v2", "a"))
        assert (status, "context deadline exceeded" in answer["message"]) == (500, True)
    webhook.delay, webhook.decide["/convert"] = 0, convert
    assert (await defined.json("GET", at("v2", "a")))[0] == 200


async def test_a_definition_with_a_broken_webhook_can_be_deleted(
    defined: Running, webhook: Webhook
) -> None:
    await defined.json("POST", at("v1"), json=host_port("v1", hostPort="h:1"))
    webhook.decide["/convert"] = failing("broken")
    assert (await defined.json("DELETE", CRD))[0] == 200
    async with asyncio.timeout(10):
        while (await defined.json("GET", CRD))[0] != 404:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_the_stored_version_changes_with_the_next_write(
    defined: Running, webhook: Webhook
) -> None:
    await defined.json("POST", at("v1"), json=host_port("v1", hostPort="h:1"))
    _, crd = await defined.json("GET", CRD)
    for version in crd["spec"]["versions"]:
        version["storage"] = version["name"] == "v2"
    status, crd = await defined.json("PUT", CRD, json=crd)
    assert (status, crd["status"]["storedVersions"]) == (200, ["v1", "v2"])
    assert (await stored(defined))["apiVersion"] == f"{GROUP}/v1"
    assert (await defined.json("GET", at("v2", "a")))[1]["spec"] == {"host": "h", "port": "1"}
    _, same = await defined.json("GET", at("v1", "a"))
    assert (await defined.json("PUT", at("v1", "a"), json=same))[0] == 200
    kept = await stored(defined)
    assert (kept["apiVersion"], kept["spec"]) == (f"{GROUP}/v2", {"host": "h", "port": "1"})
    assert (await defined.json("GET", at("v1", "a")))[1]["spec"] == {"hostPort": "h:1"}


async def test_admission_webhooks_and_policies_in_the_version_they_ask_for(
    defined: Running, webhook: Webhook
) -> None:
    webhook.decide["/admit"] = lambda r: patch(add("/spec/port", "7"))
    only = rule(GROUP, "hostports") | {"apiVersions": ["v2"]}
    hook = webhook.hook("hp", only, path="/admit")
    base = "/apis/admissionregistration.k8s.io/v1"
    body = {"metadata": {"name": "c"}, "webhooks": [hook]}
    status, made = await defined.json("POST", f"{base}/mutatingwebhookconfigurations", json=body)
    assert status == 201, made
    policy = {
        "metadata": {"name": "p"},
        "spec": {
            "matchConstraints": {"resourceRules": [only]},
            "validations": [{"expression": "object.spec.host != 'bad'"}],
        },
    }
    await defined.json("POST", f"{base}/validatingadmissionpolicies", json=policy)
    bound = {"metadata": {"name": "p"}, "spec": {"policyName": "p", "validationActions": ["Deny"]}}
    await defined.json("POST", f"{base}/validatingadmissionpolicybindings", json=bound)
    status, made = await defined.json("POST", at("v1"), json=host_port("v1", hostPort="h:1"))
    assert (status, made["spec"]) == (201, {"hostPort": "h:7"}), made
    asked = next(r for r in webhook.seen if r["path"] == "/admit")
    assert asked["object"]["spec"] == {"host": "h", "port": "1"}
    assert (asked["kind"]["version"], asked["requestKind"]["version"]) == ("v2", "v1")
    status, answer = await defined.json(
        "POST", at("v1"), json=host_port("v1", "b", hostPort="bad:1")
    )
    assert (status, "failed expression" in answer["message"]) == (422, True), answer


@pytest.mark.slow
@pytest.mark.skipif(not binaries(), reason="kubectl is not installed")
async def test_kubectl(defined: Running, webhook: Webhook) -> None:
    kubectl = Kubectl(binaries()[-1], defined)
    tab = json.dumps(host_port("v2", host="h", port="1"))
    assert " created" in await kubectl("apply", "-f", "-", stdin=tab)
    assert " unchanged" in await kubectl("apply", "-f", "-", stdin=tab)
    name = f"hostports.v1.{GROUP}"
    assert "h:1" in await kubectl("get", name, "-o", "jsonpath={.items[*].spec.hostPort}")
    assert (await kubectl("get", f"hostports.v2.{GROUP}")).split()[:2] == ["NAME", "HOST"]
    other = json.dumps(host_port("v2", host="i", port="1"))
    assert " configured" in await kubectl("apply", "-f", "-", stdin=other)
    assert "i:1" in await kubectl("get", name, "a", "-o", "yaml")
    webhook.decide["/convert"] = failing("not today")
    await kubectl("annotate", name, "a", "x=y")
    err = await kubectl.fails("get", f"hostports.v2.{GROUP}", "a")
    assert "conversion webhook for" in err
    assert "not today" in err

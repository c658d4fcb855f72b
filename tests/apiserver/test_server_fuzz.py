"""Requests of any shape: every answer is an object, a list or a Status, and the server lives on."""

import json
import random
from typing import Any

import orjson
import pytest

from tests.apiserver.crds import crd, cron_tab
from tests.apiserver.serving import Running
from tests.apiserver.support import Api, config_map, deployment
from tests.apiserver.test_protobuf import data, wrapped
from tests.apiserver.test_resources_fuzz import mutated
from weft.api.errors import ApiError
from weft.store.interface import Delete, Txn

pytest.importorskip("re2")
pytestmark = pytest.mark.slow

SEGMENTS = (
    "api", "apis", "v1", "apps", "namespaces", "default", "pods", "configmaps", "deployments", "c",
    "status", "scale", "log", "exec", "binding", "finalize", "networking.istio.io", "openapi",
    "v2", "v3", "..", "%2e%2e", "a" * 300, "%00", "é", "?", "*", "customresourcedefinitions",
    "apiextensions.k8s.io",
)  # fmt: skip
QUERIES = {
    "labelSelector": ("a=b", "a in (b", "!a", "a,,b", "=", "a notin ()", "%"),
    "fieldSelector": ("metadata.name=c", "a.b.c!=d", "x", "=", "metadata.name==c,status.x="),
    "limit": ("1", "-1", "x", "99999999999999999999"),
    "continue": ("x", "eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ", "e30"),
    "resourceVersion": ("0", "1", "99999999", "-1", "x"),
    "resourceVersionMatch": ("Exact", "NotOlderThan", "x"),
    "watch": ("true", "1", "x"),
    "timeoutSeconds": ("1", "x"),
    "sendInitialEvents": ("true", "x"),
    "dryRun": ("All", "x"),
    "fieldValidation": ("Strict", "x"),
    "fieldManager": ("me", "", "\u0001"),
    "force": ("true", "x"),
    "propagationPolicy": ("Orphan", "x"),
    "gracePeriodSeconds": ("0", "x"),
    "follow": ("true",),
}
TYPES = (
    "application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "text/plain",
    "application/merge-patch+json", "application/json-patch+json", "",
    "application/strategic-merge-patch+json", "application/apply-patch+yaml",
)  # fmt: skip
BODIES = (
    b"", b"{}", b"[]", b"null", b"1", b"{", b"a: [b", b"\xff\xfe", b"k8s\0", b"[" * 5000,
    json.dumps(deployment()).encode(), json.dumps(config_map("c", a="b")).encode(),
    b'[{"op":"add","path":"/data/x","value":"y"}]', b'{"data":{"$patch":"delete"}}',
    wrapped("v1", "ConfigMap", data(1, data(1, "c")) + data(2, data(1, "a") + data(2, "b"))),
    b'{"metadata":{"managedFields":[{"fieldsV1":{"f:x":1}}]}}',
    b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"z"}}',
)  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
async def test_any_request_is_answered(live: Running, seed: int) -> None:
    choose = random.Random(seed)
    await live.json("POST", "/api/v1/namespaces/default/configmaps", json=config_map("c", a="b"))
    codes: dict[int, int] = {}
    for _ in range(500):
        if choose.random() < 0.5:
            segments = [choose.choice(SEGMENTS) for _ in range(choose.randint(1, 7))]
        else:
            segments = ["api", "v1", "namespaces", "default", "configmaps"]
            segments += choose.choice(([], ["c"], ["new"], ["c", "status"]))
        query = {k: choose.choice(v) for k, v in QUERIES.items() if choose.random() < 0.08}
        if query.get("watch") in ("true", "1"):
            query["timeoutSeconds"] = "1"
        headers = {"Content-Type": choose.choice(TYPES)}
        method = choose.choice(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"))
        body = choose.choice(BODIES)
        path = "/" + "/".join(segments)
        before = await contents(live)
        async with live.session.request(
            method, path, params=query, headers=headers, data=body
        ) as answer:
            text = await answer.read()
            codes[answer.status] = codes.get(answer.status, 0) + 1
            assert answer.status < 500 or answer.status == 504, (method, path, query, text)
            if answer.status >= 400 and text:
                assert orjson.loads(text)["kind"] == "Status", (method, path, query, text)
            if answer.status >= 400 or "dryRun" in query:
                assert await contents(live) == before, (method, path, query, body, text)
    assert {200, 404} <= codes.keys()
    assert any(400 <= code < 404 or code > 404 for code in codes)
    for entry in (await live.store.range("/registry/")).entries:
        assert orjson.loads(entry.value)["metadata"]["name"]


@pytest.mark.parametrize("seed", range(3))
async def test_mutated_definitions_and_their_objects(api: Api, seed: int) -> None:
    """A definition that is accepted serves its kind; one that is refused leaves nothing."""
    choose = random.Random(seed)
    stored = refused = objects = 0
    for _ in range(120):
        body: Any = orjson.loads(json.dumps(mutated(crd(), choose)))
        try:
            await api.create("customresourcedefinitions", body)
            stored += 1
        except ApiError as error:
            told(error, body)
            refused += 1
            continue
        for kind in list(api.resources.definitions.catalog.customs.values()):
            plain = {"metadata": {"name": "plain"}, "spec": {"cronSpec": "* * * * *"}}
            for tab in (plain, orjson.loads(json.dumps(mutated(cron_tab("x"), choose)))):
                try:
                    await api.resources.create(_target(kind), tab, _options(), _user())
                    objects += 1
                except ApiError as error:
                    told(error, body)
        for entry in (await api.store.range("/registry/apiextensions.k8s.io/")).entries:
            name = entry.key.rpartition("/")[2]
            await api.client.delete(api.target("crd").kind, name)
            await api.client.patch(api.target("crd").kind, name, {"metadata": {"finalizers": None}})
        assert not api.resources.definitions.catalog.customs
        for entry in (await api.store.range("/registry/stable.example.com/")).entries:
            await api.store.apply(Txn((Delete(entry.key),)))
    assert stored
    assert refused
    assert objects


async def contents(live: Running) -> dict[str, tuple[int, bytes]]:
    """Everything that is stored: what is refused or only tried must leave it as it is."""
    entries = (await live.store.range("/registry/")).entries
    return {entry.key: (entry.mod_revision, entry.value) for entry in entries}


def told(error: ApiError, body: Any) -> None:
    if error.code >= 500:
        pytest.fail(f"{body}: {error.message}")


def _target(kind: Any) -> Any:
    from weft.apiserver.request import Target

    return Target(kind, kind.versions[0], "default" if kind.namespaced else "")


def _options() -> Any:
    from weft.apiserver.request import WriteOptions

    return WriteOptions(field_manager="fuzz", tracks=True)


def _user() -> Any:
    from tests.apiserver.support import USER

    return USER

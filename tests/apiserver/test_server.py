"""Over HTTPS: identities, documents, forms, streams, errors."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest

from tests.apiserver.serving import GUEST_TOKEN, TOKEN, Running
from tests.apiserver.support import config_map, deployment, kind, pod
from tests.waiting import until
from weft.api.errors import ApiError
from weft.apiserver import bodies, handlers
from weft.apiserver.logs import LogOptions

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


# ------------------------------------------------------------------ identities


async def test_tokens_certificates_and_strangers(live: Running) -> None:
    assert (await live.json("GET", MAPS))[0] == 200
    wrong = {"Authorization": "Bearer nope"}
    code, body = await live.json("GET", MAPS, headers=wrong)
    assert (code, body["kind"], body["reason"]) == (401, "Status", "Unauthorized")
    guest = {"Authorization": f"Bearer {GUEST_TOKEN}"}
    code, body = await live.json("GET", MAPS, headers=guest)
    assert code == 403
    assert body["message"] == (
        'configmaps is forbidden: User "guest" cannot list resource "configmaps" in API group "" '
        'in the namespace "default"'
    )


async def test_client_certificates_name_users(live: Running) -> None:
    live.trust.load_cert_chain(live.home / "client.pem", live.home / "client.key")
    connector = aiohttp.TCPConnector(ssl=live.trust)
    session = aiohttp.ClientSession(live.url, connector=connector)
    async with session, session.get(MAPS) as response:
        assert response.status == 200


async def test_health_and_version_are_public(live: Running) -> None:
    connector = aiohttp.TCPConnector(ssl=live.trust)
    async with aiohttp.ClientSession(live.url, connector=connector) as session:
        for path in ("/healthz", "/livez", "/readyz", "/version"):
            async with session.get(path) as response:
                assert response.status == 200, path
        async with session.get(MAPS) as response:
            assert response.status == 401


# ------------------------------------------------------------------ documents


async def test_discovery_in_both_forms(live: Running) -> None:
    _, groups = await live.json("GET", "/apis")
    assert {g["name"] for g in groups["groups"]} >= {"apps", "batch", "networking.istio.io"}
    istio = next(g for g in groups["groups"] if g["name"] == "networking.istio.io")
    assert istio["preferredVersion"]["version"] == "v1"
    assert [v["version"] for v in istio["versions"]] == ["v1", "v1beta1", "v1alpha3"]
    _, core = await live.json("GET", "/api/v1")
    pods = next(r for r in core["resources"] if r["name"] == "pods")
    assert pods["shortNames"] == ["po"]
    assert {"watch", "deletecollection"} <= set(pods["verbs"])
    for version in ("v2", "v2beta1"):
        media = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        async with live.session.get("/apis", headers={"Accept": media}) as response:
            assert response.headers["Content-Type"] == media
            found = await response.json()
            assert found["apiVersion"] == f"apidiscovery.k8s.io/{version}"
        apps = next(i for i in found["items"] if i["metadata"]["name"] == "apps")
        web = next(r for r in apps["versions"][0]["resources"] if r["resource"] == "deployments")
        assert web["scope"] == "Namespaced"
        assert [s["subresource"] for s in web["subresources"]] == ["status", "scale"]
    assert (await live.json("GET", "/apis/nope.io"))[0] == 404
    assert (await live.json("GET", "/apis/apps/v2"))[0] == 404


async def test_openapi_documents_are_named_by_their_hash(live: Running) -> None:
    _, index = await live.json("GET", "/openapi/v3")
    url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
    async with live.session.get(url) as response:
        assert "max-age" in response.headers["Cache-Control"]
        assert response.headers["Date"]
        document = await response.json()
    item = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    names = {p["name"] for p in item["patch"]["parameters"]}
    assert {"fieldValidation", "dryRun", "fieldManager"} <= names
    assert item["patch"]["x-kubernetes-group-version-kind"]["kind"] == "Deployment"
    assert "application/strategic-merge-patch+json" in item["patch"]["requestBody"]["content"]
    schemas = document["components"]["schemas"]
    text = orjson.dumps(document).decode()
    mentioned = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert mentioned <= set(schemas)
    _, istio = await live.json("GET", "/openapi/v3/apis/networking.istio.io/v1beta1")
    path = "/apis/networking.istio.io/v1beta1/namespaces/{namespace}/virtualservices/{name}"
    accepted = istio["paths"][path]["patch"]["requestBody"]["content"]
    assert "application/strategic-merge-patch+json" not in accepted


async def test_pages_of_other_parts_are_served_to_masters(live: Running) -> None:
    async def page() -> tuple[str, bytes]:
        return "application/json", b'{"ok":true}'

    live.server.add_page("/weft/v1/test", page)
    assert await live.json("GET", "/weft/v1/test") == (200, {"ok": True})
    guest = {"Authorization": f"Bearer {GUEST_TOKEN}"}
    code, body = await live.json("GET", "/weft/v1/test", headers=guest)
    assert code == 403
    assert 'cannot get path "/weft/v1/test"' in body["message"]


# ------------------------------------------------------------------ forms


async def test_tables(live: Running) -> None:
    await live.json("POST", PODS, json=pod())
    _, table = await live.json("GET", PODS, headers={"Accept": TABLE})
    assert table["kind"] == "Table"
    columns = [c["name"] for c in table["columnDefinitions"]]
    assert columns[:5] == ["Name", "Ready", "Status", "Restarts", "Age"]
    row = table["rows"][0]
    assert row["cells"][:3] == ["p", "0/1", "Pending"]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    _, one = await live.json("GET", f"{PODS}/p?includeObject=Object", headers={"Accept": TABLE})
    assert one["rows"][0]["object"]["spec"]["containers"]
    metadata_only = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    _, partial = await live.json("GET", PODS, headers={"Accept": metadata_only})
    assert partial["kind"] == "PartialObjectMetadataList"
    assert set(partial["items"][0]) == {"kind", "apiVersion", "metadata"}


async def test_long_lists_are_sent_in_pieces(live: Running) -> None:
    client = live.server.local_client()
    for at in range(1203):
        await client.create(kind("cm"), config_map(f"c{at:04}"), "default")
    _, found = await live.json("GET", MAPS)
    assert [i["metadata"]["name"] for i in found["items"]] == [f"c{at:04}" for at in range(1203)]
    assert found["metadata"]["resourceVersion"] == str(live.store.revision)


async def test_bodies_in_yaml_and_answers_in_yaml(live: Running) -> None:
    text = "metadata: {name: y}\ndata: {k: '1'}\n"
    headers = {"Content-Type": "application/yaml", "Accept": "application/yaml"}
    async with live.session.post(MAPS, data=text, headers=headers) as response:
        assert response.status == 201
        assert "kind: ConfigMap" in await response.text()


@pytest.mark.parametrize(
    ("method", "path", "how", "code", "text"),
    [
        ("POST", MAPS, {"data": b"{", "headers": {
            "Content-Type": "application/json"}}, 400, "not valid JSON"),
        ("POST", MAPS, {"data": b"k8s", "headers": {
            "Content-Type": "application/vnd.kubernetes.protobuf"}}, 400, "not valid protobuf"),
        ("POST", MAPS, {"data": b"x", "headers": {"Content-Type": "text/css"}}, 415, "unknown"),
        ("PATCH", f"{MAPS}/x", {"data": b"{}", "headers": {
            "Content-Type": "application/apply-patch+yaml"}}, 422, "fieldManager"),
        ("PATCH", f"{MAPS}/x", {"json": {}}, 415, "merge-patch"),
        ("PATCH", "/apis/networking.istio.io/v1/namespaces/default/gateways/x", {
            "data": b"{}", "headers": {
                "Content-Type": "application/strategic-merge-patch+json"}}, 415, "merge-patch"),
        ("GET", f"{MAPS}/none", {}, 404, 'configmaps "none" not found'),
        ("GET", "/api/v1/namespaces/default/nopes", {}, 404, "could not find"),
        ("GET", "/nowhere", {}, 404, "could not find"),
        ("POST", f"{MAPS}/x", {"json": {}}, 405, "not allow"),
        ("PUT", MAPS, {"json": {}}, 405, "not allow"),
        ("GET", f"{MAPS}?limit=x", {}, 400, "limit"),
        ("GET", f"{MAPS}?watch=maybe", {}, 400, "strconv.ParseBool"),
        ("GET", f"{MAPS}?labelSelector=%3D%3D", {}, 400, "label"),
        ("GET", f"{MAPS}?watch=1&labelSelector=%3D%3D", {}, 400, "label"),
        ("GET", MAPS, {"headers": {"Accept": "text/html"}}, 406, "media types"),
        ("POST", f"{MAPS}?dryRun=some", {"json": config_map("a")}, 400, "dryRun"),
        ("POST", f"{MAPS}?fieldValidation=x", {"json": config_map("a")}, 400, "fieldValidation"),
        ("DELETE", f"{MAPS}/x", {"json": {"propagationPolicy": "No"}}, 400, "propagationPolicy"),
    ],
)  # fmt: skip
async def test_refusals_are_status_objects(
    live: Running, method: str, path: str, how: Any, code: int, text: str
) -> None:
    found, body = await live.json(method, path, **how)
    assert found == code, body
    assert body["kind"] == "Status"
    assert body["code"] == code
    assert text in body["message"]


async def test_warnings_reach_the_client(live: Running) -> None:
    body = deployment()
    body["spec"]["replica"] = 1
    path = "/apis/apps/v1/namespaces/default/deployments"
    async with live.session.post(path, json=body) as response:
        assert response.status == 201
        assert response.headers["Warning"].startswith('299 - "unknown field \\"spec.replica\\"')


async def test_a_body_that_is_too_large_is_refused(
    live: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_BYTES_MAX", 1000)
    code, body = await live.json("POST", MAPS, json=config_map("a", k="x" * 2000))
    assert (code, body["reason"]) == (413, "RequestEntityTooLarge")


async def test_a_bug_is_a_500_that_is_logged(
    live: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("oops")

    monkeypatch.setattr(live.server._handlers.resources, "create", broken)
    with caplog.at_level(logging.ERROR):
        code, body = await live.json("POST", MAPS, json=config_map("a"))
    assert (code, body["reason"]) == (500, "InternalError")
    assert "oops" in caplog.text


async def test_metrics(live: Running) -> None:
    await live.json("GET", MAPS)
    async with live.session.get("/metrics") as response:
        text = await response.text()
    assert 'apiserver_request_total{method="GET",code="200"}' in text
    assert f"weft_store_revision {live.store.revision}" in text


# ------------------------------------------------------------------ streams


async def lines(response: aiohttp.ClientResponse) -> AsyncIterator[Any]:
    async for line in response.content:
        yield orjson.loads(line)


async def test_watching_over_http(live: Running) -> None:
    revision = live.store.revision
    async with live.session.get(f"{MAPS}?watch=True&resourceVersion={revision}") as response:
        events = lines(response)
        await live.json("POST", MAPS, json=config_map("a"))
        event = await asyncio.wait_for(anext(events), 5)
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "a")
    await until(lambda: live.server._watches.open == 0)


@pytest.mark.slow
async def test_a_watcher_that_does_not_read_is_cut_off(
    live: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "WATCH_WRITE_SECONDS_MAX", 0.3)
    async with live.session.get(f"{MAPS}?watch=1") as response:
        await until(lambda: live.server._watches.open == 1)
        for at in range(15):
            await live.json("POST", MAPS, json=config_map(f"c{at}", k="x" * 900_000))
        await until(lambda: live.server._watches.open == 0)
        with pytest.raises(aiohttp.ClientError):
            await response.read()


@pytest.mark.slow
async def test_a_watcher_that_does_not_read_harms_no_other(live: Running) -> None:
    """One holds back megabytes; the other sees each event within moments, and every one."""
    connector = aiohttp.TCPConnector(ssl=live.trust)
    token = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        aiohttp.ClientSession(live.url, connector=connector, headers=token) as other,
        other.get(f"{MAPS}?watch=1") as stuck,
        live.session.get(f"{MAPS}?watch=1&allowWatchBookmarks=false") as healthy,
    ):
        await until(lambda: live.server._watches.open == 2)
        text = b""
        for at in range(15):
            await live.json("POST", MAPS, json=config_map(f"c{at}", k="x" * 900_000))
            async with asyncio.timeout(5):
                while b"\n" not in text:
                    text += await healthy.content.readany()
            line, _, text = text.partition(b"\n")
            event = orjson.loads(line)
            assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", f"c{at}")
        assert stuck.status == 200
        assert live.server._watches.open == 2, "nobody was cut off: the other one is only slow"


async def test_a_write_completes_when_its_client_goes_away(
    live: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = live.store.apply
    reached = asyncio.Event()

    async def slowly(txn: Any) -> int:
        reached.set()
        await asyncio.sleep(0.2)
        return await apply(txn)

    monkeypatch.setattr(live.store, "apply", slowly)
    asking = asyncio.ensure_future(live.json("POST", MAPS, json=config_map("a")))
    await reached.wait()
    asking.cancel()
    await asyncio.sleep(0.4)
    assert (await live.json("GET", f"{MAPS}/a"))[0] == 200


async def test_a_watch_that_is_too_old_gets_an_error_event(live: Running) -> None:
    await live.json("POST", MAPS, json=config_map("a"))
    await live.store.compact(live.store.revision)
    async with live.session.get(f"{MAPS}?watch=1&resourceVersion=1") as response:
        assert response.status == 200
        events = [e async for e in lines(response)]
    assert events[0]["type"] == "ERROR"
    assert events[0]["object"]["code"] == 410
    assert events[0]["object"]["reason"] == "Expired"


@pytest.mark.slow
async def test_watching_a_table(live: Running) -> None:
    await live.json("POST", MAPS, json=config_map("a"))
    path = f"{MAPS}?watch=1&timeoutSeconds=1"
    async with live.session.get(path, headers={"Accept": TABLE}) as response:
        await live.json("POST", MAPS, json=config_map("b"))
        events = [e async for e in lines(response)]
    assert [e["object"]["rows"][0]["cells"][0] for e in events] == ["a", "b"]
    assert events[0]["object"]["columnDefinitions"]


async def test_closing_the_server_ends_watches_at_once(live: Running) -> None:
    async with live.session.get(f"{MAPS}?watch=1") as response:
        started = asyncio.get_running_loop().time()
        closing = asyncio.ensure_future(live.server.close())
        assert [e async for e in lines(response)] == []
        await closing
        assert asyncio.get_running_loop().time() - started < 5


# ------------------------------------------------------------------ logs


class Source:
    """Serves the same two lines for every container."""

    def __init__(self) -> None:
        self.asked: list[LogOptions] = []

    async def read(
        self, node: str, namespace: str, pod: str, uid: str, options: LogOptions
    ) -> AsyncIterator[bytes]:
        self.asked.append(options)
        if options.tail_lines == 99:
            raise ApiError(500, "InternalError", "log file is gone")
        yield f"{node}/{namespace}/{pod}/{options.container}\n".encode()
        yield b"second\n"


async def started_pod(live: Running) -> None:
    await live.json("POST", PODS, json=pod())
    await live.json("POST", f"{PODS}/p/binding", json={"target": {"kind": "Node", "name": "n1"}})
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    status = {"name": "c", "state": state, "ready": True, "restartCount": 0, "image": "app:1",
              "imageID": ""}  # fmt: skip
    code, body = await live.json(
        "PATCH", f"{PODS}/p/status",
        data=orjson.dumps({"status": {"containerStatuses": [status]}}),
        headers={"Content-Type": "application/merge-patch+json"},
    )  # fmt: skip
    assert code == 200, body


async def log(live: Running, query: str = "") -> tuple[int, str]:
    async with live.session.get(f"{PODS}/p/log{query}") as response:
        return response.status, await response.text()


async def test_pod_logs(live: Running) -> None:
    source = live.server.log_source = Source()
    await started_pod(live)
    assert await log(live) == (200, "n1/default/p/c\nsecond\n")
    assert await log(live, "?limitBytes=5") == (200, "n1/de")
    code, _ = await log(live, "?tailLines=3&timestamps=true&follow=1&sinceSeconds=60")
    assert code == 200
    last = source.asked[-1]
    assert (last.tail_lines, last.timestamps, last.follow) == (3, True, True)
    assert last.since
    for query, code, text in (
        ("?container=x", 400, "container x is not valid for pod p"),
        ("?previous=1", 400, 'previous terminated container \\"c\\" in pod \\"p\\" not found'),
        ("?tailLines=-1", 422, "greater than or equal to 0"),
        ("?tailLines=99", 500, "log file is gone"),
        ("?sinceTime=2026-01-01T00:00:00Z&sinceSeconds=1", 422, "at most one of"),
    ):
        found, body = await log(live, query)
        assert found == code
        assert text in body


async def test_logs_of_pods_that_have_none_yet(live: Running) -> None:
    live.server.log_source = Source()
    await live.json("POST", PODS, json=pod())
    assert await log(live) == (200, "")
    await live.json("POST", f"{PODS}/p/binding", json={"target": {"kind": "Node", "name": "n1"}})
    assert (await log(live))[0] == 400


async def test_an_error_inside_a_stream_cuts_it_and_sends_no_second_answer(
    live: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> bytes:
        raise ValueError("a bug")

    monkeypatch.setattr(handlers._Lines, "encode", broken)
    url = f"{live.url}/api/v1/namespaces?watch=true&timeoutSeconds=5"
    async with live.session.get(url) as answer:
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientError):
            await answer.read()

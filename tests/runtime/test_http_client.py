"""The HTTP client against weft's own API server over TLS, and against servers that misbehave."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from tests.runtime.support import config, eventually, kind, pod
from weft.api.errors import ApiError
from weft.api.k8s.core_v1 import ConfigMap
from weft.api.objects import to_json
from weft.apiserver.access import MASTERS, User
from weft.apiserver.app import ApiServer, Settings
from weft.lib.aio import now
from weft.pki.ca import Authority
from weft.runtime import http_client, kubeconfig
from weft.runtime.http_client import HttpClient
from weft.runtime.informer import Informers
from weft.runtime.kubeconfig import Connection
from weft.store.memory import MemoryStore

MAPS = kind("configmaps")
TOKEN = "a-token"


class Tls:
    """An authority, a server context made from it, and connections that trust it."""

    def __init__(self, directory: Path) -> None:
        self.root = Authority.create("cluster.local", now())
        self.issuer = self.root.intermediate("test", now())
        pair = self.issuer.server(["127.0.0.1", "api.example.org"], now())
        file = directory / "server.pem"
        file.write_text(pair.certificate + pair.key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(file)
        self.context.load_verify_locations(cadata=self.root.roots)
        self.context.verify_mode = ssl.CERT_OPTIONAL


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return Tls(tmp_path)


@pytest.fixture
async def server(tls: Tls) -> AsyncIterator[ApiServer]:
    store = MemoryStore()
    made = ApiServer(store, Settings(tokens={TOKEN: User("admin", (MASTERS,))}))
    await made.start("127.0.0.1", 0, tls.context)
    yield made
    await made.close()
    await store.close()


def connection(server: ApiServer, tls: Tls, token: str = TOKEN) -> Connection:
    return Connection(server=f"https://127.0.0.1:{server.port}", ca=tls.root.roots, token=token)


@pytest.fixture
async def client(server: ApiServer, tls: Tls) -> AsyncIterator[HttpClient]:
    made = HttpClient(connection(server, tls))
    yield made
    await made.close()


async def test_every_verb(client: HttpClient) -> None:
    made = orjson.loads(await client.create(MAPS, to_json(config("a", v="1"))))
    assert made["metadata"]["namespace"] == "default"
    made["data"]["v"] = "2"
    await client.update(MAPS, made)
    for patch_type, body in (
        ("merge", {"data": {"m": "1"}}),
        ("strategic", {"data": {"s": "1"}}),
        ("json", [{"op": "add", "path": "/data/j", "value": "1"}]),
    ):
        await client.patch(MAPS, "a", body, "default", patch_type=patch_type)  # type: ignore[arg-type]
    found = orjson.loads(await client.get(MAPS, "a", "default"))
    assert found["data"] == {"v": "2", "m": "1", "s": "1", "j": "1"}
    await client.patch(MAPS, "a", {"data": {"v": "9"}}, "default", dry_run=True)
    assert orjson.loads(await client.get(MAPS, "a", "default")) == found
    with pytest.raises(ApiError) as stale:
        await client.update(MAPS, made)
    assert (stale.value.code, stale.value.reason) == (409, "Conflict")
    with pytest.raises(ApiError) as other:
        await client.delete(MAPS, "a", "default", uid="other")
    assert other.value.code == 409
    await client.delete(MAPS, "a", "default", uid=found["metadata"]["uid"])
    with pytest.raises(ApiError) as gone:
        await client.get(MAPS, "a", "default")
    assert (gone.value.code, gone.value.message) == (404, 'configmaps "a" not found')


async def test_a_pod_is_bound_and_its_status_written(client: HttpClient) -> None:
    pods = kind("pods")
    await client.create(pods, to_json(pod("p")))
    await client.bind("p", "default", "n1")
    await client.patch(pods, "p", {"status": {"phase": "Running"}}, "default", subresource="status")
    found = orjson.loads(await client.get(pods, "p", "default"))
    assert (found["spec"]["nodeName"], found["status"]["phase"]) == ("n1", "Running")


async def test_lists_come_in_pages_and_by_selector(client: HttpClient) -> None:
    for n in range(5):
        body = to_json(config(f"a{n}"))
        body["metadata"]["labels"] = {"odd": str(n % 2)}
        await client.create(MAPS, body)
    page = await client.list(MAPS, "default", limit=2)
    rest = await client.list(MAPS, "default", limit=9, continue_token=page.continue_token)
    names = [orjson.loads(item)["metadata"]["name"] for item in page.items + rest.items]
    assert names == [f"a{n}" for n in range(5)]
    assert page.continue_token
    assert not rest.continue_token
    assert orjson.loads(page.items[0])["kind"] == "ConfigMap"
    odd = await client.list(MAPS, label_selector="odd=1", field_selector="metadata.name!=a3")
    assert [orjson.loads(item)["metadata"]["name"] for item in odd.items] == ["a1"]


async def test_a_watch_gives_events_as_they_happen(client: HttpClient) -> None:
    start = (await client.list(MAPS)).resource_version
    async with asyncio.timeout(5), aclosing(client.watch(MAPS, resource_version=start)) as watch:  # type: ignore[type-var]
        await client.create(MAPS, to_json(config("a", v="x" * 200_000)))
        await client.delete(MAPS, "a", "default")
        first, second = await anext(watch), await anext(watch)
    assert [first.type, second.type] == ["ADDED", "DELETED"]
    assert len(orjson.loads(bytes(first.object))["data"]["v"]) == 200_000


async def test_informers_work_over_http(client: HttpClient) -> None:
    await client.create(MAPS, to_json(config("a", v="1")))
    informers = Informers(client, [ConfigMap])
    informers.start()
    async with asyncio.timeout(5):
        await informers.synced()
    await client.patch(MAPS, "a", {"data": {"v": "2"}}, "default")

    def value() -> str:
        found = informers.cache.get(ConfigMap, "a", "default")
        return found.data["v"] if found else ""

    await eventually(lambda: value() == "2")
    await informers.close()


async def test_a_revision_from_nowhere_is_410(client: HttpClient) -> None:
    with pytest.raises(ApiError) as caught:
        await anext(aiter(client.watch(MAPS, resource_version="999999999")))
    assert caught.value.code == 410


async def test_credentials_and_trust(server: ApiServer, tls: Tls, tmp_path: Path) -> None:
    wrong = HttpClient(connection(server, tls, token="wrong"))
    with pytest.raises(ApiError) as caught:
        await wrong.get(MAPS, "a", "default")
    assert (caught.value.code, caught.value.reason) == (401, "Unauthorized")
    await wrong.close()

    user = tls.issuer.client("alice", [MASTERS], now())
    file = tmp_path / "config"
    kubeconfig.write(
        file,
        Connection(
            server=f"https://127.0.0.1:{server.port}",
            ca=tls.root.roots,
            client_certificate=user.certificate,
            client_key=user.key,
            tls_server_name="api.example.org",
        ),
    )
    by_certificate = HttpClient.from_kubeconfig(file)
    assert (await by_certificate.list(MAPS)).items == ()
    await by_certificate.close()

    other = Authority.create("cluster.local", now())
    suspicious = HttpClient(
        Connection(server=f"https://127.0.0.1:{server.port}", ca=other.roots, token=TOKEN)
    )
    with pytest.raises(ApiError, match="cannot reach") as untrusted:
        await suspicious.get(MAPS, "a", "default")
    assert untrusted.value.code == 503
    await suspicious.close()


async def test_a_server_that_is_not_there() -> None:
    client = HttpClient(Connection(server="http://127.0.0.1:9"))
    with pytest.raises(ApiError, match=r"cannot reach http://127\.0\.0\.1:9") as caught:
        await client.get(MAPS, "a", "default")
    assert caught.value.code == 503
    with pytest.raises(ApiError, match="cannot reach"):
        await anext(aiter(client.watch(MAPS, resource_version="1")))
    await client.close()


@asynccontextmanager
async def odd_server(
    answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
) -> AsyncIterator[HttpClient]:
    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    client = HttpClient(Connection(server=f"http://127.0.0.1:{runner.addresses[0][1]}"))
    yield client
    await client.close()
    await runner.cleanup()


async def stream(http: web.BaseRequest, *pieces: bytes) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(http)
    for piece in pieces:
        await response.write(piece)
        await asyncio.sleep(0.005)
    return response


async def test_lines_may_arrive_in_any_pieces() -> None:
    line = b'{"type":"ADDED","object":{"metadata":{"name":"%d"}}}\n'
    text = b"".join(line % n for n in range(20))

    async def answer(http: web.BaseRequest) -> web.StreamResponse:
        return await stream(http, text[:7], text[7:60], text[60:61], text[61:], b"\n")

    async with odd_server(answer) as client:
        events = [e async for e in client.watch(MAPS, resource_version="1")]
    names = [orjson.loads(bytes(e.object))["metadata"]["name"] for e in events]
    assert names == [str(n) for n in range(20)]


async def test_an_error_event_ends_a_watch() -> None:
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}

    async def answer(http: web.BaseRequest) -> web.StreamResponse:
        return await stream(http, orjson.dumps({"type": "ERROR", "object": status}) + b"\n")

    async with odd_server(answer) as client:
        with pytest.raises(ApiError, match="too old") as caught:
            await anext(aiter(client.watch(MAPS, resource_version="1")))
    assert (caught.value.code, caught.value.reason) == (410, "Expired")


@pytest.mark.parametrize(
    ("status", "body", "code", "what"),
    [
        (200, b"<html>", 502, "not Kubernetes'"),
        (502, b"<html>bad gateway", 502, "the server answered 502: <html>bad gateway"),
        (404, b"", 404, r"the server answered 404: \(nothing\)"),
        (422, orjson.dumps({"kind": "Status", "message": "no"}), 422, "no"),
    ],
)
async def test_answers_that_are_not_kubernetes(
    status: int, body: bytes, code: int, what: str
) -> None:
    async def answer(http: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, body=body)

    async with odd_server(answer) as client:
        with pytest.raises(ApiError, match=what) as caught:
            await client.list(MAPS)
    assert caught.value.code == code


async def test_nonsense_on_a_watch() -> None:
    async def answer(http: web.BaseRequest) -> web.StreamResponse:
        return await stream(http, b'{"type":"NEW"}\n')

    async with odd_server(answer) as client:
        with pytest.raises(ApiError) as caught:
            await anext(aiter(client.watch(MAPS, resource_version="1")))
    assert caught.value.code == 502


async def test_an_endless_line_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "WATCH_LINE_BYTES_MAX", 1000)

    async def answer(http: web.BaseRequest) -> web.StreamResponse:
        return await stream(http, *[b"x" * 500] * 5)

    async with odd_server(answer) as client:
        with pytest.raises(ApiError, match="a watch line has over"):
            await anext(aiter(client.watch(MAPS, resource_version="1")))


async def test_a_silent_watch_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "WATCH_SILENCE_SECONDS_MAX", 0.05)

    async def answer(http: web.BaseRequest) -> web.StreamResponse:
        response = await stream(http)
        await asyncio.sleep(0.2)
        return response

    async with odd_server(answer) as client:
        with pytest.raises(ApiError, match="went silent") as caught:
            await anext(aiter(client.watch(MAPS, resource_version="1")))
    assert caught.value.code == 504


async def test_items_of_a_plain_kubernetes_list_get_their_kind() -> None:
    body = {"metadata": {"resourceVersion": "5"}, "items": [{"metadata": {"name": "a"}}]}

    async def answer(http: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=orjson.dumps(body))

    async with odd_server(answer) as client:
        page = await client.list(MAPS)
    assert orjson.loads(page.items[0]) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a"},
    }

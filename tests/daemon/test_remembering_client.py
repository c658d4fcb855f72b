"""What a node knows while its control plane is away."""

import asyncio
import contextlib
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from weft.api.errors import ApiError
from weft.api.registry import by_name
from weft.daemon import remembering_client
from weft.daemon.remembering_client import RememberingClient
from weft.runtime.kubeconfig import Connection


def item(name: str, revision: int) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", "resourceVersion": str(revision)},
    }


async def answer(request: web.BaseRequest) -> web.StreamResponse:
    if "watch" in request.query:
        lines = [
            {"type": "DELETED", "object": item("a", 6)}, {"type": "ADDED", "object": item("c", 7)},
        ]  # fmt: skip
        return web.Response(body=b"".join(orjson.dumps(line) + b"\n" for line in lines))
    items = [item("a", 3), item("b", 4)]
    return web.json_response({"metadata": {"resourceVersion": "5"}, "items": items})


@pytest.mark.parametrize(("plural", "kept"), [("configmaps", True), ("secrets", False)])
async def test_lists_and_watches_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plural: str, kept: bool
) -> None:
    monkeypatch.setattr(remembering_client, "WRITE_SECONDS", 0.01)
    kind = by_name(plural)
    assert kind is not None
    server = web.ServerRunner(web.Server(answer))
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", 0)
    await site.start()
    target = Connection(f"http://127.0.0.1:{server.addresses[0][1]}")
    client = RememberingClient(target, tmp_path / "m", secrets=False)
    assert len((await client.list(kind)).items) == 2
    async for _ in client.watch(kind, resource_version="5"):
        pass
    keeping = asyncio.ensure_future(client.keep())
    async with asyncio.timeout(5):
        while kept and not client.remembers(plural):  # noqa: ASYNC110 - a file's being there
            await asyncio.sleep(0.01)
    keeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await keeping
    await client.close()
    await server.cleanup()

    later = RememberingClient(target, tmp_path / "m", secrets=False)
    if not kept:
        with pytest.raises(ApiError):
            await later.list(kind)
    else:
        found = await later.list(kind)
        names = {orjson.loads(i)["metadata"]["name"] for i in found.items}
        assert (names, found.resource_version) == ({"b", "c"}, "7")
        assert later.stale == {plural}
        with pytest.raises(ApiError):
            await later.list(kind)
        mode = (tmp_path / "m").stat().st_mode
        assert mode & 0o077 == 0
    await later.close()

"""Bodies that come slowly cost nobody else anything."""

import asyncio
import ssl
from typing import Any

import pytest

from tests.apiserver.serving import TOKEN, Running
from tests.apiserver.support import config_map
from weft.apiserver import bodies

MAPS = "/api/v1/namespaces/default/configmaps"


async def begin(live: Running, length: int, part: bytes = b"{") -> Any:
    """A POST whose body does not come."""
    trust = ssl.create_default_context(cafile=str(live.home / "ca.pem"))
    port = live.server.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
    writer.write(
        f"POST {MAPS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n".encode()
        + part
    )
    await writer.drain()
    return reader, writer


async def test_a_body_that_does_not_come_is_408(live: Running) -> None:
    live.server._server.bodies = bodies.Bodies(seconds_max=0.2)
    reader, writer = await begin(live, 1000)
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    writer.close()
    assert (await live.json("POST", MAPS, json=config_map("a")))[0] == 201


async def test_one_user_has_so_many_at_once(live: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODIES_OF_USER_MAX", 3)
    slow = [await begin(live, 1000) for _ in range(3)]
    async with asyncio.timeout(5):
        while (answer := await live.json("POST", MAPS, json=config_map("a")))[0] != 429:
            await live.json("DELETE", f"{MAPS}/a")
    assert answer[1]["details"]["retryAfterSeconds"] == 1
    for _, writer in slow:
        writer.transport.abort()
    async with asyncio.timeout(5):
        while (await live.json("POST", MAPS, json=config_map("b")))[0] != 201:
            pass

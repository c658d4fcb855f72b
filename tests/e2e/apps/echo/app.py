"""A program for end-to-end tests: it tells what it received, fails on demand, speaks WebSocket."""

import asyncio
import hashlib
import os
import signal
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from aiohttp import web

POD = os.environ.get("HOSTNAME", "")
VERSION = os.environ.get("VERSION", "")
STATE = {"broken": bool(os.environ.get("BROKEN"))}
CALLS: Counter[str] = Counter()
HOOKED: list[Any] = []


async def echo(request: web.Request) -> web.Response:
    if STATE["broken"]:
        return web.json_response({"pod": POD, "error": "broken"}, status=503)
    answer = {
        "pod": POD,
        "version": VERSION,
        "method": request.method,
        "path": request.path_qs,
        "headers": dict(request.headers),
        "body": await request.text(),
    }
    return web.json_response(answer)


async def who(_: web.Request) -> web.Response:
    if STATE["broken"]:
        return web.Response(text="broken", status=503)
    return web.Response(text=VERSION)


async def slow(request: web.Request) -> web.Response:
    await asyncio.sleep(float(request.query.get("seconds", "1")))
    return web.Response(text=POD)


async def digest(request: web.Request) -> web.Response:
    seen = hashlib.sha256()
    async for piece in request.content.iter_chunked(1 << 18):
        seen.update(piece)
    return web.Response(text=seen.hexdigest())


async def size(request: web.Request) -> web.StreamResponse:
    """GET /size?bytes=N[&chunked=1]: a body of that many bytes."""
    left = int(request.query["bytes"])
    answer = web.StreamResponse()
    if "chunked" in request.query:
        answer.enable_chunked_encoding()
    else:
        answer.content_length = left
    await answer.prepare(request)
    while left > 0:
        await answer.write(b"x" * min(left, 1 << 18))
        left -= 1 << 18
    return answer


async def drip(request: web.Request) -> web.StreamResponse:
    """A line every tenth of a second, for a second."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    for number in range(11):
        await answer.write(f"{number}\n".encode())
        await asyncio.sleep(0.1)
    return answer


async def flaky(request: web.Request) -> web.Response:
    """GET /flaky?key=K&times=N[&status=503]: fails that often for this key, then succeeds."""
    key, status = request.query["key"], int(request.query.get("status", "503"))
    CALLS[key] += 1
    failing = CALLS[key] <= int(request.query["times"])
    return web.Response(text=POD, status=status if failing else 200)


async def calls(request: web.Request) -> web.Response:
    """How often /flaky (by key) or /seen/... (by path) was called here."""
    return web.Response(text=str(CALLS[request.query["key"]]))


async def seen(request: web.Request) -> web.Response:
    CALLS[request.path] += 1
    return web.Response(text=VERSION)


async def broken(request: web.Request) -> web.Response:
    """POST /broken?value=true makes this replica answer 503 until told otherwise."""
    STATE["broken"] = request.query.get("value") == "true"
    return web.Response(text=POD)


async def hook(request: web.Request) -> web.Response:
    """POST /hook keeps the body, GET /hook gives all that came."""
    if request.method == "POST":
        HOOKED.append(await request.json())
    return web.json_response(HOOKED)


async def environment(_: web.Request) -> web.Response:
    return web.json_response(dict(os.environ))


async def read_file(request: web.Request) -> web.Response:
    path = Path(request.query["path"])
    if path.is_dir():
        return web.json_response(sorted(p.name for p in path.iterdir()))
    try:
        return web.Response(text=path.read_text())
    except OSError as error:
        return web.Response(text=str(error), status=404)


async def resolve(request: web.Request) -> web.Response:
    name = request.query["name"]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, 80, type=1)
        return web.json_response(sorted({str(item[4][0]) for item in found}))
    except OSError as error:
        return web.Response(text=str(error), status=404)


async def tcp(request: web.Request) -> web.Response:
    """Open a TCP connection from inside the pod; the first line it says, without sending any."""
    host, port = request.query["host"], int(request.query["port"])
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 5)
        line = await asyncio.wait_for(reader.readline(), 5)
        writer.close()
        return web.Response(text=line.decode())
    except (OSError, TimeoutError) as error:
        return web.Response(text=repr(error), status=502)


async def call(request: web.Request) -> web.Response:
    """Call a URL from inside the pod and hand its answer back."""
    from aiohttp import ClientError, ClientSession, ClientTimeout

    headers = {k: v for k, v in request.headers.items() if k.lower().startswith("x-test")}
    try:
        async with (
            ClientSession(trust_env=True, timeout=ClientTimeout(total=10)) as session,
            session.get(request.query["url"], headers=headers, ssl=False) as answer,
        ):
            body = await answer.read()
            return web.Response(body=body, status=answer.status, content_type=answer.content_type)
    except (ClientError, TimeoutError) as error:
        return web.Response(text=repr(error), status=599)


async def run(request: web.Request) -> web.Response:
    """Run a test's own program inside the pod: the body defines `async def main()`, whose value
    is the answer."""
    names: dict[str, Any] = {}
    try:
        exec(compile(await request.text(), "<test>", "exec"), names)
        return web.json_response(await asyncio.wait_for(names["main"](), 60))
    except Exception:
        return web.Response(text=traceback.format_exc(), status=500)


async def websocket(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(f"{POD}:{message.data}")
    return socket


async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server-first protocol: speaks before it is spoken to."""
    writer.write(f"220 {POD}\n".encode())
    await writer.drain()
    await asyncio.sleep(0.5)
    writer.close()


async def lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends every line back; what came in all, once the other side has finished sending."""
    total = 0
    while line := await reader.readline():
        total += len(line)
        writer.write(line)
        await writer.drain()
    writer.write(f"total {total}\n".encode())
    await writer.drain()
    writer.close()


async def main() -> None:
    app = web.Application(client_max_size=64 << 20)
    app.add_routes(
        [
            web.get("/who", who),
            web.get("/slow", slow),
            web.post("/digest", digest),
            web.get("/size", size),
            web.get("/drip", drip),
            web.get("/flaky", flaky),
            web.get("/calls", calls),
            web.get("/seen/{name}", seen),
            web.post("/broken", broken),
            web.route("*", "/hook", hook),
            web.get("/env", environment),
            web.get("/file", read_file),
            web.get("/resolve", resolve),
            web.get("/tcp", tcp),
            web.get("/call", call),
            web.post("/run", run),
            web.get("/ws", websocket),
            web.route("*", "/{tail:.*}", echo),
        ]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
    await runner.setup()
    host = os.environ.get("HOST")
    await web.TCPSite(runner, host, int(os.environ.get("PORT", "8080"))).start()
    if port := os.environ.get("GREET_PORT"):
        # Host isolation says in PORT_<n> where to listen instead of <n>.
        await asyncio.start_server(greet, host, int(os.environ.get(f"PORT_{port}", port)))
    if port := os.environ.get("LINE_SERVER"):
        await asyncio.start_server(lines, host, int(os.environ.get(f"PORT_{port}", port)))
    print(f"echo {VERSION} ready", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    print("echo ends", flush=True)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())

"""A back end that speaks HTTP, TLS, TCP and UDP, and tells what it was asked by whom."""

import asyncio
import json
import os
import ssl

VERSION = os.environ.get("VERSION", "")
SECRETS = "/etc/tls"
FAILURES: dict[str, int] = {}


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
        return
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
    tls = writer.get_extra_info("ssl_object")
    status = "200 OK"
    if path.startswith("/fail/"):  # /fail/<key>/<times>
        _, _, key, times = path.split("/")
        FAILURES[key] = FAILURES.get(key, 0) + 1
        status = "200 OK" if FAILURES[key] > int(times) else "503 Broken"
    if path.startswith("/reset/"):  # /reset/<key>/<times>: connections that break
        _, _, key, times = path.split("/")
        FAILURES[key] = FAILURES.get(key, 0) + 1
        if FAILURES[key] <= int(times):
            writer.transport.abort()
            return
    if path.startswith("/slow/"):  # /slow/<key>/<times>: answers that take too long
        _, _, key, times = path.split("/")
        FAILURES[key] = FAILURES.get(key, 0) + 1
        if FAILURES[key] <= int(times):
            await asyncio.sleep(5)
    if path.startswith("/seen/"):
        FAILURES[path] = FAILURES.get(path, 0) + 1
    if path.startswith("/call/"):  # /call/<host>/<path>: what a call inside the mesh brings
        _, _, host, rest = path.split("/", 3)
        status, answer = await call(host, f"/{rest}")
    else:
        answer = {"count": FAILURES.get(path.removeprefix("/count"), 0)}
    body = json.dumps(
        {
            "version": VERSION,
            "method": method,
            "path": path,
            "headers": headers,
            "sni": getattr(tls, "asked", "") if tls else "",
            "client": str((tls.getpeercert() or {}).get("subject", ())) if tls else "",
            **answer,
        }
    ).encode()
    writer.write(
        f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
        + body
    )
    await writer.drain()
    writer.close()


async def call(host: str, path: str) -> tuple[str, dict[str, object]]:
    reader, writer = await asyncio.open_connection(host, 80)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    first, *lines = head.split("\r\n")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
    status = int(first.split(" ")[1])
    found = json.loads(body) if body.startswith("{") else {}
    return "200 OK", {**found, "status": status, "location": headers.get("location", "")}


async def line(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(f"{VERSION}\n".encode())
    await writer.drain()
    writer.close()


class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.transport.sendto(f"{VERSION} {data.decode()}".encode(), address)


def context() -> ssl.SSLContext:
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.load_cert_chain(f"{SECRETS}/tls.crt", f"{SECRETS}/tls.key")
    made.load_verify_locations(f"{SECRETS}/ca.crt")
    made.verify_mode = ssl.CERT_OPTIONAL

    def asked(socket: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        socket.asked = name or ""  # type: ignore[attr-defined]

    made.sni_callback = asked
    return made


async def main() -> None:
    await asyncio.start_server(http, "0.0.0.0", 8080)
    await asyncio.start_server(line, "0.0.0.0", 7000)
    if os.path.exists(f"{SECRETS}/tls.crt"):
        await asyncio.start_server(http, "0.0.0.0", 8443, ssl=context())
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Datagrams, local_addr=("0.0.0.0", 5353))
    await asyncio.Event().wait()


asyncio.run(main())

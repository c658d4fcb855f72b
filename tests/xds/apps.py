"""Programs that the tests run as pods: a back end and a caller. Only the standard library.

`serve ADDRESS PORT NAME [--delay S] [--status N] [--greet]` and `load URL ...`, see below.
"""

import argparse
import asyncio
import json
import sys
import time
from urllib.parse import urlsplit


async def read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]] | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.strip().split("\r\n")
    return first, {
        k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)
    }


async def serve(args: argparse.Namespace) -> None:
    async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (head := await read_head(reader)) is not None:
            line, headers = head
            await reader.readexactly(int(headers.get("content-length", "0")))
            await asyncio.sleep(args.delay)
            seen = {
                "name": args.name,
                "line": line,
                "headers": headers,
                "peer": writer.get_extra_info("peername")[0],
            }
            body = json.dumps(seen).encode()
            status = f"HTTP/1.1 {args.status} Status\r\n"
            answer = f"{status}content-length: {len(body)}\r\nserver: app\r\n\r\n"
            writer.write(answer.encode() + body)
            await writer.drain()
        writer.close()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"220 {args.name}\r\n".encode())
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(greet if args.greet else http, args.address, args.port)
    print("ready", flush=True)
    await server.serve_forever()


async def load(args: argparse.Namespace) -> None:
    """Callers with kept-alive connections, for some seconds; prints what came back as JSON."""
    url = urlsplit(args.url)
    until = time.monotonic() + args.seconds
    counts: dict[str, int] = {}
    failures: list[str] = []

    async def caller() -> None:
        reader = writer = None
        while time.monotonic() < until:
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection(url.hostname, url.port or 80)
                host = args.host or url.netloc
                writer.write(f"GET {url.path or '/'} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
                head = await read_head(reader)
                if head is None:
                    raise ConnectionError("closed")
                body = await reader.readexactly(int(head[1].get("content-length", "0")))
                status = head[0].split()[1]
                if status == "200":
                    name = json.loads(body)["name"]
                    counts[name] = counts.get(name, 0) + 1
                else:
                    failures.append(f"{status} {body[:80]!r}")
                if head[1].get("connection") == "close":
                    writer.close()
                    writer = None
            except (OSError, asyncio.IncompleteReadError) as error:
                failures.append(repr(error))
                writer = None
                await asyncio.sleep(0.01)
            await asyncio.sleep(args.pause)

    await asyncio.gather(*(caller() for _ in range(args.callers)))
    print(json.dumps({"counts": counts, "failures": failures}))


def main() -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    server = commands.add_parser("serve")
    server.add_argument("address")
    server.add_argument("port", type=int)
    server.add_argument("name")
    server.add_argument("--delay", type=float, default=0.0)
    server.add_argument("--status", type=int, default=200)
    server.add_argument("--greet", action="store_true")
    loader = commands.add_parser("load")
    loader.add_argument("url")
    loader.add_argument("--host", default="")
    loader.add_argument("--seconds", type=float, default=2.0)
    loader.add_argument("--callers", type=int, default=4)
    loader.add_argument("--pause", type=float, default=0.002)
    args = parser.parse_args()
    asyncio.run(serve(args) if args.command == "serve" else load(args))


if __name__ == "__main__":
    sys.exit(main())

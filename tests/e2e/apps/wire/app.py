"""A program for end-to-end tests that tells on which connection a request came, and what was
spoken there: HTTP/1.1 or HTTP/2, told apart by the first bytes. It fails when the path says so.

Besides, on other ports: bytes are sent back line by line (7001); nobody is let in (7002), because
the queue of a socket that nobody accepts from is full.
"""

import asyncio
import itertools
import json
import os
import socket
from collections import Counter
from urllib.parse import parse_qsl, urlsplit

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived

NAME = os.environ["HOSTNAME"]
PREFACE = b"PRI"
NUMBERS = itertools.count()
CALLS: Counter[str] = Counter()
WHENEVER = 1_000_000


class Failed(Exception):
    """No answer: the connection, or the stream, ends."""


async def answer(path: str, connection: int, speaks: str) -> tuple[int, dict[str, str], str]:
    """Status, headers and body. `?seconds=` waits; `?only=POD` and `?but=POD` say who fails,
    `?key=K&times=N` how often in all, and `?how=` in which way: a status, with the header
    `?header=`, or no answer (close, refuse)."""
    query = dict(parse_qsl(urlsplit(path).query))
    key = query.get("key", "")
    if urlsplit(path).path == "/calls":
        return 200, {}, str(CALLS[key])
    await asyncio.sleep(float(query.get("seconds", 0)))
    CALLS[key] += 1
    fails = CALLS[key] <= int(query.get("times", WHENEVER)) and "how" in query
    if fails and query.get("only", NAME) == NAME and query.get("but") != NAME:
        if not query["how"].isdigit():
            raise Failed(query["how"])
        headers = {query["header"]: "true"} if "header" in query else {}
        return int(query["how"]), headers, NAME
    told = {"pod": NAME, "connection": connection, "speaks": speaks}
    return 200, {}, json.dumps(told)


async def http1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes) -> None:
    number = next(NUMBERS)
    while True:
        head = first + await reader.readuntil(b"\r\n\r\n")
        first = b""
        status, headers, body = await answer(head.split()[1].decode(), number, "HTTP/1.1")
        lines = [f"HTTP/1.1 {status} x", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
        await writer.drain()


async def http2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes) -> None:
    number = next(NUMBERS)
    connection = H2Connection(H2Configuration(client_side=False))
    connection.initiate_connection()

    async def reply(stream: int, path: str) -> None:
        try:
            status, headers, body = await answer(path, number, "HTTP/2")
            fields = [(":status", str(status)), *headers.items()]
            connection.send_headers(stream, fields)
            connection.send_data(stream, body.encode(), end_stream=True)
        except Failed as way:
            if str(way) == "close":
                writer.close()
                return
            connection.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
        writer.write(connection.data_to_send())

    data = first
    async with asyncio.TaskGroup() as group:
        while data:
            for event in connection.receive_data(data):
                if isinstance(event, RequestReceived):
                    fields = {bytes(k).decode(): bytes(v).decode() for k, v in event.headers or ()}
                    group.create_task(reply(event.stream_id or 0, fields[":path"]))
                elif isinstance(event, DataReceived):
                    length = event.flow_controlled_length or 0
                    connection.acknowledge_received_data(length, event.stream_id or 0)
            writer.write(connection.data_to_send())
            data = await reader.read(65536)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        first = await reader.readexactly(len(PREFACE))
        await (http2 if first == PREFACE else http1)(reader, writer, first)
    except (Failed, asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
    writer.close()


def full_queue() -> list[socket.socket]:
    """A socket that takes no more connections, and those that fill its queue."""
    sockets = [socket.create_server(("0.0.0.0", 7002), backlog=0)]
    for _ in range(4):
        filling = socket.socket()
        filling.setblocking(False)
        filling.connect_ex(("127.0.0.1", 7002))
        sockets.append(filling)
    return sockets


async def main() -> None:
    kept = full_queue()
    await asyncio.start_server(lines, "0.0.0.0", 7001)
    server = await asyncio.start_server(serve, "0.0.0.0", 8080)
    await server.serve_forever()
    del kept


if __name__ == "__main__":
    asyncio.run(main())

"""Programs of the agreement test: a back end that says where a call arrived, and a caller.

`echo PORT...` answers HTTP with JSON, and anything else with a line of JSON. `call` reads lines of
JSON, each a list of calls, and prints a line of JSON with the answers. Only the standard library.
"""

import asyncio
import json
import sys

CALL_SECONDS_MAX = 4.0
AT_ONE_TIME = 24
METHODS = (b"GET ", b"POST", b"HEAD", b"OPTI", b"PUT ", b"DELE")


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    address, port = writer.get_extra_info("sockname")[:2]
    here = {"address": address, "port": port}
    try:
        first = await reader.read(4)
        while first:
            if first not in METHODS:
                writer.write(json.dumps(here).encode() + b"\n")
                break
            head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin1")
            line, *rest = head.strip().split("\r\n")
            headers = [[k.lower(), v.strip()] for k, _, v in (r.partition(":") for r in rest)]
            method, path, _ = line.split(" ")
            found = {**here, "method": method, "path": path, "headers": headers}
            body = json.dumps(found).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body))
            writer.write(b"" if method == "HEAD" else body)
            await writer.drain()
            if ["connection", "close"] in headers:
                break
            first = await reader.read(4)
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def serve(ports: list[int]) -> None:
    servers = [await asyncio.start_server(echo, "0.0.0.0", port, backlog=512) for port in ports]
    print("ready", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


def whole(data: bytes, to_head: bool) -> bool:
    """Whether nothing more is to come."""
    if not data.startswith(b"HTTP/1.1 "):
        return data.endswith(b"}\n")
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return False
    lengths = [n for n in head.lower().split(b"\r\n") if n.startswith(b"content-length:")]
    return to_head or not lengths or len(body) >= int(lengths[0].partition(b":")[2])


async def one(call: dict, gate: asyncio.Semaphore) -> str:
    """All bytes that come back until the answer is whole or the other side closes: a proxy waits
    a second for the caller to close first."""
    head = call["bytes"].startswith(b"HEAD ".hex())
    async with gate:
        try:
            async with asyncio.timeout(CALL_SECONDS_MAX):
                reader, writer = await asyncio.open_connection(call["address"], call["port"])
                writer.write(bytes.fromhex(call["bytes"]))
                data = b""
                while not whole(data, head) and (more := await reader.read(2**16)):
                    data += more
                writer.close()
                return data.hex()
        except (OSError, TimeoutError) as error:
            return f"error {type(error).__name__}"


async def call() -> None:
    reader = asyncio.StreamReader(limit=2**26)
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    gate = asyncio.Semaphore(AT_ONE_TIME)
    while line := await reader.readline():
        answers = await asyncio.gather(*(one(each, gate) for each in json.loads(line)))
        print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        asyncio.run(serve([int(port) for port in sys.argv[2:]]))
    else:
        asyncio.run(call())

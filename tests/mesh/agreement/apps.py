"""Programs of the agreement test: a back end that says where a call arrived, and a caller.

`echo PORT...` answers HTTP with JSON, and anything else with a line of JSON. `call` reads lines of
JSON, each a list of calls, and prints a line of JSON with the answers. Only the standard library.
"""

import asyncio
import json
import socket
import struct
import sys
import threading

IP_PKTINFO = 8
CALL_SECONDS_MAX = 4.0
AT_ONE_TIME = 24
DATAGRAM_PORT = 5353
DATAGRAM_SECONDS_MAX = 0.7
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


def datagrams() -> None:
    """Answers each datagram with the address it came to, from which the answer goes out."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    server.bind(("0.0.0.0", DATAGRAM_PORT))
    while True:
        _, facts, _, caller = server.recvmsg(2048, 256)
        info = next(data for _, kind, data in facts if kind == IP_PKTINFO)
        here = {"address": socket.inet_ntoa(info[8:12]), "port": DATAGRAM_PORT}
        source = struct.pack("=I4s4s", 0, info[8:12], bytes(4))
        reply = json.dumps(here).encode()
        server.sendmsg([reply], [(socket.IPPROTO_IP, IP_PKTINFO, source)], 0, caller)


async def serve(ports: list[int]) -> None:
    servers = [await asyncio.start_server(echo, "0.0.0.0", port, backlog=512) for port in ports]
    threading.Thread(target=datagrams, daemon=True).start()
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


def datagram(call: dict) -> str:
    """What comes back to a datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(DATAGRAM_SECONDS_MAX)
        try:
            client.connect((call["address"], call["port"]))
            client.send(bytes.fromhex(call["bytes"]))
            return client.recv(2048).hex()
        except OSError as error:
            return f"error {type(error).__name__}"


async def one(call: dict, gate: asyncio.Semaphore) -> str:
    """All bytes that come back until the answer is whole or the other side closes: a proxy waits
    a second for the caller to close first."""
    if call["datagram"]:
        return await asyncio.to_thread(datagram, call)
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

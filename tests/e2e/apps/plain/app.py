"""A program for end-to-end tests without HTTP: datagrams, and TCP where the server begins."""

import asyncio
import os
from typing import Any

NAME = os.environ.get("HOSTNAME", "")
ADDRESS = os.environ.get("HOST", "0.0.0.0")


def port(name: str, default: int) -> int:
    """Where it shall listen: in host isolation each replica has ports of its own."""
    return int(os.environ.get(f"PORT_{name}", default))


class Datagrams(asyncio.DatagramProtocol):
    """Answers a datagram with its own name and the datagram; `stream N` with N numbered ones."""

    transport: Any

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, source: Any) -> None:
        if data.startswith(b"stream "):
            for number in range(int(data.split()[1])):
                self.transport.sendto(f"{NAME} {number}".encode(), source)
            return
        self.transport.sendto(f"{NAME} ".encode() + data, source)


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Begins, as SMTP servers do, and then repeats every line."""
    writer.write(f"220 {NAME} ready\r\n".encode())
    while line := await reader.readline():
        writer.write(b"250 " + line)
        if line.startswith(b"QUIT"):
            break
    writer.close()


async def main() -> None:
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Datagrams, local_addr=(ADDRESS, port("UDP", 5353)))
    server = await asyncio.start_server(greet, ADDRESS, port("GREET", 2525))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

"""From this process into the node's network, which may be another one than this process' own (see
`linux/userns`)."""

import asyncio
import contextlib
import ipaddress
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from weft.lib.aio import Tasks
from weft.node.linux import inside

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
SocketFactory = Callable[[Any], socket.socket]
"""As aiohttp's TCPConnector takes it: from what getaddrinfo found."""
RELAY_BYTES = 1 << 16
SOCKET_PREFIX = "dial-"


class Dialer(Struct, frozen=True):
    """Makes sockets in the network of the node."""

    namespace: str = ""
    """Its path; empty: it is this process' own."""
    subnet: str = "0.0.0.0/0"
    """What is there and nowhere else; everything else is dialled in this process' network."""

    def is_there(self, host: str) -> bool:
        """Whether an address is to be dialled in the node's network."""
        if not self.namespace:
            return False
        try:
            return ipaddress.ip_address(host) in ipaddress.ip_network(self.subnet)
        except ValueError:
            return False

    async def open_connection(self, host: str, port: int) -> Stream:
        """OSError."""
        if not self.is_there(host):
            return await asyncio.open_connection(host, port)
        sock = await asyncio.to_thread(inside.tcp_socket, self.namespace)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
        except BaseException:
            sock.close()
            raise
        return await asyncio.open_connection(sock=sock)

    @property
    def socket_factory(self) -> SocketFactory | None:
        """For aiohttp's TCPConnector; None where all is one network."""
        return self._make if self.namespace else None

    def _make(self, found: Any) -> socket.socket:
        family, kind, protocol, _, address = found
        if self.is_there(address[0]):
            return inside.tcp_socket(self.namespace)
        return socket.socket(family, kind, protocol)

    async def bound_socket(self, kind: int, address: str, port: int) -> socket.socket:
        """A socket that does not block, bound there. OSError."""
        made = await asyncio.to_thread(inside.bound_socket, kind, address, port, self.namespace)
        made.setblocking(False)
        return made

    def socket_path(self) -> str:
        """For a Unix socket that nobody has yet, where only this user looks: beside the pin of
        the network."""
        return f"{os.path.dirname(self.namespace)}/{SOCKET_PREFIX}{secrets.token_hex(4)}"

    @contextlib.asynccontextmanager
    async def target(self, host: str, port: int) -> AsyncIterator[str]:
        """For gRPC, which dials in this process' network only: the address itself, or a Unix
        socket that leads there for as long as this is entered."""
        if not self.is_there(host):
            yield f"{host}:{port}"
            return
        path = self.socket_path()
        tasks = Tasks()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                far = await self.open_connection(host, port)
            except OSError:
                writer.close()
                return
            tasks.spawn(relay((reader, writer), far), "relay")

        server = await asyncio.start_unix_server(serve, path)
        try:
            yield f"unix:{path}"
        finally:
            server.close()
            await tasks.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


HERE = Dialer()
"""Where all is one network."""


def remove_sockets(run_dir: str) -> None:
    """Those that a killed process left."""
    for path in Path(run_dir).glob(f"{SOCKET_PREFIX}*"):
        path.unlink(missing_ok=True)


async def relay(one: Stream, other: Stream) -> None:
    """Carry bytes both ways until both have ended."""
    try:
        await asyncio.gather(_carry(one[0], other[1]), _carry(other[0], one[1]))
    finally:
        one[1].close()
        other[1].close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(RELAY_BYTES):
            writer.write(data)
            await writer.drain()
        writer.write_eof()

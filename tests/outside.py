"""A machine outside the node: a network namespace behind a veth pair, with servers in it.

It has no route but to its own /24, so it can answer only to the node's address on that network.
"""

import contextlib
import ctypes
import http.server
import json
import os
import socket
import socketserver
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from weft.lib.aio import now
from weft.node.linux import netlink, ns
from weft.pki.ca import Authority

GREETING = b"220 outside\n"


class Servers:
    """Servers on an address of a network namespace (empty: this process' own)."""

    def __init__(self, netns: str, address: str) -> None:
        self.netns = netns
        self.address = address
        self._servers: list[socketserver.BaseServer] = []

    def http(self, port: int = 0, tls: ssl.SSLContext | None = None) -> int:
        """Serve HTTP: every answer says whom the server saw. The port."""

        def make() -> socketserver.TCPServer:
            server = http.server.ThreadingHTTPServer((self.address, port), _Tell)
            if tls is not None:
                server.socket = tls.wrap_socket(server.socket, server_side=True)
            return server

        return self._serve(make)

    def greeter(self) -> int:
        """Serve a protocol in which the server speaks first. The port."""
        return self._serve(lambda: socketserver.ThreadingTCPServer((self.address, 0), _Greet))

    def proxy(self, target: int) -> tuple[int, list[str]]:
        """Serve CONNECT: whatever host is asked for, the connection goes to this port. The port,
        and the hosts that were asked for."""
        asked: list[str] = []

        class Connect(_Connect):
            def do_CONNECT(self) -> None:
                asked.append(self.path)
                self.pass_on(target)

        make = http.server.ThreadingHTTPServer
        return self._serve(lambda: make((self.address, 0), Connect)), asked

    def https(self, name: str) -> int:
        """Serve HTTPS with a certificate for `name` that nobody trusts. The port."""
        with tempfile.TemporaryDirectory() as directory:
            authority = Authority.load_or_create(Path(directory), "outside.test", now())
            credential = authority.server((name,), now())
            certificate, key = Path(directory) / "crt", Path(directory) / "key"
            certificate.write_text(credential.certificate)
            key.write_text(credential.key)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
        return self.http(tls=context)

    def _serve(self, make: Callable[[], socketserver.TCPServer]) -> int:
        server: socketserver.TCPServer = inside(self.netns, make)
        server.daemon_threads = True  # type: ignore[attr-defined]
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return int(server.server_address[1])

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


class Outside(Servers):
    """`node` and `address` are the two ends of the wire; `netns` is the far end's namespace."""

    def __init__(self, netns: str, number: int) -> None:
        super().__init__(netns, f"198.18.{number}.2")
        self.node = f"198.18.{number}.1"


class _Tell(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        seen = {
            "source": self.client_address[0],
            "host": self.headers["Host"],
            "path": self.path,
        }
        body = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Silence."""


class _Connect(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def pass_on(self, port: int) -> None:
        """What the server at the port says first, and no more."""
        with socket.create_connection(("127.0.0.1", port), 5) as server:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(server.recv(1024))
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Silence."""


class _Greet(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(GREETING)
        self.request.settimeout(2)
        with contextlib.suppress(OSError):
            self.request.recv(1)


@contextlib.contextmanager
def another_user(uid: int = 65534) -> Iterator[None]:
    """Sockets that root makes in this thread meanwhile belong to this user."""
    libc = ctypes.CDLL(None)
    before = libc.setfsuid(uid)
    try:
        yield
    finally:
        libc.setfsuid(before)


def inside(path: str, work: Callable[[], Any]) -> Any:
    """The result of `work`, done by a thread in a network namespace."""
    results: list[Any] = []

    if not path:
        return work()

    def run() -> None:
        fd = os.open(path, os.O_RDONLY)
        ns.setns(fd, ns.CLONE_NEWNET)
        os.close(fd)
        results.append(work())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return results[0]


@contextlib.contextmanager
def outside() -> Iterator[Outside]:
    """Needs root."""
    directory = Path(tempfile.mkdtemp(prefix="weft-out"))
    with contextlib.closing(netlink.Netlink()) as node:
        taken = {address for address, _ in node.destinations()}
        number = next(n for n in range(1, 250) if f"198.18.{n}.1" not in taken)
        name = f"wo{os.getpid()}"
        made = Outside(str(directory / "ns"), number)
        space = netlink.new_namespace(made.netns, {})
        try:
            node.talk(node.new_veth(name, 0, "eth0", space.fd))
            node.talk(node.add_address(node.link_index(name), made.node, 24))
            route = space.route
            index = netlink.POD_INTERFACE_INDEX
            route.talk(
                route.link_up(netlink.LOOPBACK_INDEX),
                route.link_up(index),
                route.add_address(index, made.address, 24),
            )
            yield made
        finally:
            made.close()
            space.close()
            netlink.delete_namespace(made.netns)
            with contextlib.suppress(OSError):
                node.talk(node.delete_link(name))
            directory.rmdir()

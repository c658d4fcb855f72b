"""Sockets that live in another network namespace."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from weft.node.linux import netlink, ns

T = TypeVar("T")


def netfilter(namespace: str) -> netlink.Netlink:
    """A socket that changes the filter rules of the namespace at this path. OSError."""
    return _inside(namespace, lambda: netlink.Netlink(netlink.NETFILTER))


def tcp_socket(namespace: str) -> socket.socket:
    """A TCP socket of the namespace at this path; the caller's own namespace is left alone.
    OSError."""
    kind = socket.SOCK_STREAM | socket.SOCK_CLOEXEC
    return _inside(namespace, lambda: socket.socket(socket.AF_INET, kind))


def bound_socket(
    kind: int, address: str, port: int, namespace: str, *, shared: bool = False
) -> socket.socket:
    """A socket bound to an address of the namespace at this path; empty: of the caller's own.
    `shared`: further processes of this user may bind it, too. OSError."""

    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC)
        try:
            if kind == socket.SOCK_STREAM:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            made.bind((address, port))
        except OSError:
            made.close()
            raise
        return made

    return _inside(namespace, make) if namespace else make()


def enter(namespace: str) -> None:
    """Have this thread be in the namespace at this path from now on. OSError."""
    with Path(namespace).open("rb") as file:
        ns.setns(file.fileno(), ns.CLONE_NEWNET)


def _inside(namespace: str, work: Callable[[], T]) -> T:
    made: list[T | OSError] = []

    def make() -> None:  # in a thread that ends: a namespace is an attribute of the thread
        try:
            enter(namespace)
            made.append(work())
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make, name="socket-inside")
    thread.start()
    thread.join()
    found = made[0]
    if isinstance(found, OSError):
        raise found
    return found

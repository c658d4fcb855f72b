"""Sockets that live in another network namespace."""

import socket
import threading
from pathlib import Path

from weft.node.linux import ns


def tcp_socket(namespace: str) -> socket.socket:
    """A TCP socket of the namespace at this path; the caller's own namespace is left alone.
    OSError."""
    made: list[socket.socket | OSError] = []

    def make() -> None:  # in a thread that ends: a namespace is an attribute of the thread
        try:
            with Path(namespace).open("rb") as file:
                ns.setns(file.fileno(), ns.CLONE_NEWNET)
            made.append(socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC))
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make, name="socket-inside")
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]

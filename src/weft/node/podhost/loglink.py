"""The pod host's side of the log writer: pipes, hand-over, restart of a dead writer."""

import contextlib
import os
import socket
import sys

from weft.node.podhost import wire
from weft.node.podhost.records import Container

STREAMS = ("stdout", "stderr")
_RESPAWN_SECONDS = 0.5
_CONNECT_SECONDS = 0.02
_SEND_TIMEOUT_SECONDS = 1.0
"""A log writer that does not read must not stop the pod host."""


def open_pipes(container: Container) -> tuple[int, int]:
    """Descriptors for the child's stdout and stderr; /dev/null when nobody wants logs.

    Pipes with names, opened for reading and writing: a program never gets SIGPIPE when the log
    writer dies, and a new writer opens the same pipe.
    """
    if not container.spec["log_path"]:
        null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        return null, os.dup(null)
    fds = []
    for stream in STREAMS:
        path = container.fifo(stream)
        if not os.path.exists(path):
            os.mkfifo(path, 0o600)
            if container.spec["uid"] is not None:
                os.chown(path, container.spec["uid"], -1)  # may open /dev/stdout again
        if len(container.log_fds) < len(STREAMS):
            container.log_fds.append(hold(path))
        fds.append(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    container.log_done = False
    return fds[0], fds[1]


def hold(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def release(container: Container) -> None:
    """All was read: close and remove the pipes."""
    for fd in container.log_fds:
        os.close(fd)
    container.log_fds.clear()
    container.log_done = True
    for stream in STREAMS:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(container.fifo(stream))


class LogLink:
    """Connection to the log writer. `fileno` is -1 while there is none; `tick` mends it."""

    def __init__(self, run_dir: str) -> None:
        self._run_dir = run_dir
        self._socket: socket.socket | None = None
        self._frames = wire.Frames()
        self._spawn_at = 0.0
        self._connect_at = 0.0

    def fileno(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def tick(self, now: float, wanted: bool) -> bool:
        """Connect, start a writer when none answers; True when it has just been connected."""
        if self._socket is not None or not wanted or now < self._connect_at:
            return False
        self._connect_at = now + _CONNECT_SECONDS
        if self._connect():
            return True
        if now >= self._spawn_at:
            self._spawn_at = now + _RESPAWN_SECONDS
            _spawn(self._run_dir)
        return False

    def _connect(self) -> bool:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        link.settimeout(_SEND_TIMEOUT_SECONDS)
        try:
            link.connect(wire.LOG_SOCKET_NAME)  # the working directory is the run directory
        except OSError:
            link.close()
            return False
        self._socket = link
        self._frames = wire.Frames()
        return True

    def deadline(self, wanted: bool) -> float:
        """When `tick` has something to do, seconds of the same clock; infinity for never."""
        return self._connect_at if self._socket is None and wanted else float("inf")

    def open(self, container: Container) -> None:
        path = container.spec["log_path"]
        if container.has_terminal:
            if path and container.terminal_fd >= 0:
                fds = (container.terminal_fd,)
                self._send(fds, op="open", id=container.id, path=path, streams={"stdout": ""})
            return
        streams = {stream: container.fifo(stream) for stream in STREAMS}
        self._send(op="open", id=container.id, path=path, streams=streams)

    def attach(self, container: Container, outputs: dict[str, int]) -> None:
        """LookupError while there is no log writer."""
        if self._socket is None:
            raise LookupError("the log writer does not answer")
        self._send(tuple(outputs.values()), op="attach", id=container.id, streams=list(outputs))

    def end(self, container: Container) -> None:
        self._send(op="end", id=container.id)

    def quit(self) -> None:
        """End the log writer, also one that an earlier pod host started."""
        if self._socket is not None or self._connect():
            self._send(op="quit")

    def _send(self, fds: tuple[int, ...] = (), **message: object) -> None:
        if self._socket is None:
            return
        try:
            frame = wire.encode({**message, "fds": len(fds)})
            if fds:
                sent = socket.send_fds(self._socket, [frame], fds)
                frame = frame[sent:]
            self._socket.sendall(frame)
        except OSError:
            self.close()

    def receive(self) -> list[str]:
        """Ids of containers whose logs are written to the end."""
        if self._socket is None:
            return []
        try:
            data = self._socket.recv(1 << 16)
            if data:
                return [str(message["done"]) for message in self._frames.feed(data)]
        except (OSError, ValueError):
            pass
        self.close()
        return []

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _spawn(run_dir: str) -> None:
    program = os.path.abspath(f"{__file__}/../../logwriter")
    os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", program, run_dir],
        os.environ,
        setsid=True,
    )

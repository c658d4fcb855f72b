"""The log writer's loop: pipes in, rotated files out."""

import contextlib
import os
import select
import socket
import time

from weft.node.logwriter.lines import Lines
from weft.node.logwriter.sinks import Sink
from weft.node.podhost import wire

FILE_BYTES_MAX = 10 << 20
"""A log file is rotated at this size."""
FILES_MAX = 5
"""Files kept for each container: the current one and NAME.1 (newest) to NAME.4 (oldest)."""
IDLE_EXIT_SECONDS = 30.0
"""Without a pod host and without anything to write, the process ends after this."""
_READ_BYTES = 1 << 16
_READS_PER_TURN = 4
_LAST_READS_MAX = 64
"""Reads after the end: more than a pipe holds, but an end even if something still writes."""
_BACKLOG = 4
_SINK_CHECK_SECONDS = 1.0
"""While a listener holds a container up: between two looks whether it is stuck."""


def rotate(path: str) -> None:
    """Move NAME to NAME.1, NAME.1 to NAME.2 and so on; the oldest goes."""
    for number in range(FILES_MAX - 2, -1, -1):
        source = f"{path}.{number}" if number else path
        try:
            os.replace(source, f"{path}.{number + 1}")
        except FileNotFoundError:
            continue


class _Log:
    """One container's log: two pipes, one file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.pipes: dict[int, Lines] = {}
        self.sinks: dict[int, tuple[Sink, str]] = {}
        """By descriptor, with the stream it listens to."""
        self._fd = -1
        self._size = 0

    def write(self, data: bytes) -> None:
        """Append; what cannot be written (full disk) is dropped, the container never waits."""
        try:
            if self._fd < 0:
                self._open()
            while data:
                written = os.write(self._fd, data)
                self._size += written
                data = data[written:]
            if self._size >= FILE_BYTES_MAX:
                self.close()
                rotate(self.path)
        except OSError:
            self.close()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
        self._fd = os.open(self.path, flags, 0o640)
        self._size = os.fstat(self._fd).st_size

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Writer:
    """All logs and the connection to the pod host."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._host: socket.socket | None = None
        self._frames = wire.Frames()
        self._poll = select.epoll()
        self._logs: dict[str, _Log] = {}
        self._by_fd: dict[int, _Log] = {}
        self._sinks: dict[int, tuple[Sink, _Log]] = {}
        self._fds: list[int] = []
        """Received, and not yet taken by the message they came with."""
        self._quitting = False

    def run(self) -> None:
        """Until the pod host says so, or nobody needs it."""
        self._poll.register(self._listener.fileno(), select.EPOLLIN)
        while not self._quitting:
            idle = self._host is None and not self._by_fd and not self._sinks
            full = any(sink.pending for sink, _ in self._sinks.values())
            wait = IDLE_EXIT_SECONDS if idle else -1
            ready = self._poll.poll(_SINK_CHECK_SECONDS if full else wait)
            if not ready and idle:
                return
            if full:
                self._cut_off_stuck()
            for fd, _ in ready:
                if fd == self._listener.fileno():
                    self._accept()
                elif self._host is not None and fd == self._host.fileno():
                    self._receive(self._host)
                elif fd in self._by_fd:
                    self._pump(fd)
                elif fd in self._sinks:
                    self._sink_ready(fd)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        self._hang_up()
        self._host, self._frames = connection, wire.Frames()
        self._poll.register(connection.fileno(), select.EPOLLIN)

    def _hang_up(self) -> None:
        if self._host is not None:
            self._poll.unregister(self._host.fileno())
            self._host.close()
            self._host = None

    def _receive(self, host: socket.socket) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(
                host, _READ_BYTES, wire.MESSAGE_FDS_MAX, socket.MSG_CMSG_CLOEXEC
            )
            self._fds += fds
            messages = self._frames.feed(data)
        except (OSError, ValueError):
            data, messages = b"", []
        if not data:
            self._hang_up()
        for message in messages:
            fds = [self._fds.pop(0) for _ in range(message.get("fds", 0)) if self._fds]
            if message["op"] == "open":
                self._open(message, fds)
            elif message["op"] == "attach":
                self._attach(message, fds)
            elif message["op"] == "end":
                self._end(message["id"])
            elif message["op"] == "quit":
                self._quitting = True

    def _open(self, message: wire.Message, fds: list[int]) -> None:
        """Start reading; known pipes are opened again, they may have been at their end. A
        terminal comes as a descriptor."""
        log = self._logs.setdefault(message["id"], _Log(message["path"]))
        before = log.pipes
        kept = list(before.values())
        log.pipes = {}
        for number, (stream, fifo) in enumerate(message["streams"].items()):
            try:
                flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
                fd = fds[number] if fds else os.open(fifo, flags)
            except OSError:
                continue
            log.pipes[fd] = kept[number] if number < len(kept) else Lines(stream)
            self._by_fd[fd] = log
            self._poll.register(fd, select.EPOLLIN)
        for fd in before:
            self._close_pipe(fd)
        self._hold_up(log)

    def _attach(self, message: wire.Message, fds: list[int]) -> None:
        log = self._logs.get(message["id"])
        for stream, fd in zip(message["streams"], fds, strict=True):
            if log is None:
                os.close(fd)
                continue
            sink = Sink(fd)
            log.sinks[fd] = sink, stream
            self._sinks[fd] = sink, log
            self._poll.register(fd, sink.events)

    def _sink_ready(self, fd: int) -> None:
        sink, log = self._sinks[fd]
        if not sink.pending or not sink.flush() or (sink.ended and not sink.pending):
            self._close_sink(fd)
        else:
            self._poll.modify(fd, sink.events)
        self._hold_up(log)

    def _close_sink(self, fd: int) -> None:
        _, log = self._sinks.pop(fd)
        log.sinks.pop(fd, None)
        self._poll.unregister(fd)
        os.close(fd)

    def _cut_off_stuck(self) -> None:
        for fd, (sink, log) in list(self._sinks.items()):
            if sink.stuck:
                self._close_sink(fd)
                self._hold_up(log)

    def _tell(self, log: _Log, stream: str, chunk: bytes) -> None:
        for fd, (sink, wanted) in list(log.sinks.items()):
            if wanted != stream:
                continue
            if sink.offer(chunk):
                self._poll.modify(fd, sink.events)
            else:
                self._close_sink(fd)
        self._hold_up(log)

    def _hold_up(self, log: _Log) -> None:
        """A container waits for those who listen to it, as for any reader of a pipe."""
        full = any(sink.pending for sink, _ in log.sinks.values())
        for fd in log.pipes:
            if fd in self._by_fd:
                self._poll.modify(fd, 0 if full else select.EPOLLIN)

    def _close_pipe(self, fd: int) -> None:
        if self._by_fd.pop(fd, None) is not None:
            self._poll.unregister(fd)
        os.close(fd)

    def _pump(self, fd: int, reads: int = _READS_PER_TURN) -> None:
        """A few reads, so that one noisy container does not keep the others waiting."""
        log = self._by_fd[fd]
        for _ in range(reads):
            try:
                chunk = os.read(fd, _READ_BYTES)
            except BlockingIOError:
                return
            except OSError:  # nobody has the other side of the terminal open
                chunk = b""
            if not chunk:  # no writer is left, not even the pod host
                self._by_fd.pop(fd)
                self._poll.unregister(fd)
                return
            lines = log.pipes[fd]
            log.write(lines.feed(chunk, _stamp()))
            if log.sinks:
                self._tell(log, lines.stream, chunk)

    def _end(self, container_id: str) -> None:
        """The container has ended: write the rest, then say so."""
        log = self._logs.pop(container_id, None)
        if log is not None:
            for fd, lines in log.pipes.items():
                if fd in self._by_fd:
                    self._pump(fd, _LAST_READS_MAX)
                log.write(lines.end(_stamp()))
            for fd in log.pipes:
                self._close_pipe(fd)
            log.pipes = {}
            log.close()
            for fd, (sink, _) in list(log.sinks.items()):
                sink.ended = True
                if not sink.pending:
                    self._close_sink(fd)
        if self._host is not None:
            try:
                self._host.sendall(wire.encode({"done": container_id}))
            except OSError:
                self._hang_up()


def _stamp() -> bytes:
    now = time.time_ns()
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1_000_000_000))
    return f"{seconds}.{now % 1_000_000_000:09d}Z".encode()


def main(arguments: list[str]) -> int:
    """Serve the run directory. A second log writer there ends at once."""
    os.chdir(arguments[0])
    os.umask(0o027)
    if _answers():
        return 0
    with contextlib.suppress(FileNotFoundError):
        os.unlink(wire.LOG_SOCKET_NAME)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.bind(wire.LOG_SOCKET_NAME)
    os.chmod(wire.LOG_SOCKET_NAME, 0o600)
    listener.listen(_BACKLOG)
    Writer(listener).run()
    with contextlib.suppress(FileNotFoundError):  # the run directory may be gone
        os.unlink(wire.LOG_SOCKET_NAME)
    return 0


def _answers() -> bool:
    """Whether a log writer serves here already."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        return probe.connect_ex(wire.LOG_SOCKET_NAME) == 0

"""Commands run inside containers: probes, with a deadline and a bounded output, and those that
somebody talks to, who brings their files."""

import os
import select
import signal
from collections.abc import Callable
from types import ModuleType
from typing import Any

from weft.node.podhost import oci, procs, spawn
from weft.node.podhost.records import Container
from weft.node.podhost.wire import EXEC_OUTPUT_BYTES_MAX, Message

_READ_BYTES = 1 << 16

To = tuple[int, Any]


class _Exec:
    def __init__(self, pid: int, fd: int, to: To, deadline: float) -> None:
        self.pid = pid
        self.fd = fd
        self.to = to
        self.deadline = deadline
        self.output = b""
        self.status: int | None = None
        self.closed = False
        """Nobody can write any more."""


class Execs:
    """Running commands; each is answered once, when it has ended."""

    def __init__(self, poll: select.epoll, answer: Callable[[To, Message], None], how: str) -> None:
        """`how` is `spawn.privilege()`."""
        self._poll = poll
        self._how = how
        self._answer = answer
        self._by_fd: dict[int, _Exec] = {}
        self._streams: dict[int, To] = {}
        """Commands with files of their own, by pid."""

    def start(
        self, container: Container, argv: list[str], timeout: float, to: To, now: float
    ) -> None:
        """Fork it; `timeout` in seconds."""
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        pid = _place(container).start_inside(container, argv, (-1, write_end, write_end), self._how)
        os.close(write_end)
        self._by_fd[read_end] = _Exec(pid, read_end, to, now + timeout)
        self._poll.register(read_end, select.EPOLLIN)

    def start_stream(
        self, container: Container, argv: list[str], files: list[int], terminal: bool, to: To
    ) -> None:
        """Fork it with these files: a terminal, or standard input, output and error. It lives no
        longer than the client's connection."""
        stdio = (files[0],) * 3 if terminal else (files[0], files[1], files[2])
        pid = _place(container).start_inside(container, argv, stdio, self._how, terminal=terminal)
        self._streams[pid] = to

    def abandoned(self, client: int) -> None:
        """This client is gone: nobody waits for its commands any more."""
        for pid, to in self._streams.items():
            if to[0] == client:
                _kill_group(pid)

    def ended(self, pid: int, status: int) -> bool:
        """A child ended; False when it is not a command of ours."""
        if (to := self._streams.pop(pid, None)) is not None:
            self._answer(to, {"exit_code": _exit_code(status)})
            return True
        for running in self._by_fd.values():
            if running.pid == pid:
                running.status = status
                running.deadline = 0.0
                self._read(running)
                return True
        return False

    def ready(self, fd: int) -> None:
        if fd in self._by_fd:
            self._read(self._by_fd[fd])

    def _read(self, running: _Exec) -> None:
        while True:
            try:
                data = os.read(running.fd, _READ_BYTES)
            except BlockingIOError:
                break
            if not data:
                if not running.closed:
                    running.closed = True
                    self._poll.unregister(running.fd)
                break
            running.output = (running.output + data)[:EXEC_OUTPUT_BYTES_MAX]

    def tick(self, now: float) -> None:
        """Answer what ended, kill what is late."""
        for running in list(self._by_fd.values()):
            if running.status is not None:
                self._finish(running, {"exit_code": _exit_code(running.status)})
            elif now >= running.deadline:
                _kill_group(running.pid)
                self._finish(running, {"timed_out": True})

    def _finish(self, running: _Exec, outcome: Message) -> None:
        self._read(running)
        if not running.closed:
            self._poll.unregister(running.fd)
        os.close(running.fd)
        del self._by_fd[running.fd]
        output = running.output.decode("utf-8", "surrogateescape")
        self._answer(running.to, {**outcome, "output": output})

    def deadline(self) -> float:
        return min((running.deadline for running in self._by_fd.values()), default=float("inf"))


def _place(container: Container) -> ModuleType:
    """Who knows how to get inside."""
    return oci if container.spec.get("rootfs") else spawn


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        procs.send(pid, signal.SIGKILL)


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code

"""The pod host's loop: one thread, one epoll, requests from several clients."""

import contextlib
import fcntl
import os
import select
import shutil
import signal
import socket
import sys
import time
import traceback
from typing import Any

from weft.node.linux import ns
from weft.node.podhost import console, spaces, wire
from weft.node.podhost.containers import Containers
from weft.node.podhost.execs import Execs

_BACKLOG = 16
_READ_BYTES = 1 << 16
_CLIENT_BUFFER_BYTES_MAX = 8 << 20
"""A client that does not read this much is dropped; it lists everything when it comes back."""
_QUIT_CHECK_SECONDS = 0.01
_AFTER_FAULT_SECONDS = 0.1
_OOM_SCORE = "-900"
LOCK_NAME = "podhost.lock"


class _Client:
    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.frames = wire.Frames()
        self.unsent = b""
        self.fds: list[int] = []
        """Received, and not yet taken by the message they came with."""
        self.hears = False
        """It said hello: ends of containers are told to it. A connection that was opened for one
        command is not read for anything else."""


class Server:
    """Everything of one pod host; `run` returns after a shutdown request."""

    def __init__(self, run_dir: str, listener: socket.socket) -> None:
        self._listener = listener
        self._clients: dict[int, _Client] = {}
        self._poll = select.epoll()
        self._wake, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._containers = Containers(run_dir, self._poll, self._broadcast, self._answer)
        self._execs = Execs(self._poll, self._answer, self._containers.how)
        self._quitting = False

    def run(self) -> None:
        self._poll.register(self._listener.fileno(), select.EPOLLIN)
        self._poll.register(self._wake, select.EPOLLIN)
        self._containers.adopt(time.time())
        while not (self._quitting and self._containers.quiet()):
            try:
                self._turn(time.time())
            except Exception:  # a fault in one container's affairs must not end the others
                traceback.print_exc()
                sys.stderr.flush()
                time.sleep(_AFTER_FAULT_SECONDS)
        self._containers.close()

    def _turn(self, now: float) -> None:
        self._containers.tick(now)
        self._execs.tick(now)
        deadline = min(self._containers.deadline(), self._execs.deadline())
        if self._quitting:
            deadline = min(deadline, now + _QUIT_CHECK_SECONDS)
        wait = -1.0 if deadline == float("inf") else max(0.0, deadline - time.time())
        for fd, _ in self._poll.poll(wait):
            self._ready(fd)

    def _ready(self, fd: int) -> None:
        if fd == self._wake:
            self._reap()
        elif fd == self._listener.fileno():
            self._accept()
        elif fd in self._clients:
            self._serve(self._clients[fd])
        elif not self._containers.ready(fd, time.time()):
            self._execs.ready(fd)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if not self._execs.ended(pid, status):
                self._containers.ended(pid, status, time.time())

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        self._clients[connection.fileno()] = _Client(connection)
        self._poll.register(connection.fileno(), select.EPOLLIN)

    def _serve(self, client: _Client) -> None:
        fd = client.socket.fileno()
        try:
            self._flush(client)
            data, fds, _, _ = socket.recv_fds(
                client.socket, _READ_BYTES, wire.MESSAGE_FDS_MAX, socket.MSG_CMSG_CLOEXEC
            )
            client.fds += fds
            messages = client.frames.feed(data)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            data, messages = b"", []
        for message in messages:
            taken = [client.fds.pop(0) for _ in range(message.get("fds", 0)) if client.fds]
            try:
                self._handle(fd, message, taken)
            finally:
                for one in taken:
                    os.close(one)
        if not data:
            self._drop(fd)

    def _drop(self, fd: int) -> None:
        client = self._clients.pop(fd, None)
        if client is not None:
            self._poll.unregister(fd)
            client.socket.close()
            for one in client.fds:
                os.close(one)
            self._execs.abandoned(fd)

    def _handle(self, fd: int, message: wire.Message, fds: list[int]) -> None:
        """One request. A faulty one is answered with its error; nothing here may end the loop."""
        number = message.get("n")
        try:
            answer = self._request(fd, number, message, fds)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        if answer is not None:
            self._answer((fd, number), answer)

    def _request(
        self, fd: int, number: Any, message: wire.Message, fds: list[int]
    ) -> wire.Message | None:
        """The answer, or None when it comes later. `fds` are closed after the request."""
        operation, now = message["op"], time.time()
        if operation == "hello":
            self._clients[fd].hears = True
        if "id" not in message:
            return self._about_all(operation, message, now)
        container_id = message["id"]
        if operation == "signal":
            self._containers.signal(container_id, message["signal"], now)
        elif operation == "limit":
            self._containers.limit(container_id, message["limits"])
        elif operation == "retire":
            self._containers.retire(container_id)
        elif operation == "kill":
            self._containers.kill(container_id, now)
        elif operation == "remove":
            self._containers.remove(container_id, (fd, number), now)
            return None
        elif operation == "usage":
            cpu, memory = self._containers.usage(container_id)
            return {"cpu": cpu, "memory": memory}
        elif operation in ("exec", "exec_stream", "attach", "end_stdin"):
            return self._inside(operation, (fd, number), message, fds)
        else:
            return {"error": f"unknown operation {operation}"}
        return {}

    def _about_all(self, operation: str, message: wire.Message, now: float) -> wire.Message:
        """Requests that are about no container, or a new one."""
        if operation == "hello":
            return {"version": wire.PROTOCOL_VERSION, "pid": os.getpid(), **self._containers.facts}
        if operation == "start":
            return {"state": self._containers.start(message["spec"], now)}
        if operation == "list":
            return {"states": self._containers.views()}
        if operation == "pods_usage":
            return self._containers.pods_usage()
        if operation == "limit_pods":
            self._containers.limit_pods(message["memory_bytes"], message["pids"])
        elif operation == "shutdown":
            self._quitting = True
            self._containers.kill_all(now)
        elif operation == "release":
            spaces.release(str(message["directory"]))
        else:
            return {"error": f"unknown operation {operation}"}
        return {}

    def _inside(
        self, operation: str, to: tuple[int, Any], message: wire.Message, fds: list[int]
    ) -> wire.Message | None:
        """Requests about what happens inside a running container."""
        container = self._containers.running(message["id"])
        if operation == "exec":
            self._execs.start(container, message["argv"], message["timeout"], to, time.time())
            return None
        if operation == "exec_stream":
            self._execs.start_stream(container, message["argv"], fds, bool(message["tty"]), to)
            return None
        if operation == "end_stdin":
            console.end_stdin(container)
            return {}
        inner = console.input_of(container)
        self._containers.attach(container, dict(zip(message["outputs"], fds, strict=True)))
        self._answer(to, {"tty": container.has_terminal}, inner)
        return None

    def _answer(self, to: tuple[int, Any], answer: wire.Message, fd: int = -1) -> None:
        """With a descriptor, which is closed here, only to a client that waits for just that."""
        client = self._clients.get(to[0])
        frame = {"re": to[1], **answer}
        if fd < 0:
            if client is not None:
                self._send(client, frame)
            return
        try:
            if client is not None:
                socket.send_fds(client.socket, [wire.encode(frame)], [fd])
        except OSError:
            self._drop(to[0])
        finally:
            os.close(fd)

    def _broadcast(self, message: wire.Message) -> None:
        for client in list(self._clients.values()):
            if client.hears:
                self._send(client, message)

    def _send(self, client: _Client, message: wire.Message) -> None:
        client.unsent += wire.encode(message)
        try:
            self._flush(client)
        except OSError:
            self._drop(client.socket.fileno())
            return
        if len(client.unsent) > _CLIENT_BUFFER_BYTES_MAX:
            self._drop(client.socket.fileno())

    def _flush(self, client: _Client) -> None:
        while client.unsent:
            try:
                sent = client.socket.send(client.unsent, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                break
            client.unsent = client.unsent[sent:]
        events = select.EPOLLIN | (select.EPOLLOUT if client.unsent else 0)
        self._poll.modify(client.socket.fileno(), events)


def main(arguments: list[str]) -> int:
    """Become a daemon for the run directory; the caller's process ends when the socket answers.

    Ends with 0 also when a pod host runs there already.
    """
    run_dir = os.path.abspath(arguments[0])
    os.makedirs(run_dir, 0o700, exist_ok=True)
    os.chdir(run_dir)
    # Some starters leave their ends of our pipes open in us: they would wait for ever.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    ready_read, ready_write = os.pipe()
    if os.fork():
        os.close(ready_write)
        answer = os.read(ready_read, 256)
        if answer != b"ready":
            sys.stderr.write(answer.decode() or "the pod host ended while starting\n")
        return 0 if answer == b"ready" else 1
    os.setsid()
    if os.fork():
        os._exit(0)
    os.close(ready_read)
    os._exit(_daemon(run_dir, ready_write))


def _daemon(run_dir: str, ready: int) -> int:
    lock = os.open(LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # one runs already
        os.write(ready, b"ready")
        return 0
    ns.prctl(ns.PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(_OOM_SCORE)  # refused to ordinary users
    with contextlib.suppress(FileNotFoundError):
        os.unlink(wire.SOCKET_NAME)
    os.umask(0o077)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.bind(wire.SOCKET_NAME)  # relative: the length limit is for this name only
    listener.listen(_BACKLOG)
    server = Server(run_dir, listener)
    log = os.open("podhost.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.write(ready, b"ready")
    os.close(ready)
    os.dup2(log, 2)
    server.run()
    os.unlink(wire.SOCKET_NAME)
    shutil.rmtree("containers", ignore_errors=True)
    return 0

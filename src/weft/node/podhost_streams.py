"""Talking to processes of the pod host: each over a connection of its own, on which descriptors
travel; the bytes themselves never pass through the pod host."""

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import termios
from typing import Literal

from weft.api.errors import ApiError
from weft.lib.fdio import FdStream
from weft.node.podhost import wire
from weft.node.runtime import Command

ANSWER_SECONDS_MAX = 20.0
_READ_BYTES = 1 << 16
Stream = Literal["stdout", "stderr"]


class PodhostError(Exception):
    """The pod host refused a request, or cannot be started or reached."""


class HostProcess:
    """runtime.Process."""

    def __init__(
        self,
        connection: socket.socket,
        reader: asyncio.StreamReader | None,
        writer: asyncio.StreamWriter | None,
        files: dict[str, FdStream],
    ) -> None:
        """`files` has stdin, stdout, stderr, or tty in place of all; `reader` brings the exit
        code of a command."""
        self._connection = connection
        self._reader = reader
        self._writer = writer
        self._files = files
        self.end_once = False
        """Whether the container's own input ends with this attachment."""
        self.container_id = ""
        self._ended = asyncio.Event()

    async def read(self, stream: Stream) -> bytes:
        file = self._files.get(stream)
        if file is None and stream == "stdout":
            file = self._files.get("tty")
        data = await file.read() if file is not None else b""
        if not data:
            self._ended.set()
        return data

    async def write(self, data: bytes) -> None:
        file = self._files.get("stdin") or self._files.get("tty")
        if file is not None:
            await file.write(data)

    async def end_input(self) -> None:
        if self.end_once:
            self.end_once = False
            await _tell(self._connection, {"op": "end_stdin", "id": self.container_id, "n": 2})
        if (file := self._files.pop("stdin", None)) is not None:
            file.close()

    def resize(self, columns: int, rows: int) -> None:
        file = self._files.get("tty") or self._files.get("terminal")
        if file is not None and file.fd >= 0:
            size = struct.pack("HHHH", rows, columns, 0, 0)
            with contextlib.suppress(OSError):
                fcntl.ioctl(file.fd, termios.TIOCSWINSZ, size)

    async def wait(self) -> int:
        if self._reader is None:
            await self._ended.wait()
            return 0
        frames = wire.Frames()
        while data := await self._reader.read(_READ_BYTES):
            for message in frames.feed(data):
                if not _is_answer(message):
                    continue
                if "error" in message:
                    raise ApiError(500, "InternalError", message["error"])
                return int(message["exit_code"])
        raise ConnectionResetError("the pod host ended while a command ran")

    async def close(self) -> None:
        if self.end_once:
            await self.end_input()
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._ended.set()
        if self._writer is not None:
            self._writer.close()
        self._connection.close()


async def open_exec(connection: socket.socket, container_id: str, command: Command) -> HostProcess:
    """Takes the connection. PodhostError comes from `wait`."""
    ours: dict[str, int] = {}
    theirs: list[int] = []
    try:
        if command.tty:
            outer, inner = os.openpty()
            ours["tty"], theirs = outer, [inner]
        else:
            theirs = [_pipe(name, command, ours) for name in ("stdin", "stdout", "stderr")]
        request = {
            "op": "exec_stream", "id": container_id, "argv": list(command.argv), "n": 1,
            "tty": command.tty, "fds": len(theirs),
        }  # fmt: skip
        socket.send_fds(connection, [wire.encode(request)], theirs)
    except BaseException:
        for fd in ours.values():
            os.close(fd)
        connection.close()
        raise
    finally:
        for fd in theirs:
            os.close(fd)
    reader, writer = await asyncio.open_unix_connection(sock=connection)
    files = {name: FdStream(fd) for name, fd in ours.items()}
    return HostProcess(connection, reader, writer, files)


def _pipe(name: str, command: Command, ours: dict[str, int]) -> int:
    """The command's end of a pipe, or of /dev/null."""
    wanted = {"stdin": command.stdin, "stdout": command.stdout, "stderr": command.stderr}
    if not wanted[name]:
        return os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    read_end, write_end = os.pipe()
    ours[name] = write_end if name == "stdin" else read_end
    return read_end if name == "stdin" else write_end


async def open_attach(
    connection: socket.socket, container_id: str, command: Command
) -> HostProcess:
    """Takes the connection. PodhostError."""
    ours: dict[str, int] = {}
    theirs: dict[str, int] = {}
    try:
        for name, wanted in (("stdout", command.stdout), ("stderr", command.stderr)):
            if wanted:
                ours[name], theirs[name] = os.pipe()
        request = {
            "op": "attach", "id": container_id, "n": 1, "outputs": list(theirs),
            "fds": len(theirs),
        }  # fmt: skip
        socket.send_fds(connection, [wire.encode(request)], list(theirs.values()))
        answer, fds = await _answer(connection)
        if "error" in answer:
            raise PodhostError(answer["error"])
        if fds:
            ours["terminal" if answer["tty"] else "stdin"] = fds[0]
    except BaseException:
        for fd in ours.values():
            os.close(fd)
        connection.close()
        raise
    finally:
        for fd in theirs.values():
            os.close(fd)
    files = {name: FdStream(fd) for name, fd in ours.items()}
    return _attached(connection, container_id, command, files)


def _attached(
    connection: socket.socket, container_id: str, command: Command, files: dict[str, FdStream]
) -> HostProcess:
    process = HostProcess(connection, None, None, files)
    process.container_id = container_id
    process.end_once = command.stdin and command.stdin_once
    if "terminal" in files:
        if command.stdin:
            files["stdin"] = FdStream(os.dup(files["terminal"].fd))
    elif not command.stdin and "stdin" in files:
        files.pop("stdin").close()
    return process


async def _answer(connection: socket.socket) -> tuple[wire.Message, list[int]]:
    """One message and its descriptors."""
    connection.setblocking(True)
    connection.settimeout(ANSWER_SECONDS_MAX)
    frames = wire.Frames()
    taken: list[int] = []
    while True:
        try:
            data, fds, _, _ = await asyncio.to_thread(
                socket.recv_fds, connection, _READ_BYTES, 1, socket.MSG_CMSG_CLOEXEC
            )
        except OSError as error:
            raise PodhostError(f"the pod host does not answer: {error}") from error
        if not data:
            raise PodhostError("the pod host ended while it was asked")
        taken += fds
        for message in frames.feed(data):
            if _is_answer(message):
                return message, taken


def _is_answer(message: wire.Message) -> bool:
    """An older pod host tells everybody of containers that ended, too."""
    return "re" in message


async def _tell(connection: socket.socket, message: wire.Message) -> None:
    with contextlib.suppress(OSError, PodhostError):
        connection.sendall(wire.encode(message))
        await _answer(connection)

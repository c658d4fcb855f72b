"""Talking to processes in an engine's containers, over connections that the engine hands over."""

import asyncio
import contextlib
import os
import signal
from typing import Literal

from weft.api.errors import ApiError
from weft.lib.aio import Tasks
from weft.node.engine.api import EngineApi, EngineError
from weft.node.engine.lines import Frames
from weft.node.runtime import Command

_READ_BYTES = 1 << 16
_PIECES_MAX = 16
"""Of output that nobody has read yet, for each stream: then the program waits."""
_EXIT_LOOK_SECONDS = 0.05
_NOT_FOUND = ("executable file not found", "no such file or directory")
CANNOT_RUN, UNKNOWN_COMMAND = 126, 127
Stream = Literal["stdout", "stderr"]


class EngineProcess:
    """runtime.Process. `exec_id` is empty for a container's own process."""

    def __init__(
        self, api: EngineApi, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
        *, tty: bool, resize_path: str, exec_id: str = "", detached: bool = False,
    ) -> None:  # fmt: skip
        """`detached`: its input does not end with us."""
        self._api = api
        self._reader = reader
        self._writer = writer
        self._tty = tty
        self._resize_path = resize_path
        self._exec_id = exec_id
        self._detached = detached
        self._tasks = Tasks()
        self._pieces: dict[str, asyncio.Queue[bytes]] = {
            name: asyncio.Queue(_PIECES_MAX) for name in ("stdout", "stderr")
        }
        self._over = asyncio.Event()
        self._finished: set[str] = set()
        self._tasks.spawn(self._pump(), "engine-stream")

    async def _pump(self) -> None:
        frames = Frames()
        try:
            while data := await self._reader.read(_READ_BYTES):
                pieces = [("stdout", data)] if self._tty else frames.feed(data)
                for name, piece in pieces:
                    if piece:
                        await self._pieces[name].put(piece)
        except (OSError, ValueError):
            pass
        self._over.set()
        for queue in self._pieces.values():
            await queue.put(b"")

    async def read(self, stream: Stream) -> bytes:
        if stream in self._finished or (self._tty and stream == "stderr"):
            return b""
        data = await self._pieces[stream].get()
        if not data:
            self._finished.add(stream)
        return data

    async def write(self, data: bytes) -> None:
        if self._over.is_set():
            raise BrokenPipeError("the program has ended")
        self._writer.write(data)
        await self._writer.drain()

    async def end_input(self) -> None:
        if not self._detached:
            with contextlib.suppress(OSError, RuntimeError):
                self._writer.write_eof()

    def resize(self, columns: int, rows: int) -> None:
        if self._tty:
            self._tasks.spawn(self._resize(columns, rows), "engine-resize")

    async def _resize(self, columns: int, rows: int) -> None:
        with contextlib.suppress(EngineError):
            await self._api.call("POST", self._resize_path, query={"h": rows, "w": columns})

    async def wait(self) -> int:
        await self._over.wait()
        if not self._exec_id:
            return 0
        try:
            return await exit_code(self._api, self._exec_id)
        except EngineError as error:
            raise ApiError(500, "InternalError", str(error)) from error

    async def close(self) -> None:
        self._writer.close()
        await self._tasks.close()
        if self._exec_id and not self._over.is_set():
            await kill(self._api, self._exec_id)
        self._over.set()


async def exit_code(api: EngineApi, exec_id: str) -> int:
    """Of a command whose output has ended. EngineError."""
    while True:
        found = await api.call("GET", f"/exec/{exec_id}/json")
        if not found.get("Running"):
            code = found.get("ExitCode")
            return CANNOT_RUN if code is None else int(code)
        await asyncio.sleep(_EXIT_LOOK_SECONDS)


async def kill(api: EngineApi, exec_id: str) -> None:
    """The engine has no word for it, but tells the process' number."""
    with contextlib.suppress(EngineError, OSError):
        found = await api.call("GET", f"/exec/{exec_id}/json")
        if found.get("Running") and (pid := found.get("Pid")):
            os.kill(pid, signal.SIGKILL)


def refused(error: EngineError) -> int:
    """The exit code of a command that could not be started."""
    text = str(error).lower()
    return UNKNOWN_COMMAND if any(words in text for words in _NOT_FOUND) else CANNOT_RUN


async def create_exec(api: EngineApi, engine_id: str, command: Command) -> str:
    """Its id. EngineError."""
    made = await api.call("POST", f"/containers/{engine_id}/exec", {
        "Cmd": list(command.argv), "AttachStdin": command.stdin, "AttachStdout": command.stdout,
        "AttachStderr": command.stderr and not command.tty, "Tty": command.tty,
        "Env": ["TERM=xterm"] if command.tty else [],
    })  # fmt: skip
    return str(made["Id"])


async def open_exec(api: EngineApi, engine_id: str, command: Command) -> EngineProcess:
    """Start a command, to talk to. EngineError."""
    exec_id = await create_exec(api, engine_id, command)
    reader, writer = await api.hijack(
        f"/exec/{exec_id}/start", body={"Detach": False, "Tty": command.tty}
    )
    return EngineProcess(
        api, reader, writer, tty=command.tty, resize_path=f"/exec/{exec_id}/resize",
        exec_id=exec_id, detached=not command.stdin,
    )  # fmt: skip


async def open_attach(
    api: EngineApi, engine_id: str, command: Command, *, tty: bool, has_input: bool
) -> EngineProcess:
    """Listen to the container, and talk to it. EngineError."""
    talks = command.stdin and has_input
    query = {
        "stream": 1, "stdin": int(talks), "stdout": int(command.stdout),
        "stderr": int(command.stderr),
    }  # fmt: skip
    reader, writer = await api.hijack(f"/containers/{engine_id}/attach", query)
    return EngineProcess(
        api, reader, writer, tty=tty, resize_path=f"/containers/{engine_id}/resize",
        detached=not (talks and command.stdin_once),
    )  # fmt: skip

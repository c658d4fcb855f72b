"""The container runtime of process images: a client of the pod host, which it starts if needed."""

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from weft.lib.aio import Tasks
from weft.node import podhost_streams
from weft.node.linux import userns
from weft.node.podhost import wire
from weft.node.podhost_streams import PodhostError
from weft.node.runtime import (
    Command,
    ContainerSpec,
    ContainerState,
    ExecResult,
    Limits,
    PodsUsage,
    Process,
)

log = logging.getLogger("weft.node")

__all__ = ["PodhostError", "PodhostRuntime", "ensure_podhost"]

START_TIMEOUT_SECONDS = 30.0
REQUEST_TIMEOUT_SECONDS = 60.0
"""Longer than any answer takes, so that a hanging pod host is noticed."""
_RECONNECT_SECONDS = (0.0, 0.05, 0.2, 0.5, 1.0, 2.0)
_READ_BYTES = 1 << 16


async def ensure_podhost(run_dir: Path) -> "PodhostRuntime":
    """Connect to the pod host of this directory (0700, made if missing); start it if there is
    none. PodhostError."""
    runtime = PodhostRuntime(run_dir)
    await runtime.connect()
    return runtime


class PodhostRuntime:
    """ContainerRuntime. Reconnects, and starts a new pod host (which adopts what runs), when the
    old one is gone."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._tasks = Tasks()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._connected = asyncio.Event()
        self._lost = asyncio.Event()
        self._number = 0
        self._waiting: dict[int, asyncio.Future[wire.Message]] = {}
        self._listeners: dict[asyncio.Queue[ContainerState], dict[str, float]] = {}
        """With the ends each was told, by id of containers not yet removed: when it finished."""
        self.podhost_pid = 0
        self.cgroups = ""
        """v1, v2 or none: whether limits are enforced."""
        self.cgroups_reason = ""
        """Why not (all of them)."""
        self._runs_images = False
        """False of a pod host of an earlier version: it would run an image's program outside."""
        self.privilege = ""
        """root, nested, user or none: whether containers have their own /etc and volumes."""

    async def connect(self) -> None:
        """Once, before use. PodhostError."""
        try:
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                await self._connect_once()
        except (OSError, TimeoutError) as error:
            raise PodhostError(f"the pod host does not answer: {error!r}") from error
        self._tasks.spawn(self._stay_connected(), "podhost-connection")

    async def close(self) -> None:
        """Hang up; containers go on."""
        await self._tasks.close()
        self._hang_up()

    async def shutdown(self) -> None:
        """Kill every container and end the pod host. Then `close`."""
        self._tasks.closing = True
        pid = self.podhost_pid
        await self._request(op="shutdown")
        await self._lost.wait()  # it hangs up by ending
        log.info("pod host ended pid=%s", pid)

    # --- ContainerRuntime

    async def start(self, spec: ContainerSpec) -> ContainerState:
        """See ContainerRuntime. An id that is known already gives that container's state."""
        if spec.rootfs is not None and not self._runs_images:
            raise PodhostError(
                "the pod host that runs is of an earlier version and knows no images;"
                " `weft down` and `weft up` start a new one"
            )
        answer = await self._request(op="start", spec=msgspec.to_builtins(spec))
        return _state(answer["state"])

    async def signal(self, container_id: str, signal_number: int) -> None:
        await self._request(op="signal", id=container_id, signal=int(signal_number))

    async def limit(self, container_id: str, limits: Limits) -> None:
        """See ContainerRuntime. PodhostError."""
        await self._request(op="limit", id=container_id, limits=msgspec.to_builtins(limits))

    async def retire(self, container_id: str) -> None:
        """When it ends, it is not started again. PodhostError: an older pod host cannot do that,
        or it does not run."""
        await self._request(op="retire", id=container_id)

    async def release(self, directory: str) -> None:
        """See ContainerRuntime. An older pod host made none."""
        with contextlib.suppress(PodhostError):
            await self._request(op="release", directory=directory)

    async def kill(self, container_id: str) -> None:
        await self._request(op="kill", id=container_id)

    async def remove(self, container_id: str) -> None:
        """Returns when its log is written to the end. One that runs is killed."""
        await self._request(op="remove", id=container_id)
        for told in self._listeners.values():
            told.pop(container_id, None)

    async def list(self) -> tuple[ContainerState, ...]:
        answer = await self._request(op="list")
        return tuple(_state(state) for state in answer["states"])

    async def events(self) -> AsyncIterator[ContainerState]:
        """First the ended containers not yet removed, then each end as it happens."""
        queue: asyncio.Queue[ContainerState] = asyncio.Queue()
        told = self._listeners[queue] = {}
        try:
            for state in await self.list():
                if state.exit_code is not None:
                    queue.put_nowait(state)
            while True:
                state = await queue.get()
                if told.get(state.id) != state.finished_at:
                    told[state.id] = state.finished_at
                    yield state
        finally:
            del self._listeners[queue]

    async def exec(
        self, container_id: str, argv: tuple[str, ...], timeout_seconds: float
    ) -> ExecResult:
        """See ContainerRuntime. stdout and stderr come together, at most 1 MiB; 126 and 127 mean
        that the command cannot be run or found. PodhostError when the container does not run."""
        answer = await self._request(
            op="exec",
            id=container_id,
            argv=list(argv),
            timeout=timeout_seconds,
            wait=timeout_seconds + REQUEST_TIMEOUT_SECONDS,
        )
        if answer.get("timed_out"):
            raise TimeoutError(f"command timed out after {timeout_seconds:g} s")
        return ExecResult(answer["exit_code"], answer["output"].encode("utf-8", "surrogateescape"))

    async def open_exec(self, container_id: str, command: Command) -> Process:
        """See ContainerRuntime. PodhostError."""
        return await podhost_streams.open_exec(_dial(self._run_dir), container_id, command)

    async def open_attach(self, container_id: str, command: Command) -> Process:
        """See ContainerRuntime. PodhostError."""
        return await podhost_streams.open_attach(_dial(self._run_dir), container_id, command)

    async def usage(self, container_id: str) -> tuple[float, int]:
        answer = await self._request(op="usage", id=container_id)
        return answer["cpu"], answer["memory"]

    async def limit_pods(self, memory_bytes: int | None, pids: int | None) -> None:
        """See ContainerRuntime. PodhostError, also of an older pod host."""
        await self._request(op="limit_pods", memory_bytes=memory_bytes, pids=pids)

    async def pods_usage(self) -> PodsUsage:
        """See ContainerRuntime. PodhostError, also of an older pod host."""
        return msgspec.convert(await self._request(op="pods_usage"), PodsUsage)

    # --- connection

    async def _request(self, wait: float = REQUEST_TIMEOUT_SECONDS, **message: Any) -> wire.Message:
        for attempt in (1, 2):
            try:
                async with asyncio.timeout(START_TIMEOUT_SECONDS):
                    await self._connected.wait()
                async with asyncio.timeout(wait):
                    answer = await self._send(message)
            except ConnectionError:
                if attempt == 2:
                    raise PodhostError("the pod host ended while it was asked") from None
                continue  # every operation may be asked twice
            except TimeoutError:
                raise PodhostError(f"the pod host does not answer ({message['op']})") from None
            if "error" in answer:
                raise PodhostError(answer["error"])
            return answer
        raise AssertionError("unreachable")

    async def _send(self, message: wire.Message) -> wire.Message:
        if self._writer is None:
            raise ConnectionResetError
        self._number += 1
        number = self._number
        future: asyncio.Future[wire.Message] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._writer.write(wire.encode({"n": number, **message}))
            return await future
        finally:
            self._waiting.pop(number, None)

    async def _connect_once(self) -> None:
        self._reader = await self._open()
        self._tasks.spawn(self._read(self._reader), "podhost-read")
        hello = await self._send({"op": "hello"})
        if hello.get("version") != wire.PROTOCOL_VERSION:
            text = f"pod host {hello.get('pid')} speaks protocol {hello.get('version')}"
            raise PodhostError(f"{text}, this weft {wire.PROTOCOL_VERSION}; run `weft down` first")
        self.podhost_pid = hello["pid"]
        self.cgroups, self.privilege = hello["cgroups"], hello["privilege"]
        self.cgroups_reason = hello["cgroups_reason"]
        self._runs_images = bool(hello.get("images"))
        self._lost.clear()
        self._connected.set()

    async def _open(self) -> asyncio.StreamReader:
        """Connect, after starting a pod host if nobody answers."""
        for attempt in (1, 2):
            try:
                connection = _dial(self._run_dir)
            except OSError as error:
                if attempt == 2:
                    raise PodhostError(f"the pod host does not answer: {error}") from error
                await _spawn(self._run_dir)
                continue
            reader, self._writer = await asyncio.open_unix_connection(sock=connection)
            return reader
        raise AssertionError("unreachable")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        frames = wire.Frames()
        with contextlib.suppress(OSError, ValueError):
            while data := await reader.read(_READ_BYTES):
                for message in frames.feed(data):
                    self._take(message)
        if reader is self._reader:  # else there is a newer connection already
            self._hang_up()

    def _take(self, message: wire.Message) -> None:
        if "event" in message:
            self._tell(_state(message["event"]))
            return
        future = self._waiting.get(message["re"])
        if future is not None and not future.done():
            future.set_result(message)

    def _tell(self, state: ContainerState) -> None:
        for queue in self._listeners:
            queue.put_nowait(state)

    def _hang_up(self) -> None:
        self._connected.clear()
        self._lost.set()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionResetError())

    async def _stay_connected(self) -> None:
        attempt = 0
        while not self._tasks.closing:
            if self._connected.is_set():
                attempt = 0
                await self._lost.wait()
                if self._tasks.closing:
                    return
                log.warning("pod host connection lost pid=%s", self.podhost_pid)
            await asyncio.sleep(_RECONNECT_SECONDS[min(attempt, len(_RECONNECT_SECONDS) - 1)])
            attempt += 1
            try:
                async with asyncio.timeout(START_TIMEOUT_SECONDS):
                    await self._connect_once()
                    log.warning("pod host connected again pid=%s", self.podhost_pid)
                    await self._tell_missed()
            except (OSError, PodhostError, TimeoutError) as error:
                log.error("pod host cannot be reached error=%r", error)
                self._hang_up()

    async def _tell_missed(self) -> None:
        """Ends of containers that came while nobody was connected. Not by `list`, which would
        wait for the next connection, that is for its caller."""
        for state in map(_state, (await self._send({"op": "list"}))["states"]):
            if state.exit_code is not None:
                self._tell(state)


def _state(fields: wire.Message) -> ContainerState:
    return msgspec.convert(fields, ContainerState)


def _dial(run_dir: Path) -> socket.socket:
    """Through the directory's descriptor: its path may be longer than a socket's may."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        directory = os.open(run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{directory}/{wire.SOCKET_NAME}")
        finally:
            os.close(directory)
    except OSError:
        connection.close()
        raise
    connection.setblocking(False)
    return connection


async def _spawn(run_dir: Path) -> None:
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    program = Path(__file__).parent / "podhost"
    command = (sys.executable, "-I", "-S", str(program), str(run_dir))
    scope = _scope(os.path.isdir("/run/systemd/system"), userns.outer_uid())
    code, text = await _run((*scope, *command))
    if code != 0 and scope:
        log.info("no systemd scope for the pod host error=%s", text)
        code, text = await _run(command)
    if code != 0:
        raise PodhostError(f"the pod host cannot start: {text}")


def _scope(systemd: bool, uid: int) -> tuple[str, ...]:
    """A scope of its own, where systemd runs: limits need a delegated control group, and the
    unit that weft belongs to may be stopped without its pods."""
    if not systemd or shutil.which("systemd-run") is None:
        return ()
    user = () if uid == 0 else ("--user",)
    return ("systemd-run", *user, "--scope", "--quiet", "--collect", "-p", "Delegate=yes", "--")


async def _run(command: tuple[str, ...]) -> tuple[int, str]:
    """Exit code and what it complained."""
    kept = ("PATH", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        env={"PATH": os.defpath, **{n: os.environ[n] for n in kept if n in os.environ}},
    )
    try:
        async with asyncio.timeout(START_TIMEOUT_SECONDS):
            _, stderr = await process.communicate()
    except TimeoutError:
        process.kill()
        return 1, f"no answer within {START_TIMEOUT_SECONDS:g} s"
    return process.returncode or 0, stderr.decode(errors="replace").strip()

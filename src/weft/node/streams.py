"""exec, attach and port-forward on this node: from a pod's name to its process or its socket."""

import asyncio
import contextlib
from collections.abc import Callable

from msgspec import Struct, structs

from weft.api.errors import ApiError
from weft.node import pod_state as ps
from weft.node.dialing import Dialer
from weft.node.engine.api import EngineError
from weft.node.pod_runner import PodRunner
from weft.node.podhost_streams import PodhostError
from weft.node.runtime import Command, ContainerRuntime, Process

CONNECT_SECONDS_MAX = 10.0
LOCALHOST = "127.0.0.1"


class Connection:
    """A TCP connection to a port of a pod."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, size: int) -> bytes:
        """b"" at the end. OSError."""
        return await self._reader.read(size)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def end_output(self) -> None:
        """Nothing more is written; the other direction goes on."""
        with contextlib.suppress(OSError):
            self._writer.write_eof()

    async def close(self) -> None:
        self._writer.close()


class Streams(Struct, frozen=True):
    """Of one node; `find` gives the runner of a pod by uid."""

    runtime: ContainerRuntime
    find: Callable[[str], PodRunner | None]

    async def exec(self, uid: str, container: str, command: Command) -> Process:
        """Raises ApiError 500 when it does not run."""
        instance = self._instance(uid, container)
        try:
            return await self.runtime.open_exec(instance, command)
        except (EngineError, LookupError) as error:
            raise ApiError(500, "InternalError", f"unable to run it: {error}") from error

    async def attach(self, uid: str, container: str, command: Command) -> Process:
        """As `exec`. The container must have an input for the command's to go anywhere."""
        instance = self._instance(uid, container)
        runner = self.find(uid)
        spec = ps.spec_of(runner.state.pod, container) if runner is not None else None
        once = spec is not None and bool(spec.stdin_once)
        try:
            return await self.runtime.open_attach(
                instance, structs.replace(command, stdin_once=once)
            )
        except (PodhostError, EngineError, LookupError) as error:
            raise ApiError(500, "InternalError", f"unable to attach: {error}") from error

    def _instance(self, uid: str, container: str) -> str:
        runner = self.find(uid)
        records = runner.state.containers if runner is not None else ()
        record = next((c for c in records if c.name == container), None)
        if record is None or record.stage not in ("running", "stopping"):
            text = f'unable to upgrade connection: container not found ("{container}")'
            if record is not None:
                state = f"is not running: {record.reason or record.stage}"
                text = f'unable to upgrade connection: container "{container}" {state}'
            raise ApiError(500, "InternalError", text)
        return ps.instance_id(uid, container, record.restarts)

    async def connect(self, uid: str, port: int) -> Connection:
        """To a port of the pod, from inside its network. OSError says why not."""
        runner = self.find(uid)
        if runner is None or runner.state.sandbox.stage != "ready":
            raise OSError("the pod does not run")
        sandbox = runner.state.sandbox
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            if namespace := sandbox.netns or runner.parts.settings.home:
                return Connection(*await Dialer(namespace).open_connection(LOCALHOST, port))
            host = LOCALHOST if runner.state.host_network else sandbox.address
            number = runner.facts().host_ports.get(port, port)
            return Connection(*await asyncio.open_connection(host, number))

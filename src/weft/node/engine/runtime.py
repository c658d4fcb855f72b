"""The containers that a container engine runs for this instance."""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from weft.lib.aio import Tasks, now, ticks
from weft.lib.files import replace_file
from weft.lib.instance import ENGINE_RECORD
from weft.node.engine import holder, logs, requests, states, streams
from weft.node.engine.api import EngineApi, EngineError
from weft.node.engine.images import EngineImages
from weft.node.linux.cgroups import Group, group_of
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

AGAIN_SECONDS = 0.5
END_SECONDS_MAX = 30.0
"""For a killed container to be reported as ended."""
LOG_SECONDS_MAX = 5.0
RESTART_SECONDS_MAX = 20.0
"""How long a start waits for an engine that does not answer."""
NETWORK_SECONDS_MAX = 10.0
"""For a pod's holder to enter the pod's network."""
NETWORK_LOOK_SECONDS = 0.005
EXEC_OUTPUT_BYTES_MAX = 1 << 20
KILLED_CODE, UNKNOWN_REASON = 137, "ContainerStatusUnknown"
_NOT_FOUND, _CONFLICT = 404, 409
_KILL = "SIGKILL"


class _Held:
    """One container of the engine."""

    def __init__(self, state: ContainerState, engine_id: str, pod: str) -> None:
        self.state = state
        self.engine_id = engine_id
        self.pod = pod
        self.tty = False
        self.stdin = False
        self.log_file = ""
        """Where the engine writes what it prints, when that can be read."""
        self.group = group_of(state.pid) if state.pid else Group({})
        self.ended = asyncio.Event()
        self.logged = asyncio.Event()

    def says(self) -> ContainerState:
        return replace(self.state, log_written=self.logged.is_set())


class EngineRuntime:
    """ContainerRuntime. `open` before use, then `close` (containers run on) or `shutdown`."""

    def __init__(self, api: EngineApi, images: EngineImages, instance: str, data_dir: Path) -> None:
        self.api = api
        self._images = images
        self._instance = instance
        self._record = data_dir / ENGINE_RECORD
        self._tasks = Tasks()
        self._held: dict[str, _Held] = {}
        self._holders: dict[str, str] = {}
        """The engine's id of each pod's holder, by uid."""
        self._locks: dict[str, asyncio.Lock] = {}
        self._listeners: list[asyncio.Queue[ContainerState]] = []

    async def open(self) -> None:
        """Find the containers of this instance. EngineError."""
        await self.api.open()
        fields = {"kind": self.api.kind, "socket": self.api.socket}
        replace_file(self._record, json.dumps(fields).encode())
        for found in await self._own():
            labels = found.get("Labels") or {}
            container_id = labels.get(requests.LABEL_ID)
            if container_id is None:
                self._holders[labels.get(requests.LABEL_POD, "")] = found["Id"]
                continue
            inspected = await self._inspect(found["Id"])
            if inspected is None:
                continue
            if (inspected.get("State") or {}).get("Status") in ("created", "configured"):
                await self._delete(found["Id"])  # weft was killed between making and starting it
                continue
            held = self._hold(container_id, inspected, labels.get(requests.LABEL_POD, ""))
            with contextlib.suppress(EngineError):
                await self._images.look(labels.get(requests.LABEL_IMAGE, ""))
            self._follow(held, labels.get(requests.LABEL_LOG, ""))

    async def close(self) -> None:
        """Let go; containers run on."""
        await self._tasks.close()
        await self._images.close()
        await self.api.close()

    async def shutdown(self) -> None:
        """Remove everything of this instance. Then `close`. EngineError."""
        await self._tasks.close()
        self._tasks = Tasks()
        for found in sorted(
            await self._own(), key=lambda f: requests.LABEL_ID not in (f.get("Labels") or {})
        ):
            await self._delete(found["Id"])
        self._held.clear()
        self._holders.clear()
        self._record.unlink(missing_ok=True)

    def has(self, container_id: str) -> bool:
        return container_id in self._held

    # --- ContainerRuntime

    async def start(self, spec: ContainerSpec) -> ContainerState:
        """See ContainerRuntime. EngineError when it cannot even be made."""
        made = spec.engine
        assert made is not None
        if spec.id in self._held:
            return self._held[spec.id].says()
        if spec.spaces is not None:
            os.makedirs(spec.spaces.directory, 0o700, exist_ok=True)
        await self._answering()
        image = await self._images.present(made.image)
        pod_holder = await self._holder(spec)
        target = ""
        if spec.processes_of:
            if spec.processes_of not in self._held:
                raise EngineError("targetContainerName: the container it names does not run")
            target = self._held[spec.processes_of].engine_id
        request = requests.container_request(
            spec, self._instance, image, pod_holder, target, podman=self.api.podman
        )
        engine_id = await self._create(made.name, request)
        try:
            await self.api.call("POST", f"/containers/{engine_id}/start")
        except EngineError as error:
            if not error.status:
                raise
            return self._failed(spec, engine_id, str(error))
        inspected = await self._inspect(engine_id) or {}
        held = self._hold(spec.id, inspected, made.pod)
        self._follow(held, spec.log_path)
        return held.says() if held.state.exit_code is None else _as_started(held.says())

    async def signal(self, container_id: str, signal_number: int) -> None:
        await self._signal(container_id, str(signal_number))

    async def limit(self, container_id: str, limits: Limits) -> None:
        """See ContainerRuntime. LookupError, ValueError, EngineError."""
        held = self._running(container_id)
        used, memory = held.group.usage()[1], limits.memory_bytes
        if memory is not None and used > memory:
            raise ValueError(f"it uses {used} bytes of memory, more than the new limit {memory}")
        body = requests.limits_of(limits)
        try:
            await self.api.call("POST", f"/containers/{held.engine_id}/update", body)
        except EngineError as error:
            if error.status != _NOT_FOUND or not held.group.directories:
                raise
            # Podman serves no such request; its groups are those of any container.
            held.group.change(limits.cpu_cores, memory, limits.pids)

    async def retire(self, container_id: str) -> None:
        """Containers of an engine are never started again by it."""

    async def kill(self, container_id: str) -> None:
        await self._signal(container_id, _KILL)

    async def release(self, directory: str) -> None:
        """See ContainerRuntime: of the pod whose directory it is in."""
        pod = Path(directory).parent.name
        engine_id = self._holders.pop(pod, "")
        self._locks.pop(pod, None)
        if engine_id:
            await self._delete(engine_id)
        with contextlib.suppress(OSError):
            os.rmdir(directory)

    async def remove(self, container_id: str) -> None:
        """Returns when its log is written to the end. One that runs is killed."""
        held = self._held.get(container_id)
        if held is None:
            return
        if held.state.exit_code is None:
            await self._signal(container_id, _KILL)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_SECONDS_MAX):
                    await held.ended.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOG_SECONDS_MAX):
                await held.logged.wait()
        await self._delete(held.engine_id)
        self._held.pop(container_id, None)

    async def list(self) -> tuple[ContainerState, ...]:
        """From memory: an engine that is being restarted does not keep us waiting."""
        return tuple(held.says() for held in self._held.values())

    async def events(self) -> AsyncIterator[ContainerState]:
        """First the ended containers not yet removed, then each end as it happens."""
        queue: asyncio.Queue[ContainerState] = asyncio.Queue()
        self._listeners.append(queue)
        try:
            for held in self._held.values():
                if held.state.exit_code is not None:
                    queue.put_nowait(held.says())
            while True:
                yield await queue.get()
        finally:
            self._listeners.remove(queue)

    async def exec(
        self, container_id: str, argv: tuple[str, ...], timeout_seconds: float
    ) -> ExecResult:
        """See ContainerRuntime; 126 and 127: it cannot be run or found."""
        held = self._running(container_id)
        output = bytearray()
        try:
            process = await streams.open_exec(self.api, held.engine_id, Command(argv))
        except EngineError as error:
            if not error.status:
                raise
            return ExecResult(streams.refused(error), str(error).encode())

        async def collect(stream: streams.Stream) -> None:
            while data := await process.read(stream):
                output.extend(data[: EXEC_OUTPUT_BYTES_MAX - len(output)])

        try:
            async with asyncio.timeout(timeout_seconds):
                await asyncio.gather(collect("stdout"), collect("stderr"))
                return ExecResult(await process.wait(), bytes(output))
        finally:
            await process.close()

    async def open_exec(self, container_id: str, command: Command) -> Process:
        return await streams.open_exec(self.api, self._running(container_id).engine_id, command)

    async def open_attach(self, container_id: str, command: Command) -> Process:
        held = self._running(container_id)
        return await streams.open_attach(
            self.api, held.engine_id, command, tty=held.tty, has_input=held.stdin
        )

    async def usage(self, container_id: str) -> tuple[float, int]:
        held = self._running(container_id)
        if any(found := held.group.usage()):  # cheaper than to ask
            return found
        query = {"stream": "false", "one-shot": "true"}
        try:
            found = await self.api.call("GET", f"/containers/{held.engine_id}/stats", query=query)
        except EngineError as error:
            raise LookupError(str(error)) from error
        return states.usage_of(found or {})

    async def limit_pods(self, memory_bytes: int | None, pids: int | None) -> None:
        """RuntimeError: an engine's containers are in control groups of the engine."""
        if (memory_bytes, pids) != (None, None):
            raise RuntimeError("containers that an engine runs have no limit together")

    async def pods_usage(self) -> PodsUsage:
        return PodsUsage()

    # --- making

    async def _answering(self) -> None:
        """Wait for an engine that is being restarted, for a while. EngineError."""
        deadline = ticks() + RESTART_SECONDS_MAX
        while True:
            try:
                await self.api.call("GET", "/version")
                return
            except EngineError as error:
                if error.status or ticks() > deadline:
                    raise
            await asyncio.sleep(AGAIN_SECONDS)

    async def _holder(self, spec: ContainerSpec) -> str:
        """The engine's id of the pod's holder, which runs. EngineError."""
        made = spec.engine
        assert made is not None
        async with self._locks.setdefault(made.pod, asyncio.Lock()):
            known = self._holders.get(made.pod)
            if known and _holds(await self._inspect(known) or {}, spec.netns):
                return known
            await self._ensure_holder_image()
            request = requests.holder_request(spec, self._instance)
            engine_id = await self._create(requests.holder_name(made), request)
            await self.api.call("POST", f"/containers/{engine_id}/start")
            await self._in_network(engine_id, spec.netns)
            self._holders[made.pod] = engine_id
            return engine_id

    async def _in_network(self, engine_id: str, netns: str) -> None:
        """Wait until it has entered the pod's network: nothing may start in another one."""
        deadline = ticks() + NETWORK_SECONDS_MAX
        while ticks() < deadline:
            inspected = await self._inspect(engine_id) or {}
            pid = (inspected.get("State") or {}).get("Pid") or 0
            if not states.is_alive(inspected) or not pid:
                code = (inspected.get("State") or {}).get("ExitCode")
                why = os.strerror(code) if isinstance(code, int) and 0 < code < 128 else code
                raise EngineError(f"the pod's network cannot be entered by the engine: {why}")
            if not netns or _same_network(pid, netns):
                return
            await asyncio.sleep(NETWORK_LOOK_SECONDS)
        raise EngineError(
            "the engine's containers are not on this machine (it may run them in a virtual one, as"
            " Docker Desktop does): they cannot enter pods' networks"
        )

    async def _ensure_holder_image(self) -> None:
        try:
            await self.api.call("GET", f"/images/{holder.IMAGE}/json")
        except EngineError as error:
            if error.status != _NOT_FOUND:
                raise
            architecture = holder.platform(self.api.architecture)
            if architecture is None:
                raise EngineError(
                    f"pods run through an engine on x86_64 and aarch64 only, and this is"
                    f" {self.api.architecture}"
                ) from None
            await self._images.load(holder.image(architecture))

    async def _create(self, name: str, request: dict[str, Any]) -> str:
        """Its id. What has the name is from a start that came to nothing."""
        for attempt in (1, 2):
            try:
                made = await self.api.call(
                    "POST", "/containers/create", request, query={"name": name}
                )
                return str(made["Id"])
            except EngineError as error:
                taken = error.status == _CONFLICT or "already in use" in str(error)
                if not taken or attempt == 2:
                    raise
                found = await self._inspect(name) or {}
                labels = (found.get("Config") or {}).get("Labels") or {}
                if labels.get(requests.LABEL_INSTANCE) != self._instance:
                    raise
                await self._delete(found["Id"])
        raise AssertionError("unreachable")

    def _failed(self, spec: ContainerSpec, engine_id: str, message: str) -> ContainerState:
        assert spec.engine is not None
        at = now()
        state = ContainerState(
            id=spec.id, started_at=at, finished_at=at, exit_code=states.START_FAILED_CODE,
            reason="StartError", message=message,
        )  # fmt: skip
        held = self._held[spec.id] = _Held(state, engine_id, spec.engine.pod)
        held.ended.set()
        held.logged.set()
        return state

    def _hold(self, container_id: str, inspected: dict[str, Any], pod: str) -> _Held:
        state = states.state_of(container_id, inspected)
        held = self._held[container_id] = _Held(state, inspected.get("Id", ""), pod)
        config = inspected.get("Config") or {}
        held.tty, held.stdin = bool(config.get("Tty")), bool(config.get("OpenStdin"))
        file = str(inspected.get("LogPath") or "")
        if self.api.podman and file and os.access(file, os.R_OK):
            held.log_file = file
        if state.exit_code is not None:
            held.ended.set()
        return held

    # --- watching

    def _follow(self, held: _Held, log_path: str) -> None:
        name = held.engine_id[:12]
        self._tasks.spawn(self._watch(held), f"engine-watch-{name}")
        if log_path:
            self._tasks.spawn(self._copy_log(held, log_path), f"engine-log-{name}")
        else:
            held.logged.set()

    async def _copy_log(self, held: _Held, path: str) -> None:
        ended = held.ended.is_set
        if held.log_file:
            await logs.copy_file(held.log_file, path, ended)
        else:
            await logs.copy(self.api, held.engine_id, path, tty=held.tty, ended=ended)
        held.logged.set()

    async def _watch(self, held: _Held) -> None:
        """Until it has ended; then say so."""
        while held.state.exit_code is None:
            await _gone(held.state.pid)
            kills = held.group.out_of_memory_kills()  # the group goes soon
            try:
                await self.api.call(
                    "POST", f"/containers/{held.engine_id}/wait",
                    query={"condition": "not-running"}, wait=None,
                )  # fmt: skip
                inspected = await self._inspect(held.engine_id)
            except EngineError as error:
                if error.status != _NOT_FOUND:
                    log.info("engine does not answer container=%s error=%s", held.state.id, error)
                    await asyncio.sleep(AGAIN_SECONDS)
                    continue
                inspected = None
            held.state = _ended(held.state, inspected, killed_for_memory=kills > 0)
            if held.state.exit_code is None:  # its process is gone, and the engine is behind
                await asyncio.sleep(AGAIN_SECONDS)
        held.ended.set()
        for queue in self._listeners:
            queue.put_nowait(held.says())

    # --- the engine

    async def _own(self) -> Sequence[dict[str, Any]]:
        """Everything of this instance, running or not."""
        wanted = {"label": [f"{requests.LABEL_INSTANCE}={self._instance}"]}
        query = {"all": "true", "filters": json.dumps(wanted)}
        return await self.api.call("GET", "/containers/json", query=query) or []

    async def _inspect(self, engine_id: str) -> dict[str, Any] | None:
        try:
            return await self.api.call("GET", f"/containers/{engine_id}/json") or {}
        except EngineError as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    async def _signal(self, container_id: str, signal: str) -> None:
        """Nothing happens to what has ended."""
        held = self._held.get(container_id)
        if held is None or held.state.exit_code is not None:
            return
        try:
            await self.api.call(
                "POST", f"/containers/{held.engine_id}/kill", query={"signal": signal}
            )
        except EngineError as error:
            ended = "not running" in str(error) or error.status in (_NOT_FOUND, _CONFLICT)
            if not ended and "state improper" not in str(error):
                raise

    async def _delete(self, engine_id: str) -> None:
        """Killed first: some engines ask nicely for ten seconds."""
        with contextlib.suppress(EngineError):
            await self.api.call("POST", f"/containers/{engine_id}/kill", query={"signal": _KILL})
        try:
            await self.api.call(
                "DELETE", f"/containers/{engine_id}", query={"force": "true", "v": "true"}
            )
        except EngineError as error:
            if error.status not in (_NOT_FOUND, _CONFLICT):
                raise

    def _running(self, container_id: str) -> _Held:
        held = self._held.get(container_id)
        if held is None or held.state.exit_code is not None:
            raise LookupError(f"container {container_id} does not run")
        return held


def _as_started(state: ContainerState) -> ContainerState:
    """It ran and has ended already: its end is told like any other."""
    return ContainerState(id=state.id, started_at=state.started_at, log_written=False)


def _ended(
    state: ContainerState, inspected: dict[str, Any] | None, *, killed_for_memory: bool
) -> ContainerState:
    """Engines do not always see that the kernel killed it for its memory."""
    if inspected is None:
        return replace(
            state, pid=0, exit_code=KILLED_CODE, reason=UNKNOWN_REASON, finished_at=now(),
            message="The container was removed from the engine",
        )  # fmt: skip
    found = states.state_of(state.id, inspected)
    if found.exit_code is None:
        return found
    if killed_for_memory and found.exit_code == KILLED_CODE:
        found = replace(found, reason="OOMKilled")
    return replace(
        found, started_at=found.started_at or state.started_at,
        finished_at=found.finished_at or now(),
    )  # fmt: skip


def _holds(inspected: dict[str, Any], netns: str) -> bool:
    """Whether a pod's holder runs, in this network."""
    pid = (inspected.get("State") or {}).get("Pid") or 0
    return states.is_alive(inspected) and (not netns or _same_network(pid, netns))


def _same_network(pid: int, netns: str) -> bool:
    try:
        there, here = os.stat(f"/proc/{pid}/ns/net"), os.stat(netns)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


async def _gone(pid: int) -> None:
    """Returns when the process has ended; at once when it cannot be watched from here."""
    try:
        fd = os.pidfd_open(pid) if pid else -1
    except OSError:
        return
    if fd < 0:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(fd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)


class Recorded(msgspec.Struct, frozen=True):
    """Which engine this instance used last."""

    kind: str = ""
    socket: str = ""


def recorded(data_dir: Path) -> Recorded | None:
    """None when no engine has containers of this instance."""
    try:
        return msgspec.json.decode((data_dir / ENGINE_RECORD).read_bytes(), type=Recorded)
    except (OSError, msgspec.MsgspecError):
        return None

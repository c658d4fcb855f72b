"""The node proxy as a process: started and kept up by the pod host, asked over its admin socket.

The pod host, not weft, starts Envoy again when it ends: it is back within a second even while
weft is down.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from msgspec import Struct

from weft.lib import envoy_binary
from weft.lib.files import replace_file
from weft.node.runtime import ContainerRuntime, ContainerSpec, ContainerState

READY_TIMEOUT_SECONDS = 20.0
STOP_TIMEOUT_SECONDS = 5.0
ADMIN_TIMEOUT_SECONDS = 5.0
_POLL_SECONDS = 0.02
NODE_PROXY, RELAY = "envoy", "relay"
"""Names of a node's Envoys: the node's proxy, and the one that stands for it in the machine's
network where the proxy is in another one."""


def is_envoy(container_id: str) -> bool:
    """Whether a container of the pod host is a node's Envoy."""
    return container_id.startswith((f"{NODE_PROXY}-", f"{RELAY}-"))


class EnvoyError(Exception):
    """Envoy cannot be started, or its admin interface does not answer."""


def admin_socket(run_dir: Path, name: str = NODE_PROXY) -> str:
    """Where the admin interface is expected; the bootstrap must say the same."""
    return str(run_dir / f"{name}.sock")


class EnvoyGoneError(EnvoyError):
    """Nobody listens on the admin socket: Envoy does not run, so it carries nothing."""


class EnvoyAdmin:
    """Client of Envoy's administration interface on a Unix socket."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._session: aiohttp.ClientSession | None = None

    async def get(self, path: str, *, method: str = "GET") -> bytes:
        """The body of `path`. EnvoyError."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=ADMIN_TIMEOUT_SECONDS)
            # A process that took over answers at the same path: never ask over an old connection.
            connector = aiohttp.UnixConnector(self._path, force_close=True)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        try:
            async with self._session.request(method, f"http://envoy{path}") as response:
                body = await response.read()
        except aiohttp.ClientConnectorError as error:
            raise EnvoyGoneError(f"Envoy does not run: {error}") from error
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            raise EnvoyError(f"Envoy's admin interface does not answer: {error!r}") from error
        if response.status >= 400:
            text = body[:200].decode(errors="replace")
            raise EnvoyError(f"Envoy answered {response.status} to {path}: {text}")
        return body

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def reopen_logs(self) -> None:
        """Have it open the files anew that it logs to. EnvoyError."""
        await self.get("/reopen_logs", method="POST")

    async def live(self) -> bool:
        """Whether it answers and has its first configuration."""
        try:
            return (await self.get("/ready")).startswith(b"LIVE")
        except EnvoyError:
            return False

    async def stats(self, pattern: str = "") -> dict[str, int]:
        """Counters and gauges whose names match the regular expression. EnvoyError."""
        query = "/stats?format=json" + (f"&filter={pattern}" if pattern else "")
        listed = orjson.loads(await self.get(query))["stats"]
        return {one["name"]: int(one["value"]) for one in listed if "value" in one}

    async def prometheus(self) -> bytes:
        """All used statistics in Prometheus' text format. EnvoyError."""
        return await self.get("/stats/prometheus?usedonly")

    async def clusters(self) -> Any:
        """The value of /clusters?format=json. EnvoyError."""
        return orjson.loads(await self.get("/clusters?format=json"))

    async def active_requests(
        self, address: str, ports: Collection[int] = (), ignored: frozenset[str] = frozenset()
    ) -> int:
        """Requests and TCP connections in flight to an endpoint, at some of its ports or at all.
        Clusters named in `ignored` do not count. EnvoyError, EnvoyGoneError."""
        return count_active(await self.clusters(), address, ports, ignored)

    async def active_by_cluster(self, address: str, ports: Collection[int] = ()) -> dict[str, int]:
        """The same, cluster by cluster; those without any are left out."""
        return active_by_cluster(await self.clusters(), address, ports)

    async def drain_listeners(self) -> None:
        """Tell clients to go, accept no new connections. EnvoyError."""
        await self.get("/drain_listeners?graceful", method="POST")


def count_active(
    clusters: Mapping[str, Any],
    address: str,
    ports: Collection[int] = (),
    ignored: frozenset[str] = frozenset(),
) -> int:
    """The sum of `rq_active` over an endpoint's places in /clusters. Pure."""
    counts = active_by_cluster(clusters, address, ports)
    return sum(count for name, count in counts.items() if name not in ignored)


def active_by_cluster(
    clusters: Mapping[str, Any], address: str, ports: Collection[int] = ()
) -> dict[str, int]:
    """Cluster -> `rq_active` of an endpoint, where there are any. Pure."""
    counts: dict[str, int] = {}
    for cluster in clusters.get("cluster_statuses", ()):
        name = str(cluster.get("name"))
        for host in cluster.get("host_statuses", ()):
            place = host.get("address", {}).get("socket_address", {})
            if place.get("address") != address or (ports and place.get("port_value") not in ports):
                continue
            stats = {stat["name"]: int(stat.get("value", 0)) for stat in host.get("stats", ())}
            if active := stats.get("rq_active", 0):
                counts[name] = counts.get(name, 0) + active
    return counts


class EnvoySupervisor:
    """One Envoy of a node. `start` adopts a running one that was started just like this, and has
    one that was started differently hand over: the new process takes its listening sockets, the
    old one drains its connections and ends (hot restart). No request is lost."""

    def __init__(
        self,
        runtime: ContainerRuntime,
        run_dir: Path,
        bootstrap: Mapping[str, Any],
        *,
        arguments: tuple[str, ...],
        log_path: Path | None = None,
        envoy_path: str = "",
        name: str = NODE_PROXY,
        netns: str = "",
    ) -> None:
        """`bootstrap` must open the admin interface at `admin_socket(run_dir, name)`. `arguments`
        is the command line after `-c FILE`. `netns` is the network that it lives in, when that is
        not the pod host's."""
        self._netns = netns
        self._runtime = runtime
        self._prefix = f"{name}-"
        self._directory = run_dir / name
        self._log_path = log_path or self._directory / "envoy.log"
        self._path = envoy_path or envoy_binary.envoy_path()
        self._arguments = arguments
        self._bootstrap = json.dumps(bootstrap, indent=1, sort_keys=True).encode()
        parts = (program_facts(self._path), *(a.encode() for a in arguments), self._bootstrap)
        if netns:
            parts += (str(os.stat(netns).st_ino).encode(),)
        self._digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]
        """Says how it is started, so that a running one is adopted only if nothing changed."""
        self.admin = EnvoyAdmin(admin_socket(run_dir, name))

    async def start(self) -> bool:
        """Start it, or adopt it (True). EnvoyError when it cannot be started."""
        states = await self._states()
        current = states[-1] if states else None
        if current is not None and self._generation(current).digest == self._digest:
            return True
        if current is not None and await self._can_hand_over(current):
            await self._hand_over(current)
            return False
        for state in reversed(states):
            await self._end(state)
        serial = 1 if current is None else self._generation(current).serial + 1
        await self._launch(Generation(self._digest, serial, 0))
        return False

    async def restart(self) -> None:
        """Have a new process take over from the running one, without a lost request; returns once
        the new one serves. EnvoyError when it does not run, or cannot hand over."""
        states = await self._states()
        if not states:
            raise EnvoyError("Envoy does not run")
        if len(states) > 1:
            # A third one would end the first at once, and cut its connections.
            raise EnvoyError("one that was replaced before still drains; try again in a minute")
        if not await self._can_hand_over(states[-1]):
            raise EnvoyError("this Envoy was started without hot restart, or by an older weft")
        epoch = await self._hand_over(states[-1])
        try:
            async with asyncio.timeout(READY_TIMEOUT_SECONDS):
                while not await self._serves(epoch):  # noqa: ASYNC110 - another process's state
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise EnvoyError(
                f"the new Envoy did not take over within {READY_TIMEOUT_SECONDS:g} s;"
                f" its log: {self._log_path}"
            ) from None

    async def _serves(self, epoch: int) -> bool:
        """Whether the process that answers is the one of this epoch, and is ready."""
        try:
            info = orjson.loads(await self.admin.get("/server_info"))
        except (EnvoyError, ValueError):
            return False
        options = info.get("command_line_options") or {}
        return info.get("state") == "LIVE" and int(options.get("restart_epoch") or 0) == epoch

    def owns(self, container_id: str) -> bool:
        """Whether a container is an Envoy of this node."""
        return container_id.startswith(self._prefix)

    async def _states(self) -> list[ContainerState]:
        """Running ones, the current one last: others drain. Ended ones are cleared away."""
        found = []
        for state in await self._runtime.list():
            if state.id.startswith(self._prefix) and state.exit_code is None:
                found.append(state)
            elif state.id.startswith(self._prefix):
                await self._runtime.remove(state.id)
        return sorted(found, key=lambda state: self._generation(state).serial)

    async def _can_hand_over(self, current: ContainerState) -> bool:
        """Whether the program that runs and the one to be started understand each other."""
        if not self._generation(current).serial or not current.pid:
            return False
        try:
            info = orjson.loads(await self.admin.get("/server_info"))
            speaks = str(info["hot_restart_version"])
        except (EnvoyError, KeyError, ValueError):
            return False
        return speaks != "disabled" and speaks == await hot_restart_version(self._path)

    async def _hand_over(self, current: ContainerState) -> int:
        base_id = self._base_id_file().read_text().strip()
        before = self._generation(current)
        # One that crashed was started again as the first of its line.
        epoch = 1 if current.restarts else before.epoch + 1
        await self._runtime.retire(current.id)
        await self._launch(Generation(self._digest, before.serial + 1, epoch), base_id)
        return epoch

    async def _launch(self, generation: "Generation", base_id: str = "") -> None:
        config = self._write_bootstrap(generation)
        command = (self._path, "-c", str(config), *self._arguments)
        number = str(self._base_id_file())
        alone = (*command, "--use-dynamic-base-id", "--base-id-path", number)
        after = (*command, "--base-id", base_id, "--restart-epoch", str(generation.epoch))
        state = await self._runtime.start(
            ContainerSpec(
                id=f"{self._prefix}{generation.text}",
                argv=after if generation.epoch else alone,
                env={},
                log_path=str(self._log_path),
                netns=self._netns,
                of_node=True,
                respawn=True,
                respawn_argv=alone,
            )
        )
        if state.exit_code is not None:
            raise EnvoyError(f"Envoy cannot be started: {state.message}")

    def _generation(self, state: ContainerState) -> "Generation":
        return Generation.of(state.id.removeprefix(self._prefix))

    def _base_id_file(self) -> Path:
        return self._directory / "base-id"

    async def ready(self, timeout_seconds: float = READY_TIMEOUT_SECONDS) -> None:
        """Wait until it has its first configuration from the control plane. EnvoyError."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while True:
                    if await self.admin.live():
                        return
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise EnvoyError(
                f"Envoy was not ready within {timeout_seconds:g} s; its log: {self._log_path}"
            ) from None

    async def state(self) -> ContainerState | None:
        """The process; `restarts` counts how often it had to be started again."""
        states = [s for s in await self._runtime.list() if s.id.startswith(self._prefix)]
        return max(states, key=lambda state: self._generation(state).serial, default=None)

    async def stop(self) -> None:
        """End it, and those that drain; it is not started again."""
        # The newest first: it waits ten seconds for a word of the one before when that is gone.
        for state in reversed(await self._states()):
            await self._end(state)
        with contextlib.suppress(OSError, ValueError):
            number = int(self._base_id_file().read_text())
            os.unlink(f"/dev/shm/envoy_shared_memory_{number}0")  # noqa: S108 - Envoy's own
        await self.close()

    async def close(self) -> None:
        """Leave it running."""
        await self.admin.close()

    async def _end(self, state: ContainerState) -> None:
        await self._runtime.signal(state.id, signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_SECONDS):
                async for ended in self._runtime.events():
                    if ended.id == state.id:
                        break
        except TimeoutError:
            await self._runtime.kill(state.id)
        await self._runtime.remove(state.id)

    def _write_bootstrap(self, generation: "Generation") -> Path:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / f"bootstrap-{generation.serial}.json"
        replace_file(path, self._bootstrap)
        for old in self._directory.glob("bootstrap-*.json"):
            if old != path and old.stem.removeprefix("bootstrap-") != str(generation.serial - 1):
                old.unlink(missing_ok=True)
        return path


class Generation(Struct, frozen=True):
    """Which of the node's Envoys one is; its container's id says it."""

    digest: str
    serial: int
    """Counts all that were started; 0: by a weft that could not have them hand over."""
    epoch: int
    """Counts those that took over from one another: Envoy's `--restart-epoch`."""

    @classmethod
    def of(cls, text: str) -> "Generation":
        digest, *numbers = text.split("-")
        serial, epoch = (int(n) for n in numbers) if len(numbers) == 2 else (0, 0)
        return cls(digest, serial, epoch)

    @property
    def text(self) -> str:
        return f"{self.digest}-{self.serial}-{self.epoch}"


def program_facts(path: str) -> bytes:
    """What tells one program from another at the same path: an upgrade replaces the file."""
    try:
        found = os.stat(path)
    except OSError:
        return path.encode()
    return f"{path} {found.st_size} {found.st_mtime_ns}".encode()


async def hot_restart_version(path: str) -> str:
    """What both programs must agree on to hand over; empty when it cannot be found out."""
    try:
        process = await asyncio.create_subprocess_exec(
            path, "--hot-restart-version", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        _, said = await asyncio.wait_for(process.communicate(), ADMIN_TIMEOUT_SECONDS)
    except (OSError, TimeoutError):
        return ""
    return said.decode(errors="replace").strip()

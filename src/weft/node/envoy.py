"""The node proxy as a process: started and kept up by the pod host, asked over its admin socket.

The pod host, not weft, starts Envoy again when it ends: it is back within a second even while
weft is down.
"""

import asyncio
import hashlib
import json
import os
import signal
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from weft.lib import envoy_binary
from weft.node.runtime import ContainerRuntime, ContainerSpec, ContainerState

READY_TIMEOUT_SECONDS = 20.0
STOP_TIMEOUT_SECONDS = 5.0
ADMIN_TIMEOUT_SECONDS = 5.0
_POLL_SECONDS = 0.02
_ID_PREFIX = "envoy-"


class EnvoyError(Exception):
    """Envoy cannot be started, or its admin interface does not answer."""


def admin_socket(run_dir: Path) -> str:
    """Where the admin interface is expected; the bootstrap must say the same."""
    return str(run_dir / "envoy.sock")


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
            connector = aiohttp.UnixConnector(self._path)
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
    total = 0
    for cluster in clusters.get("cluster_statuses", ()):
        if cluster.get("name") in ignored:
            continue
        for host in cluster.get("host_statuses", ()):
            place = host.get("address", {}).get("socket_address", {})
            if place.get("address") != address or (ports and place.get("port_value") not in ports):
                continue
            stats = {stat["name"]: int(stat.get("value", 0)) for stat in host.get("stats", ())}
            total += stats.get("rq_active", 0)
    return total


class EnvoySupervisor:
    """One Envoy per node. `start` adopts a running one that was started just like this."""

    def __init__(
        self,
        runtime: ContainerRuntime,
        run_dir: Path,
        bootstrap: Mapping[str, Any],
        *,
        arguments: tuple[str, ...],
        log_path: Path | None = None,
        envoy_path: str = "",
    ) -> None:
        """`bootstrap` must open the admin interface at `admin_socket(run_dir)`. `arguments` is
        the command line after `-c FILE`."""
        self._runtime = runtime
        self._directory = run_dir / "envoy"
        self._log_path = log_path or self._directory / "envoy.log"
        self._path = envoy_path or envoy_binary.envoy_path()
        self._arguments = arguments
        self._bootstrap = json.dumps(bootstrap, indent=1, sort_keys=True).encode()
        parts = (self._path.encode(), *(a.encode() for a in self._arguments), self._bootstrap)
        digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]
        self.container_id = _ID_PREFIX + digest
        """Says how it was started, so that a running one is adopted only if nothing changed."""
        self.admin = EnvoyAdmin(admin_socket(run_dir))

    async def start(self) -> bool:
        """Start it, or adopt it (True). EnvoyError when it cannot be started."""
        adopted = False
        for state in await self._runtime.list():
            if not state.id.startswith(_ID_PREFIX):
                continue
            if state.id == self.container_id and state.exit_code is None:
                adopted = True
            else:
                await self._end(state)
        if adopted:
            return True
        config = self._write_bootstrap()
        state = await self._runtime.start(
            ContainerSpec(
                id=self.container_id,
                argv=(self._path, "-c", str(config), *self._arguments),
                env={},
                log_path=str(self._log_path),
                respawn=True,
            )
        )
        if state.exit_code is not None:
            raise EnvoyError(f"Envoy cannot be started: {state.message}")
        return False

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
        states = {state.id: state for state in await self._runtime.list()}
        return states.get(self.container_id)

    async def stop(self) -> None:
        """End it; it is not started again."""
        state = await self.state()
        if state is not None:
            await self._end(state)
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

    def _write_bootstrap(self) -> Path:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / "bootstrap.json"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(self._bootstrap)
        return path

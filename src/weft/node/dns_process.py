"""The node's DNS server as a process: started and kept up by the pod host, so that names are
answered while weft does not run."""

import asyncio
import contextlib
import hashlib
import os
import signal
import sys
from pathlib import Path

from weft import __version__
from weft.node.envoy import program_facts
from weft.node.runtime import ContainerRuntime, ContainerSpec, ContainerState

PREFIX = "dns-"
PROGRAM = Path(__file__).parent / "dns"
NAMES_FILE = "names"
READY_TIMEOUT_SECONDS = 20.0
STOP_TIMEOUT_SECONDS = 5.0
_POLL_SECONDS = 0.01
LOG_BYTES_SHOWN = 500


def names_file(run_dir: Path) -> Path:
    """Where the names of now are."""
    return run_dir / "dns" / NAMES_FILE


def is_dns(container_id: str) -> bool:
    """Whether a container of the pod host is a node's DNS server."""
    return container_id.startswith(PREFIX)


class DnsProcess:
    """`start` adopts one that was started just like this; one that was started differently ends
    when the new one answers: both listen meanwhile."""

    def __init__(
        self,
        runtime: ContainerRuntime,
        run_dir: Path,
        address: str,
        port: int,
        *,
        log_path: Path,
        netns: str = "",
    ) -> None:
        """`netns` is the path of the network namespace to listen in when that is not the pod
        host's."""
        self._runtime = runtime
        self._directory = run_dir / "dns"
        self._log_path = log_path
        place = (str(names_file(run_dir)), address, str(port))
        parts = [sys.executable, __version__, *place, netns]
        parts += [program_facts(str(p)).decode() for p in sorted(PROGRAM.glob("*.py"))]
        if netns:
            parts.append(str(os.stat(netns).st_ino))
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
        self._id = f"{PREFIX}{digest}"
        self._bound = self._directory / f"{self._id}.port"
        self._argv = (sys.executable, "-I", str(PROGRAM), *place, str(self._bound), netns)

    async def start(self) -> None:
        """Start it, or adopt it. OSError when it cannot be started."""
        for state in await self._states():
            if state.exit_code is not None:
                await self._runtime.remove(state.id)
            elif state.id == self._id:
                return
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._bound.unlink(missing_ok=True)
        state = await self._runtime.start(
            ContainerSpec(
                id=self._id,
                argv=self._argv,
                env={},
                log_path=str(self._log_path),
                of_node=True,
                respawn=True,
            )
        )
        if state.exit_code is not None:
            raise OSError(f"the DNS server cannot be started: {state.message}")

    async def ready(self) -> int:
        """Wait until it listens, and end those before it; its port. OSError."""
        try:
            async with asyncio.timeout(READY_TIMEOUT_SECONDS):
                while not self._bound.exists():  # noqa: ASYNC110 - another process's state
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise OSError(
                f"the DNS server did not start within {READY_TIMEOUT_SECONDS:g} s; its log:"
                f" {self._log_path}: {self._said()}"
            ) from None
        port = int(self._bound.read_text())
        await self._end(but=self._id)
        return port

    async def stop(self) -> None:
        """End all of the node; they are not started again."""
        await self._end()

    async def _end(self, but: str = "") -> None:
        ending = {state.id for state in await self._states()} - {but}
        for each in ending:
            await self._runtime.signal(each, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_SECONDS):
                while await self._running(ending):  # noqa: ASYNC110 - another process's state
                    await asyncio.sleep(_POLL_SECONDS)
        for each in ending:
            await self._runtime.remove(each)
            (self._directory / f"{each}.port").unlink(missing_ok=True)

    async def _running(self, ids: set[str]) -> bool:
        return any(s.id in ids and s.exit_code is None for s in await self._states())

    async def _states(self) -> list[ContainerState]:
        return [state for state in await self._runtime.list() if is_dns(state.id)]

    def _said(self) -> str:
        try:
            return self._log_path.read_text(errors="replace")[-LOG_BYTES_SHOWN:].strip()
        except OSError:
            return ""

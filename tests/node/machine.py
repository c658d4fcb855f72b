"""What tests of the machine side share: run directories short enough for sockets, waiting."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from weft.node.podhost_client import PodhostRuntime, ensure_podhost
from weft.node.runtime import ContainerSpec, ContainerState

ENV = {"PATH": os.environ["PATH"], "GREETING": "hello"}


@asynccontextmanager
async def podhost() -> AsyncIterator[tuple[PodhostRuntime, Path]]:
    """A pod host of its own, ended with everything in it."""
    directory = Path(tempfile.mkdtemp(prefix="weft-t"))
    runtime = await ensure_podhost(directory / "run")
    try:
        yield runtime, directory
    finally:
        await runtime.shutdown()
        await runtime.close()
        shutil.rmtree(directory)


def shell(name: str, script: str, directory: Path, **more: Any) -> ContainerSpec:
    """A container that runs `script`, with a log."""
    more.setdefault("env", ENV)
    return ContainerSpec(
        id=name, argv=("/bin/sh", "-c", script), log_path=str(log_of(directory, name)), **more
    )


def log_of(directory: Path, name: str) -> Path:
    return directory / "log" / f"{name}.log"


def lines(directory: Path, name: str, stream: str = "stdout") -> list[str]:
    """What a container printed, without the log's columns."""
    path = log_of(directory, name)
    rows = [row.split(" ", 3) for row in path.read_text().splitlines()] if path.exists() else []
    return [row[3] for row in rows if len(row) == 4 and row[1] == stream]  # the last may grow


async def ended(runtime: PodhostRuntime, name: str, seconds: float = 20) -> ContainerState:
    """Its end, from the events."""
    async with asyncio.timeout(seconds):
        async for state in runtime.events():
            if state.id == name:
                return state
    raise AssertionError("events ended")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)

"""Keeps the access log from growing without end: moved aside by size, and opened anew by Envoy."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from weft.node.envoy import EnvoyError

log = logging.getLogger("weft.mesh")

FILE_BYTES_MAX = 64 << 20
FILES_MAX = 4
"""With the one that is written to: `access.log`, `access.log.1` and so on, the last the oldest."""
LOOK_SECONDS = 5.0


def rotate(path: Path, bytes_max: int = FILE_BYTES_MAX) -> bool:
    """Move the file aside if it is too large; whoever writes it goes on doing so until it opens the
    path again. OSError."""
    try:
        if path.stat().st_size < bytes_max:
            return False
    except FileNotFoundError:
        return False
    names = [path, *(path.with_name(f"{path.name}.{n}") for n in range(1, FILES_MAX))]
    for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
        if newer.exists():
            os.replace(newer, older)
    return True


async def keep(path: Path, reopen: Callable[[], Awaitable[object]]) -> None:
    """Until cancelled. `reopen` has Envoy open its logs anew."""
    waiting = not path.exists() and path.with_name(f"{path.name}.1").exists()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            waiting = await asyncio.to_thread(rotate, path) or waiting
            if waiting:
                await reopen()
                waiting = False
        except (OSError, EnvoyError) as error:
            log.warning("access log not rotated error=%s", error)

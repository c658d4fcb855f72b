"""Waiting in tests for what comes true soon."""

import asyncio
from collections.abc import Callable
from typing import Any

LOOK_SECONDS = 0.005


async def until(holds: Callable[[], Any], seconds: float = 10.0) -> Any:
    """The first true value of `holds()`. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not (value := holds()):  # noqa: ASYNC110 - anything may make it true
            await asyncio.sleep(LOOK_SECONDS)
    return value

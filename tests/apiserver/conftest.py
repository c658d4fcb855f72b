"""Fixtures of the API server's tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.apiserver.serving import Running, running
from tests.apiserver.support import Api


@pytest_asyncio.fixture
async def api() -> Api:
    """Verbs over a memory store that has a namespace `default`."""
    made = Api()
    await made.create("namespaces", {"metadata": {"name": "default"}})
    return made


@pytest_asyncio.fixture
async def live(tmp_path: Path) -> AsyncIterator[Running]:
    """A server on a free port, with TLS."""
    async with running(tmp_path) as found:
        yield found

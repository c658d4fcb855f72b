"""Fixtures of the API server's tests."""

import pytest_asyncio

from tests.apiserver.support import Api


@pytest_asyncio.fixture
async def api() -> Api:
    """Verbs over a memory store that has a namespace `default`."""
    made = Api()
    await made.create("namespaces", {"metadata": {"name": "default"}})
    return made

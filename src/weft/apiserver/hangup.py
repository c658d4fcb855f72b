"""Notices that a client hung up while nobody reads from it: what it sent before waits to be taken,
so its end is not met by reading. The kernel knows, unless its buffers are full: then the end has
not come yet."""

import asyncio
import contextlib
import select
from collections.abc import AsyncIterator

from weft.lib.aio import Tasks

CHECK_SECONDS = 1.0
GRACE_SECONDS = 2.0
"""For whoever reads to meet the end by itself."""


async def hung_up(transport: asyncio.BaseTransport) -> None:
    """Returns when the other side has closed its connection, or this one is closing."""
    socket = transport.get_extra_info("socket")
    poll = select.poll()
    if socket is not None and socket.fileno() >= 0:
        poll.register(socket.fileno(), select.POLLRDHUP)
    while not transport.is_closing() and not poll.poll(0):  # noqa: ASYNC110 - the kernel is asked
        await asyncio.sleep(CHECK_SECONDS)


@contextlib.asynccontextmanager
async def ends_with(transport: asyncio.BaseTransport | None) -> AsyncIterator[None]:
    """The block ends, with ConnectionResetError, soon after the client hung up."""
    task = asyncio.current_task()
    if transport is None or task is None:
        yield
        return
    late = False

    async def watch() -> None:
        nonlocal late
        await hung_up(transport)
        await asyncio.sleep(GRACE_SECONDS)
        late = True
        task.cancel()

    tasks = Tasks()
    tasks.spawn(watch(), "hang-up")
    try:
        yield
    except asyncio.CancelledError:
        if not late:
            raise
        task.uncancel()
        raise ConnectionResetError("the client hung up") from None
    finally:
        await tasks.close()

"""Pipes on the event loop."""

import asyncio
import os
import pty

import pytest

from weft.lib.fdio import FdStream


async def test_waits_for_both_sides() -> None:
    read_end, write_end = os.pipe()
    reader, writer = FdStream(read_end), FdStream(write_end)
    sent = os.urandom(1_000_000)  # more than a pipe holds
    writing = asyncio.ensure_future(writer.write(sent))
    received = b""
    while len(received) < len(sent):
        received += await reader.read(4096)
    await writing
    assert received == sent
    writer.close()
    assert await reader.read() == b""
    reader.close()


async def test_nobody_reads() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    writer = FdStream(write_end)
    with pytest.raises(BrokenPipeError):
        await writer.write(b"x")
    writer.close()
    with pytest.raises(BrokenPipeError):
        await writer.write(b"x")


async def test_closing_wakes_who_waits() -> None:
    read_end, write_end = os.pipe()
    reader = FdStream(read_end)
    waiting = asyncio.ensure_future(reader.read())
    await asyncio.sleep(0.01)
    reader.close()
    assert await waiting == b""
    reader.close()
    os.close(write_end)


async def test_a_terminal_ends_with_its_other_side() -> None:
    outer, inner = pty.openpty()
    reader = FdStream(outer)
    os.write(inner, b"hello")
    assert await reader.read() == b"hello"
    os.close(inner)
    assert await reader.read() == b""
    reader.close()

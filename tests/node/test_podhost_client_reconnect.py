"""The connection to the pod host, when it is lost at the worst moments."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.waiting import until
from weft.node.podhost import wire
from weft.node.podhost_client import PodhostRuntime

ENDED = {"id": "c", "exit_code": 0, "finished_at": 1.0}


class Host:
    """A pod host that greets, and hangs up on some of the questions that follow."""

    def __init__(self) -> None:
        self.greetings = 0
        self.hang_ups = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        frames = wire.Frames()
        while data := await reader.read(1 << 16):
            for message in frames.feed(data):
                if message["op"] == "hello":
                    self.greetings += 1
                elif self.hang_ups:
                    self.hang_ups -= 1
                    writer.close()
                    return
                facts = {"version": wire.PROTOCOL_VERSION, "pid": 7, "cgroups": "none"}
                facts |= {"privilege": "none", "cgroups_reason": ""}
                answer = {"states": [ENDED]} if message["op"] == "list" else facts
                writer.write(wire.encode({"re": message["n"], **answer}))

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    host = Host()
    server = await asyncio.start_unix_server(host.serve, str(tmp_path / wire.SOCKET_NAME))
    yield host
    server.close()


async def test_a_host_lost_right_after_the_greeting_is_found_again(
    host: Host, tmp_path: Path
) -> None:
    runtime = PodhostRuntime(tmp_path)
    await runtime.connect()
    host.hang_ups = 2
    host.hang_up()
    await until(lambda: host.greetings >= 4 and not host.hang_ups)
    host.hang_up()
    await until(lambda: host.greetings >= 5)
    assert [state.id for state in await runtime.list()] == ["c"]
    await runtime.close()


async def test_an_end_is_told_once_and_forgotten_with_its_container(
    host: Host, tmp_path: Path
) -> None:
    runtime = PodhostRuntime(tmp_path)
    await runtime.connect()
    events = runtime.events()
    assert (await anext(events)).id == "c"
    again = asyncio.ensure_future(anext(events))
    host.hang_up()
    await until(lambda: host.greetings == 2)
    await asyncio.sleep(0.1)
    assert not again.done()
    await runtime.remove("c")
    host.hang_up()
    assert (await asyncio.wait_for(again, 5)).id == "c"
    await runtime.close()

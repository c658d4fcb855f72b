"""Counters in a real Redis."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from weft.ratelimit.gcra import Quota
from weft.ratelimit.redis_counters import KEY_PREFIX, RedisCounters

pytestmark = [pytest.mark.slow, pytest.mark.tools("redis-server")]

HOURLY = Quota(requests=3, per=3600.0, burst=3)
START_SECONDS_MAX = 10.0


class Server:
    """A Redis of our own on a Unix socket."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "redis.sock"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    def start(self) -> None:
        program = shutil.which("redis-server")
        assert program
        self.process = subprocess.Popen(
            [program, "--port", "0", "--unixsocket", str(self.path), "--save", ""],
            stdout=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None


@pytest.fixture
def redis() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
async def counters(redis: Server) -> AsyncIterator[RedisCounters]:
    made = RedisCounters(redis.url, timeout=5.0)
    await answering(made)
    yield made
    await made.close()


async def answering(counters: RedisCounters) -> None:
    async with asyncio.timeout(START_SECONDS_MAX):
        while True:
            try:
                await counters.take(("try",), Quota(1, 0.001, 1), 0.0, 1)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                return


async def take(counters: RedisCounters, *key: str, quota: Quota = HOURLY, hits: int = 1) -> bool:
    return (await counters.take(key, quota, 0.0, hits)).allowed


async def test_a_key_has_its_burst_and_refusals_say_when(counters: RedisCounters) -> None:
    verdicts = [await counters.take(("a", "joe"), HOURLY, 0.0, 1) for _ in range(4)]
    assert [v.allowed for v in verdicts] == [True, True, True, False]
    assert [v.remaining for v in verdicts] == [2, 1, 0, 0]
    assert 1190 < verdicts[3].retry_after <= 1200
    assert 3590 < verdicts[3].reset <= 3600
    assert await take(counters, "a", "jim"), "each key by itself"
    assert not await take(counters, "a", "ann", hits=4), "more at once than the burst"
    assert await take(counters, "a", "ann", hits=3)


async def test_what_was_taken_comes_back(counters: RedisCounters) -> None:
    quick = Quota(requests=10, per=1.0, burst=1)
    assert await take(counters, "q", quota=quick)
    assert not await take(counters, "q", quota=quick)
    await asyncio.sleep(0.15)
    assert await take(counters, "q", quota=quick)


async def test_those_who_share_them_take_from_one_allowance(
    redis: Server, counters: RedisCounters
) -> None:
    """Forty questions at once from two control planes: three pass."""
    other = RedisCounters(redis.url, timeout=5.0)
    asked = [take(each, "shared") for each in (counters, other) * 20]
    assert sum(await asyncio.gather(*asked)) == 3
    await other.close()


async def test_keys_are_forgotten_when_they_are_full_again(counters: RedisCounters) -> None:
    await take(counters, "short", quota=Quota(100, 1.0, 1))
    await take(counters, "long")
    await asyncio.sleep(0.1)
    names = await counters._redis.keys(f"{KEY_PREFIX}*")
    assert names == [f"{KEY_PREFIX}long".encode()]


async def test_out_of_reach_is_an_oserror_and_heals(redis: Server, counters: RedisCounters) -> None:
    redis.stop()
    with pytest.raises(OSError, match="Redis"):
        await take(counters, "gone")
    redis.start()
    await answering(counters)
    assert await take(counters, "gone")


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match="scheme"):
        RedisCounters("http://nothing")

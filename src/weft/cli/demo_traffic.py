"""The demo's visitors: a steady stream of requests through the gateway, every answer counted."""

import asyncio
import itertools
import sys
from collections import Counter
from collections.abc import Sequence

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector
from msgspec import Struct

from weft.lib.aio import Tasks, now
from weft.lib.instance import read_running

REQUEST_SECONDS_MAX = 10.0
VISITORS = 8
PAUSE_SECONDS = 0.02
LOOK_SECONDS = 1.0
FAILURES_KEPT_MAX = 20


class Visit(Struct, frozen=True):
    """One kind of request that visitors make."""

    name: str
    path: str
    host: str


class Visitors:
    """Concurrent visitors that make the given visits in turn until stopped."""

    def __init__(self, base_url: str, visits: Sequence[Visit]) -> None:
        self.base_url = base_url
        self.visits = tuple(visits)
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self.failed = 0
        self._tasks = Tasks()
        self._session: ClientSession | None = None

    @property
    def total(self) -> int:
        return sum(self.answers.values())

    async def start(self) -> None:
        self._session = ClientSession(
            timeout=ClientTimeout(total=REQUEST_SECONDS_MAX), connector=TCPConnector(limit=VISITORS)
        )
        for number in range(VISITORS):
            self._tasks.spawn(self._visit_in_turn(number), f"visitor-{number}")

    async def stop(self) -> None:
        await self._tasks.close()
        if self._session:
            await self._session.close()

    async def _visit_in_turn(self, number: int) -> None:
        turns = itertools.cycle(self.visits)
        for visit in itertools.islice(turns, number, None):
            await self._visit(visit)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _visit(self, visit: Visit) -> None:
        assert self._session is not None
        headers = {"Host": visit.host} if visit.host else {}
        started = now()
        try:
            url = self.base_url + visit.path
            async with self._session.get(url, headers=headers) as answer:
                body = await answer.text()
            problem = "" if answer.status == 200 else f"{answer.status} {body[:80]}"
        except (ClientError, TimeoutError) as error:
            problem = repr(error)
        self.answers[visit.name] += 1
        if problem:
            self.failed += 1
            if len(self.failures) < FAILURES_KEPT_MAX:
                self.failures.append(f"{visit.name} after {now() - started:.2f} s: {problem}")


async def keep_visiting(data_dir: str, base_url: str, visits: Sequence[Visit]) -> None:
    """Visit for as long as the instance of this data directory runs."""
    visitors = Visitors(base_url, visits)
    await visitors.start()
    try:
        while read_running(data_dir) is not None:  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        await visitors.stop()


if __name__ == "__main__":
    asyncio.run(
        keep_visiting(
            sys.argv[1], sys.argv[2], msgspec.json.decode(sys.argv[3], type=tuple[Visit, ...])
        )
    )

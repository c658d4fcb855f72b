"""Who is served next when there is more to do than can be done: priority and fairness.

As Kubernetes' API Priority and Fairness, in small: each request belongs to a level, each level has
seats and a bounded queue of its own, and within a level the flows (users) take turns, so one
client that sends without end delays nobody but itself. Requests in process never come here, and
streams (watches, logs) give their seat back once they run.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from msgspec import Struct

from weft.apiserver import failures
from weft.apiserver.access import User

QUEUE_SECONDS_MAX = 15.0
"""How long a request waits for a seat before it is answered 429."""
RETRY_AFTER_SECONDS = 1


class Level(Struct, frozen=True):
    """One priority level."""

    seats: int
    """Requests that are worked on at once."""
    queue_requests_max: int
    """Requests that wait; more are answered 429 at once."""
    flow_requests_max: int
    """Requests of one user that wait."""


LEVELS: Mapping[str, Level] = {
    "system": Level(200, 2000, 500),
    "workloads": Level(100, 1000, 200),
    "users": Level(200, 1000, 300),
    "anonymous": Level(10, 50, 50),
}
"""system: nodes and the control plane's own users. workloads: service accounts."""
_SYSTEM_GROUPS = ("system:nodes", "system:masters")


def level_of(user: User) -> str:
    """The level that a user's requests belong to."""
    if "system:unauthenticated" in user.groups:
        return "anonymous"
    if "system:serviceaccounts" in user.groups:
        account_namespace = user.name.split(":")[2:3]
        return "system" if account_namespace == ["kube-system"] else "workloads"
    if user.name.startswith("system:") and any(g in user.groups for g in _SYSTEM_GROUPS):
        return "system"
    return "users"


class Fairness:
    """Seats and queues of every level. Levels do not lend each other seats."""

    def __init__(
        self, levels: Mapping[str, Level] = LEVELS, queue_seconds: float = QUEUE_SECONDS_MAX
    ) -> None:
        self._queues = {name: _Queue(level) for name, level in levels.items()}
        self._queue_seconds = queue_seconds
        self.rejected: dict[str, int] = dict.fromkeys(levels, 0)
        """Requests that were answered 429, by level."""

    @asynccontextmanager
    async def seat(self, user: User) -> AsyncIterator[None]:
        """Hold a seat while the block runs. Raises ApiError 429 when none comes free in time."""
        name = level_of(user)
        queue = self._queues[name]
        try:
            if not queue.take_free():
                async with asyncio.timeout(self._queue_seconds):
                    await queue.take(user.name)
        except (TimeoutError, _Full) as error:
            self.rejected[name] += 1
            raise failures.too_many_requests(RETRY_AFTER_SECONDS) from error
        try:
            yield
        finally:
            queue.give()

    def waiting(self, name: str) -> int:
        """Requests that wait for a seat of a level."""
        return self._queues[name].waiting


class _Full(Exception):
    """No place in the queue."""


class _Queue:
    """The seats of one level, and who waits for them: a queue per flow, served in turn."""

    def __init__(self, level: Level) -> None:
        self._level = level
        self._free = level.seats
        self._flows: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self.waiting = 0

    def take_free(self) -> bool:
        """Take a seat when one is free: then nobody waits for it."""
        if self._free <= 0:
            return False
        self._free -= 1
        return True

    async def take(self, flow: str) -> None:
        """Wait for a seat."""
        queue = self._flows.setdefault(flow, deque())
        level = self._level
        if self.waiting >= level.queue_requests_max or len(queue) >= level.flow_requests_max:
            self._forget(flow)
            raise _Full
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self.waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give()  # the seat came in the same moment as the end of the wait
            raise
        finally:
            self.waiting -= 1
            if turn in queue:
                queue.remove(turn)
            self._forget(flow)

    def give(self) -> None:
        """Give the seat to the next flow in turn, or set it free."""
        for flow, queue in list(self._flows.items()):
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    self._flows.move_to_end(flow)
                    turn.set_result(None)
                    return
        self._free += 1

    def _forget(self, flow: str) -> None:
        if not self._flows.get(flow, True):
            del self._flows[flow]

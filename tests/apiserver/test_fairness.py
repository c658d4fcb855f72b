"""Priority and fairness: who is served under overload, who is told to come again."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.apiserver.serving import GUEST_TOKEN, Running
from weft.api.errors import ApiError
from weft.apiserver.access import ANONYMOUS, AUTHENTICATED, MASTERS, User
from weft.apiserver.fairness import LEVELS, Fairness, Level, level_of

ALICE, BOB = User("alice", (AUTHENTICATED,)), User("bob", (AUTHENTICATED,))
NODE = User("system:node:n1", ("system:nodes", AUTHENTICATED))
ACCOUNT = User("system:serviceaccount:shop:robot", ("system:serviceaccounts", AUTHENTICATED))
SYSTEM_ACCOUNT = User("system:serviceaccount:kube-system:x", ("system:serviceaccounts",))


@pytest.mark.parametrize(
    ("user", "level"),
    [
        (ALICE, "users"), (User("admin", (MASTERS,)), "users"), (ANONYMOUS, "anonymous"),
        (NODE, "system"), (ACCOUNT, "workloads"), (SYSTEM_ACCOUNT, "system"),
        (User("system:pretender", (AUTHENTICATED,)), "users"),
    ],
)  # fmt: skip
def test_levels(user: User, level: str) -> None:
    assert level_of(user) == level


def small(seats: int = 1, queue: int = 100, flow: int = 100, seconds: float = 10) -> Fairness:
    return Fairness(dict.fromkeys(LEVELS, Level(seats, queue, flow)), seconds)


async def in_order(fairness: Fairness, *users: User) -> list[str]:
    """Whose requests are served, in turn, when all of them wait for one seat."""
    served: list[str] = []

    async def one(user: User) -> None:
        async with fairness.seat(user):
            served.append(user.name)
            await asyncio.sleep(0)

    async with fairness.seat(User("first")):
        tasks = [asyncio.ensure_future(one(user)) for user in users]
        await asyncio.sleep(0.01)
    await asyncio.gather(*tasks)
    return served


async def test_users_take_turns() -> None:
    served = await in_order(small(), *[ALICE] * 6, BOB, BOB)
    assert served[:4] == ["alice", "bob", "alice", "bob"]
    assert served[4:] == ["alice"] * 4


async def test_levels_do_not_wait_for_each_other() -> None:
    fairness = small()
    async with (
        fairness.seat(ALICE),
        asyncio.timeout(1),
        fairness.seat(NODE),
        fairness.seat(ACCOUNT),
    ):
        pass


async def test_full_queues_and_long_waits_are_answered_429() -> None:
    fairness = small(queue=2, flow=1, seconds=0.05)
    async with AsyncExitStack() as held:
        await held.enter_async_context(fairness.seat(ALICE))
        waiting = [asyncio.ensure_future(fairness.seat(u).__aenter__()) for u in (ALICE, BOB)]
        await asyncio.sleep(0.01)
        with pytest.raises(ApiError) as caught:
            await fairness.seat(ALICE).__aenter__()  # her queue is full
        assert (caught.value.code, caught.value.reason) == (429, "TooManyRequests")
        assert caught.value.details["retryAfterSeconds"] == 1
        for late in waiting:
            with pytest.raises(ApiError, match="too many requests"):
                await late
        assert fairness.rejected["users"] == 3
        assert fairness.waiting("users") == 0
    async with asyncio.timeout(1), fairness.seat(BOB):
        pass


async def test_a_client_that_goes_away_leaves_the_queue() -> None:
    fairness = small()
    async with fairness.seat(ALICE):
        gone = asyncio.ensure_future(fairness.seat(BOB).__aenter__())
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.sleep(0.01)
        assert fairness.waiting("users") == 0
    async with asyncio.timeout(1), fairness.seat(ALICE):
        pass


async def test_over_http(live: Running) -> None:
    """A client that floods is told when to come again, and streams hold no seat."""
    server = live.server._server
    server.fairness = small(seats=1, queue=1, flow=1)
    maps = "/api/v1/namespaces/default/configmaps"
    async with live.session.get(f"{maps}?watch=true") as stream:
        assert stream.status == 200
        assert (await live.json("GET", maps))[0] == 200
        async with AsyncExitStack() as held:
            await held.enter_async_context(server.fairness.seat(User("x", (MASTERS,))))
            waiting = asyncio.ensure_future(live.json("GET", maps))
            while not server.fairness.waiting("users"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            async with live.session.get(maps) as answer:
                assert answer.status == 429
                assert answer.headers["Retry-After"] == "1"
                assert (await answer.json())["reason"] == "TooManyRequests"
            headers = {"Authorization": f"Bearer {GUEST_TOKEN}"}
            assert (await live.json("GET", maps, headers=headers))[0] in (403, 429)
        assert (await waiting)[0] == 200
    async with live.session.get("/metrics") as page:
        text = await page.text()
    assert 'apiserver_flowcontrol_rejected_requests_total{priority_level="users"} 1' in text

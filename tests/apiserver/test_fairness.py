"""Priority and fairness: who is served under overload, who is told to come again."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.apiserver import webhooks
from tests.apiserver.serving import GUEST_TOKEN, TOKEN, Running
from tests.apiserver.support import config_map, kind
from tests.apiserver.test_app_kubectl import LATEST, Kubectl
from tests.waiting import until
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


@pytest.mark.slow
@pytest.mark.skipif(not LATEST, reason="kubectl is not installed")
async def test_overload_at_the_real_limits(live: Running, tmp_path: Path) -> None:
    """One user holds all seats of the level and fills its own queue, each request on a connection
    of its own: what is too much is told when to come again, kubectl does so, and nodes and weft's
    own controllers notice nothing."""
    level = LEVELS["users"]
    node = {"Authorization": "Bearer node"}
    tokens = {TOKEN: User("flood", (MASTERS, AUTHENTICATED)), "node": NODE}
    live.server.use_tokens(tokens)
    local, maps = live.server.local_client(), "/api/v1/namespaces/default/configmaps"
    async with webhooks.serving(tmp_path) as webhook:
        slow = webhook.hook("slow", webhooks.rule("", "configmaps"), timeoutSeconds=30)
        slow["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": "default"}}
        configuration = {"metadata": {"name": "slow"}, "webhooks": [slow]}
        await local.create(kind("validatingwebhookconfigurations"), configuration)
        webhook.open.clear()
        flood = level.seats + level.flow_requests_max + 50
        connector = aiohttp.TCPConnector(ssl=live.trust, limit=0)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession(live.url, connector=connector, headers=headers) as session:

            async def one(number: int) -> tuple[int, str]:
                async with session.post(maps, json=config_map(f"c{number}")) as answer:
                    return answer.status, answer.headers.get("Retry-After", "")

            calls = [asyncio.ensure_future(one(n)) for n in range(flood)]
            await until(lambda: sum(call.done() for call in calls) >= 50, 60)
            assert {call.result() for call in calls if call.done()} == {(429, "1")}
            assert live.server._server.fairness.waiting("users") == level.flow_requests_max
            # The level is full now; what the control plane needs goes first all the same.
            async with live.session.get("/api/v1/nodes", headers=node) as answer:
                assert answer.status == 200
            await local.create(kind("configmaps"), config_map("own"), "kube-system")
            kubectl = asyncio.ensure_future(
                Kubectl(LATEST[0], live)("get", "cm", "own", "-n", "kube-system", "-v=6")
            )
            before = live.server._server.fairness.rejected["users"]
            await until(lambda: live.server._server.fairness.rejected["users"] > before, 60)
            assert webhook.running == level.seats
            webhook.open.set()
            answers = await asyncio.gather(*calls)
            assert "own" in await kubectl, "it came again"
        assert {status for status, _ in answers} == {201, 429}
        created = sum(status == 201 for status, _ in answers)
        listed = await local.list(kind("configmaps"), "default")
        assert len(listed.items) == created >= level.seats

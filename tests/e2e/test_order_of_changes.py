"""Objects that come and go in any order, under load: no request fails but for what the objects
themselves say, and never because a proxy got its parts in the wrong order."""

import asyncio
import functools
from collections.abc import Iterator

import pytest

from tests.e2e import manifests as m
from tests.e2e.conftest import ISOLATIONS, fresh
from tests.e2e.instance import Instance, Load, ask, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

HOST = {"Host": "web.example"}
ROUTE_CHANGES = 20
ROUNDS = 2


@pytest.fixture(scope="module")
def web() -> Iterator[Instance]:
    """Two versions of `web`, and `other`, behind a gateway."""
    for weft in fresh(ISOLATIONS[0]):
        weft.up()
        text = m.echo("web", "v1") + "---" + m.echo("web", "v2") + "---" + m.echo("other")
        text += m.service("web") + m.service("other") + m.gateway("front", "*.example")
        weft.weft("apply", "-f", "-", "--wait", stdin=text + route(m.to("web")))
        weft.wait_ready("app=web", 2)
        wait_for(functools.partial(answers, weft), "web answers")
        yield weft


def answers(weft: Instance) -> bool:
    return ask(weft, "/who", "web.example")[0] == 200


def route(http: str) -> str:
    return m.routes("web", http, "web.example", "front")


def subset(name: str) -> str:
    return f"- route: [{{destination: {{host: web, subset: {name}}}}}]"


async def apply(weft: Instance, text: str, *more: str) -> None:
    await asyncio.to_thread(weft.weft, "apply", "-f", "-", *more, stdin=text)


async def delete(weft: Instance, *what: str) -> None:
    await asyncio.to_thread(weft.weft, "delete", *what)


async def test_twenty_route_changes_cost_no_request(web: Instance) -> None:
    async with Load(web.gateway() + "/who", headers=HOST) as load:
        await load.until(100)
        for number in range(ROUTE_CHANGES):
            await apply(web, route(m.to("other" if number % 2 == 0 else "web")))
        await load.until(load.total + 100)
    assert load.failed == 0, load.report()


async def test_rules_come_before_routes_and_go_after_them(web: Instance) -> None:
    """Also when all of it changes at once: clusters first, removals last."""
    async with Load(web.gateway() + "/who", headers=HOST) as load:
        for number in range(ROUNDS):
            await apply(web, m.subsets("web") + route(subset(f"v{number % 2 + 1}")))
            await load.until(load.total + 30)
            await apply(web, route(m.to("web")))
            await delete(web, "destinationrule", "web")
            await load.until(load.total + 30)
    assert load.failed == 0, load.report()


async def test_a_route_before_its_rule_fails_in_words_only_until_the_rule_is_there(
    web: Instance,
) -> None:
    async with Load(web.gateway() + "/who", headers=HOST) as load:
        for _ in range(ROUNDS):
            early = functools.partial(
                web.run, "apply", "-f", "-", "--wait", stdin=route(subset("v1"))
            )
            assert (await asyncio.to_thread(early)).returncode == 1
            await apply(web, m.subsets("web"), "--wait")
            failed, total = load.failed, load.total
            await load.until(total + 50)
            # One request for each client may have been under way.
            assert load.failed <= failed + load.clients, load.report()
            await apply(web, route(m.to("web")), "--wait")
            await delete(web, "destinationrule", "web")
    assert load.statuses[503] > 0
    said = {body for body in load.bodies if "subset" in body}
    assert sum(load.bodies[body] for body in said) == load.failed, load.bodies
    assert not load.errors


async def test_a_rule_that_goes_before_its_route_fails_in_words_only(web: Instance) -> None:
    await apply(web, m.subsets("web") + route(subset("v2")), "--wait")
    async with Load(web.gateway() + "/who", headers=HOST) as load:
        await load.until(50)
        assert load.failed == 0
        await delete(web, "destinationrule", "web")
        await load.until(load.total + 50)
        await apply(web, route(m.to("web")), "--wait")
        failed = load.failed
        await load.until(load.total + 100)
        assert load.failed <= failed + load.clients
    said = {body for body in load.bodies if "subset" in body}
    assert sum(load.bodies[body] for body in said) == load.failed, load.bodies
    assert load.failed > 0


async def test_a_service_goes_and_comes_again(web: Instance) -> None:
    async with Load(web.gateway() + "/who", headers=HOST) as load:
        for _ in range(ROUNDS):
            await delete(web, "service", "web")
            await apply(web, m.service("web"))
            await asyncio.to_thread(wait_for, functools.partial(answers, web), "web answers again")
    said = {body for body in load.bodies if "is unknown" in body or "no healthy" in body}
    assert sum(load.bodies[body] for body in said) == load.failed, load.bodies
    assert not load.errors

"""Webhooks of Canaries: a real HTTP server is asked, as often as they say."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from weft.api.flagger.canary import CanaryWebhook
from weft.api.snapshot import ObjectSnapshot
from weft.controllers.canary_view import Question
from weft.daemon.canaries import answer_to
from weft.daemon.measuring import Measurer
from weft.lib.aio import now
from weft.telemetry.traffic import Traffic


def asked(statuses: list[int], retries: int | None) -> tuple[str, list[Any]]:
    """What the answer is when the server answers so, and the bodies that it got."""
    bodies: list[Any] = []

    async def hook(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        return web.Response(status=statuses[len(bodies) - 1], text="closed")

    async def work() -> str:
        app = web.Application()
        app.add_routes([web.post("/gate", hook)])
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        webhook = CanaryWebhook(
            name="gate", url=f"http://127.0.0.1:{port}/gate", timeout="20s", retries=retries
        )
        measurer = Measurer(ObjectSnapshot([]), Traffic(now()))
        try:
            question = Question("k", webhook=webhook, body={"name": "web"}, namespace="default")
            return (await answer_to(measurer, question)).error
        finally:
            await measurer.close()
            await runner.cleanup()

    return asyncio.run(work()), bodies


@pytest.mark.parametrize(
    ("statuses", "retries", "error", "times"),
    [
        ([200], None, "", 1), ([202], None, "", 1), ([403], None, "closed", 1),
        ([204], None, "status 204", 1), ([500, 200], 1, "", 2), ([500, 500], 1, "closed", 2),
    ],
)  # fmt: skip
def test_what_a_webhook_says(
    statuses: list[int], retries: int | None, error: str, times: int
) -> None:
    said, bodies = asked(statuses, retries)
    assert said == error
    assert bodies == [{"name": "web"}] * times


def test_a_webhook_that_is_not_there_refuses() -> None:
    async def work() -> str:
        measurer = Measurer(ObjectSnapshot([]), Traffic(now()))
        webhook = CanaryWebhook(name="gate", url="http://127.0.0.1:9/")
        try:
            return (await answer_to(measurer, Question("k", webhook=webhook))).error
        finally:
            await measurer.close()

    assert asyncio.run(work())

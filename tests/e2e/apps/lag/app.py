"""A program for end-to-end tests: answers with its name after a delay that can be changed; to at
most AT_ONCE requests at one time, the others wait. /limited answers 429 every other time, and says
in a header when to come again.
"""

import asyncio
import itertools
import os

from aiohttp import web

NAME = os.environ["NAME"]
STATE = {"delay": float(os.environ.get("DELAY", "0")), "sick": False}


PLACES = asyncio.Semaphore(int(os.environ.get("AT_ONCE", "10000")))
LIMITED = itertools.count()


async def answer(_: web.Request) -> web.Response:
    async with PLACES:
        await asyncio.sleep(STATE["delay"])
    return web.Response(text=NAME)


async def limited(request: web.Request) -> web.Response:
    if next(LIMITED) % 2:
        return web.Response(text=NAME)
    return web.Response(status=429, headers={"x-reset": request.query["seconds"]})


async def health(_: web.Request) -> web.Response:
    return web.Response(status=503 if STATE["sick"] else 200)


async def change(request: web.Request) -> web.Response:
    """POST /change?delay=0.1 or ?sick=true."""
    if "delay" in request.query:
        STATE["delay"] = float(request.query["delay"])
    STATE["sick"] = request.query.get("sick") == "true"
    return web.Response(text=NAME)


if __name__ == "__main__":
    app = web.Application()
    app.add_routes(
        [
            web.get("/health", health),
            web.get("/limited", limited),
            web.post("/change", change),
            web.get("/{tail:.*}", answer),
        ]
    )
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(app, host=os.environ.get("HOST"), port=port, access_log=None, print=None)

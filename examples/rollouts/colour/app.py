"""Says its colour."""

import os

from aiohttp import web

COLOUR = os.environ.get("COLOUR", "blue")


async def colour(_: web.Request) -> web.Response:
    return web.Response(text=COLOUR)


app = web.Application()
app.add_routes([web.get("/{tail:.*}", colour)])

if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    print(f"{COLOUR} listens on {port}", flush=True)
    web.run_app(app, host=os.environ.get("HOST"), port=port, print=None, access_log=None)

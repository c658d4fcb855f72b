"""The counter service: every GET /counter adds one to a counter kept in Redis."""

import os

from aiohttp import web
from redis.asyncio import Redis
from redis.exceptions import RedisError

redis = Redis(
    host=os.environ.get("REDIS_HOST", "redis"),
    port=int(os.environ.get("REDIS_PORT", "6379")),
    decode_responses=True,
    retry_on_timeout=True,
)


async def counter(_: web.Request) -> web.Response:
    try:
        return web.json_response({"counter": await redis.incr("counter")})
    except RedisError as error:
        return web.json_response({"error": f"redis: {error}"}, status=503)


async def healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok")


app = web.Application()
app.add_routes([web.get("/counter", counter), web.get("/healthz", healthz)])

if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    print(f"counter listens on {port}", flush=True)
    web.run_app(app, host=os.environ.get("HOST"), port=port, print=None, access_log=None)

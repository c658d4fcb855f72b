"""The sum service: GET /sum reads the counter from Redis and answers ten times its value."""

import os

from aiohttp import web
from redis.asyncio import Redis
from redis.exceptions import RedisError

FACTOR = 10
redis = Redis(
    host=os.environ.get("REDIS_HOST", "redis"),
    port=int(os.environ.get("REDIS_PORT", "6379")),
    decode_responses=True,
    retry_on_timeout=True,
)


async def total(_: web.Request) -> web.Response:
    try:
        count = int(await redis.get("counter") or 0)
    except RedisError as error:
        return web.json_response({"error": f"redis: {error}"}, status=503)
    return web.json_response({"counter": count, "sum": count * FACTOR})


async def healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok")


app = web.Application()
app.add_routes([web.get("/sum", total), web.get("/healthz", healthz)])

if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    print(f"sum listens on {port}", flush=True)
    web.run_app(app, host=os.environ.get("HOST"), port=port, print=None, access_log=None)

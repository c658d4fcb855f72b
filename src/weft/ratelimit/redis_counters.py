"""Counters in Redis, for control planes that share them or shall not forget them."""

import asyncio
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from weft.ratelimit.gcra import Quota, Verdict

KEY_PREFIX = "weft:ratelimit:"
TIMEOUT_SECONDS = 0.15
"""For an answer of Redis; proxies wait a little longer for ours."""
CONNECTIONS_MAX = 16

_TAKE = """
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local interval, allowance, hits = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local busy = math.max((tonumber(redis.call('GET', KEYS[1])) or 0) - now, 0)
busy = math.min(busy, allowance)
local wanted = busy + hits * interval
if wanted > allowance + 0.5 then
  return {0, tostring(busy), tostring(wanted)}
end
redis.call('SET', KEYS[1], string.format('%.0f', now + wanted),
           'PX', math.max(math.ceil(wanted / 1000), 1))
return {1, tostring(busy), tostring(wanted)}
"""
"""The counting rule of `gcra.take` as one atomic step, in microseconds of Redis' own clock: those
who share the counters need not agree on the time. A key lives until it is full again."""


class RedisCounters:
    """Counters in the Redis at a URL (`redis://host:6379/0`, `rediss://…`, `unix:///path`)."""

    def __init__(self, url: str, timeout: float = TIMEOUT_SECONDS) -> None:
        """ValueError for what is no such URL."""
        self._timeout = timeout
        # One that blocks: more questions than connections wait for one, within the time-out.
        pool = BlockingConnectionPool.from_url(
            url,
            timeout=timeout,
            max_connections=CONNECTIONS_MAX,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 1),
        )
        self._redis: Any = Redis.from_pool(pool)
        self._take = self._redis.register_script(_TAKE)

    async def take(self, key: tuple[str, ...], quota: Quota, now: float, hits: int) -> Verdict:
        """As the protocol says; `now` is not looked at."""
        interval = quota.interval * 1e6
        allowance = interval * quota.burst
        name = KEY_PREFIX + "\x1f".join(key)
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._take(keys=[name], args=[interval, allowance, hits])
        except (RedisError, TimeoutError) as error:
            raise OSError(f"Redis: {error or 'no answer in time'}") from error
        try:
            allowed, busy, wanted = answer[0] == 1, float(answer[1]), float(answer[2])
            taken = wanted if allowed else busy
            left = max(int((allowance - taken) / interval + 1e-6), 0)
        except (TypeError, ValueError, LookupError, OverflowError) as error:
            raise OSError(f"Redis: the answer makes no sense ({error})") from error
        if allowed:
            return Verdict(True, left, reset=wanted / 1e6)
        return Verdict(False, left, retry_after=(wanted - allowance) / 1e6, reset=busy / 1e6)

    async def close(self) -> None:
        await self._redis.aclose()

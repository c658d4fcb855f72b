"""From the mesh's shared rate limits to the rules of the rate limit service."""

from collections.abc import Mapping

from weft.mesh.model import MeshModel, RateLimit
from weft.ratelimit.counters import Counters, MemoryCounters
from weft.ratelimit.gcra import Quota
from weft.ratelimit.service import RateLimitService, Rule
from weft.xds.rate_limits import fixed_entries

REDIS_VARIABLE = "WEFT_RATE_LIMIT_REDIS"


def rules(model: MeshModel) -> tuple[Rule, ...]:
    """The limits that all proxies count together."""
    return tuple(_rule(limit) for limit in model.rate_limits)


class NoCounters(Exception):
    """The counters that were asked for cannot be had: says why and what to do."""


def counters(environment: Mapping[str, str]) -> Counters:
    """Where global limits are counted: in the Redis that the environment names, else here.

    The address may hold a password, so it stands in no command line."""
    url = environment.get(REDIS_VARIABLE, "")
    if not url:
        return MemoryCounters()
    try:
        from weft.ratelimit.redis_counters import RedisCounters  # noqa: PLC0415 - optional
    except ImportError as error:
        text = f"{REDIS_VARIABLE} is set, but the package `redis` is not installed"
        raise NoCounters(f"{text}: pip install 'weft[redis]'") from error
    try:
        return RedisCounters(url)
    except ValueError as error:
        known = "redis://host:6379/0, rediss://host:6379/0 or unix:///path"
        raise NoCounters(f"{REDIS_VARIABLE} is no address of a Redis; write {known}") from error


def exposition(service: RateLimitService) -> str:
    """What the service answered, as Prometheus text."""
    lines = ["# TYPE weft_rate_limit_requests_total counter"]
    for (name, result), count in sorted(service.counts.items()):
        labels = f'limit="{name}",result="{result}"'
        lines.append(f"weft_rate_limit_requests_total{{{labels}}} {count}")
    return "\n".join(lines) + "\n" if service.counts else ""


def _rule(limit: RateLimit) -> Rule:
    return Rule(
        name=limit.name,
        quota=Quota(limit.requests, limit.per, limit.burst),
        fixed=fixed_entries(limit),
        shadow=limit.shadow,
        fail_closed=limit.fail_closed,
    )

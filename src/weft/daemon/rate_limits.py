"""From the mesh's shared rate limits to the rules of the rate limit service."""

from weft.mesh.model import MeshModel, RateLimit
from weft.ratelimit.gcra import Quota
from weft.ratelimit.service import RateLimitService, Rule
from weft.xds.rate_limits import fixed_entries


def rules(model: MeshModel) -> tuple[Rule, ...]:
    """The limits that all proxies count together."""
    return tuple(_rule(limit) for limit in model.rate_limits)


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
    )

"""Times as Kubernetes writes them (RFC 3339, UTC). All functions are pure."""

import datetime
from functools import lru_cache

SECONDS_KEPT_MAX = 64
"""Texts that are kept: the same second is written into many objects."""


def rfc3339(seconds: float) -> str:
    """metav1.Time: whole seconds, e.g. 2026-11-21T01:35:00Z."""
    return _whole(int(seconds))


@lru_cache(SECONDS_KEPT_MAX)
def _whole(seconds: int) -> str:
    at = datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(seconds: float) -> str:
    """metav1.MicroTime: microseconds."""
    at = datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_rfc3339(text: str) -> float:
    """Seconds since the epoch; 0.0 for the empty string. Raises ValueError."""
    return datetime.datetime.fromisoformat(text).timestamp() if text else 0.0


def age(seconds: float) -> str:
    """A duration as kubectl shows ages: 5s, 2m10s, 3h, 4d12h (duration.HumanDuration)."""
    total = int(seconds)
    if total < 0:
        return "0s"
    minutes, hours, days = total // 60, total // 3600, total // 86400
    if total < 120:
        return f"{total}s"
    if minutes < 10:
        return f"{minutes}m{total % 60}s" if total % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 365 * 2:
        return f"{days}d"
    years = days // 365
    if years < 8:
        return f"{years}y{days % 365}d" if days % 365 else f"{years}y"
    return f"{years}y"

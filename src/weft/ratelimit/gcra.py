"""The counting rule: the generic cell rate algorithm (ITU-T I.371), one number per key.

The number is the time at which a key's whole allowance is available again. Pure: the time is given.
"""

import math

from msgspec import Struct

_ROUNDING = 1e-9
"""Seconds: sums of intervals differ by less from what they should be."""


class Quota(Struct, frozen=True):
    """`requests` per `per` seconds in the long run, up to `burst` at once after a pause."""

    requests: int
    per: float
    burst: int

    @property
    def interval(self) -> float:
        """Seconds between requests at the full rate."""
        return self.per / self.requests


class Verdict(Struct, frozen=True):
    """Whether requests may pass, and what is left. Times are seconds from now."""

    allowed: bool
    remaining: int
    retry_after: float = 0.0
    """When the same question will be answered yes; 0 when it was."""
    reset: float = 0.0
    """When the whole burst is available again."""


def take(full_at: float, quota: Quota, now: float, hits: int = 1) -> tuple[Verdict, float]:
    """Take `hits` requests at time `now` from a key that is full again at `full_at` (any past time
    for a new one). Returns the verdict and the new `full_at`; a refusal takes nothing.

    A key is never further from full than a whole allowance: a clock that is set back, or a quota
    that became smaller, costs no more than that.
    """
    interval = quota.interval
    allowance = interval * quota.burst
    busy = min(max(full_at - now, 0.0), allowance)
    wanted = busy + hits * interval
    if wanted > allowance + _ROUNDING:
        left = math.floor((allowance - busy) / interval + _ROUNDING)
        verdict = Verdict(False, max(left, 0), retry_after=wanted - allowance, reset=busy)
        return verdict, now + busy
    left = math.floor((allowance - wanted) / interval + _ROUNDING)
    return Verdict(True, max(left, 0), reset=wanted), now + wanted

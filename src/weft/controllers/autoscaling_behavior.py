"""From the replicas that metrics ask for to those that are set: stabilisation, rates, bounds.

Source of the rules and words: Kubernetes' HPA controller (normalizeDesiredReplicasWithBehaviors).
"""

import math
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.k8s.autoscaling_v2 import (
    HorizontalPodAutoscalerBehavior,
    HPAScalingPolicy,
    HPAScalingRules,
)
from weft.controllers.autoscaling_forecast import History, Outlook

DOWN_WINDOW_SECONDS_DEFAULT = 300
UP_DEFAULT = HPAScalingRules(
    stabilization_window_seconds=0,
    select_policy="Max",
    policies=(
        HPAScalingPolicy(type="Pods", value=4, period_seconds=15),
        HPAScalingPolicy(type="Percent", value=100, period_seconds=15),
    ),
)
DOWN_DEFAULT = HPAScalingRules(
    stabilization_window_seconds=DOWN_WINDOW_SECONDS_DEFAULT,
    select_policy="Max",
    policies=(HPAScalingPolicy(type="Percent", value=100, period_seconds=15),),
)
WINDOW_SECONDS_MAX = 3600
"""The longest stabilisation window and period; older memories are dropped."""


class Moment(Struct, frozen=True):
    """A recommendation, or (as a change) how many replicas were added or, negative, removed."""

    at: float
    replicas: int


class Memory(Struct, frozen=True):
    """What an autoscaler remembers of its own past."""

    recommended: tuple[Moment, ...] = ()
    changed: tuple[Moment, ...] = ()
    history: History = History()
    """What metrics asked for, where forecasts are made."""
    outlooks: tuple[Outlook, ...] = ()
    unable: str = ""
    """Why there are none."""
    warned: tuple[str, ...] = ()
    """Reasons of the warnings that hold."""

    def trimmed(self, now: float) -> "Memory":
        oldest = now - WINDOW_SECONDS_MAX
        return replace(
            self,
            recommended=tuple(m for m in self.recommended if m.at > oldest),
            changed=tuple(m for m in self.changed if m.at > oldest),
        )


class Bounds(Struct, frozen=True):
    least: int
    most: int


class Normalised(Struct, frozen=True):
    """What is set, and the reasons for the conditions AbleToScale and ScalingLimited."""

    replicas: int
    able: tuple[str, str]
    limited: tuple[str, str] | None
    """None: the wish is within range."""


def normalise(  # noqa: PLR0917
    current: int,
    wanted: int,
    bounds: Bounds,
    behavior: HorizontalPodAutoscalerBehavior | None,
    memory: Memory,
    now: float,
) -> Normalised:
    """The next size. `memory` holds earlier recommendations, not this one."""
    up = _filled(behavior.scale_up if behavior else None, UP_DEFAULT)
    down = _filled(behavior.scale_down if behavior else None, DOWN_DEFAULT)
    stable, able = _stabilised(current, wanted, (up, down), memory.recommended, now)
    replicas, limited = _bounded(current, stable, bounds, (up, down), memory.changed, now)
    return Normalised(replicas, able, limited)


def _filled(rules: HPAScalingRules | None, default: HPAScalingRules) -> HPAScalingRules:
    if rules is None:
        return default
    window = rules.stabilization_window_seconds
    return HPAScalingRules(
        stabilization_window_seconds=default.stabilization_window_seconds
        if window is None
        else window,
        select_policy=rules.select_policy or "Max",
        policies=rules.policies or default.policies,
        tolerance=rules.tolerance,
    )


def _stabilised(
    current: int,
    wanted: int,
    rules: tuple[HPAScalingRules, HPAScalingRules],
    recommended: Sequence[Moment],
    now: float,
) -> tuple[int, tuple[str, str]]:
    """Up to the least, down to the most, of what was recommended within the windows."""
    windows = [now - (r.stabilization_window_seconds or 0) for r in rules]
    least = min((wanted, *(m.replicas for m in recommended if m.at > windows[0])))
    most = max((wanted, *(m.replicas for m in recommended if m.at > windows[1])))
    stable = min(max(current, least), max(most, least))
    if stable > wanted:
        return stable, (
            "ScaleDownStabilized",
            "recent recommendations were higher than current one, applying the highest recent "
            "recommendation",
        )
    if stable < wanted:
        return stable, (
            "ScaleUpStabilized",
            "recent recommendations were lower than current one, applying the lowest recent "
            "recommendation",
        )
    return stable, ("ReadyForNewScale", "recommended size matches current size")


def _bounded(  # noqa: PLR0917
    current: int,
    wanted: int,
    bounds: Bounds,
    rules: tuple[HPAScalingRules, HPAScalingRules],
    changed: Sequence[Moment],
    now: float,
) -> tuple[int, tuple[str, str] | None]:
    up, down = rules
    if wanted > current:
        fastest = max(current, _limit_up(current, up, changed, now))
        if wanted > min(bounds.most, fastest):
            if bounds.most <= fastest:
                return bounds.most, (
                    "TooManyReplicas",
                    "the desired replica count is more than the maximum replica count",
                )
            return fastest, (
                "ScaleUpLimit",
                "the desired replica count is increasing faster than the maximum scale rate",
            )
    elif wanted < current:
        slowest = min(current, _limit_down(current, down, changed, now))
        if wanted < max(bounds.least, slowest):
            if bounds.least >= slowest:
                return bounds.least, (
                    "TooFewReplicas",
                    "the desired replica count is less than the minimum replica count",
                )
            return slowest, (
                "ScaleDownLimit",
                "the desired replica count is decreasing faster than the maximum scale rate",
            )
    return min(max(wanted, bounds.least), bounds.most), None


def _limit_up(current: int, rules: HPAScalingRules, changed: Sequence[Moment], now: float) -> int:
    if rules.select_policy == "Disabled":
        return current
    limits = []
    for policy in rules.policies:
        start = current - _change(changed, policy, now)
        value = policy.value or 0
        if policy.type == "Pods":
            limits.append(start + value)
        else:
            limits.append(math.ceil(start * (1 + value / 100)))
    pick = min if rules.select_policy == "Min" else max
    return pick(limits, default=current)


def _limit_down(current: int, rules: HPAScalingRules, changed: Sequence[Moment], now: float) -> int:
    if rules.select_policy == "Disabled":
        return current
    limits = []
    for policy in rules.policies:
        start = current - _change(changed, policy, now)
        value = policy.value or 0
        if policy.type == "Pods":
            limits.append(start - value)
        else:
            limits.append(int(start * (1 - value / 100)))
    pick = max if rules.select_policy == "Min" else min
    return pick(limits, default=current)


def _change(changed: Sequence[Moment], policy: HPAScalingPolicy, now: float) -> int:
    """Replicas added less those removed within the policy's period."""
    begin = now - (policy.period_seconds or 0)
    return sum(m.replicas for m in changed if m.at > begin)

"""Evictions: may a pod go now? Pure.

Source: pkg/registry/core/pod/storage/eviction.go of Kubernetes 1.33. A PodDisruptionBudget's
`disruptionsAllowed` is taken from here, in a write that expects the budget as it was read, and
counted anew by its controller; so two evictions never take the same one.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from weft.api.errors import ApiError
from weft.api.selectors import from_selector
from weft.lib.timefmt import rfc3339

Json = Mapping[str, Any]

DISRUPTED_PODS_MAX = 2000
RETRY_SECONDS = 10
_CONDITION = "DisruptionAllowed"
_OVER = ("Succeeded", "Failed", "Pending")


class Decision(Struct, frozen=True):
    """What an eviction does to a budget before the pod is deleted."""

    budget: dict[str, Any] | None = None
    """The budget to write, with what the eviction takes of it; None: nothing."""


def decide(pod: Json, budgets: Iterable[Json], now: float) -> Decision:
    """Raises ApiError 429 (a budget does not allow it, or is not counted yet), 403, 500."""
    status = pod.get("status") or {}
    if status.get("phase") in _OVER or pod["metadata"].get("deletionTimestamp"):
        return Decision()
    found = [budget for budget in budgets if _covers(budget, pod)]
    if not found:
        return Decision()
    if len(found) > 1:
        raise ApiError(
            500, "InternalError",
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does "
            "not support.",
        )  # fmt: skip
    budget = found[0]
    if not _ready(pod) and _unhealthy_may_go(budget):
        return Decision()
    return Decision(_taken(budget, pod["metadata"]["name"], now))


def _covers(budget: Json, pod: Json) -> bool:
    chosen = from_selector((budget.get("spec") or {}).get("selector"))
    return chosen is not None and chosen.matches(pod["metadata"].get("labels"))


def _ready(pod: Json) -> bool:
    conditions: Sequence[Json] = (pod.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _unhealthy_may_go(budget: Json) -> bool:
    """A pod that serves nobody may go when its budget says so, or while enough others serve."""
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    wanted = status.get("desiredHealthy") or 0
    return wanted > 0 and (status.get("currentHealthy") or 0) >= wanted


def _taken(budget: Json, pod: str, now: float) -> dict[str, Any]:
    name, status = budget["metadata"]["name"], dict(budget.get("status") or {})
    if (status.get("observedGeneration") or 0) < (budget["metadata"].get("generation") or 0):
        raise refused(f"The disruption budget {name} is still being processed by the server.")
    allowed = status.get("disruptionsAllowed") or 0
    if allowed <= 0:
        wanted, healthy = status.get("desiredHealthy") or 0, status.get("currentHealthy") or 0
        raise refused(
            f"The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently"
        )
    going = dict(status.get("disruptedPods") or {})
    if len(going) > DISRUPTED_PODS_MAX:
        raise ApiError(403, "Forbidden", "DisruptedPods map too big - too many evictions not "
                       "confirmed by PDB controller")  # fmt: skip
    going[pod] = rfc3339(now)
    status |= {"disruptionsAllowed": allowed - 1, "disruptedPods": going}
    if allowed == 1:
        status["conditions"] = _insufficient(budget, now)
    return dict(budget) | {"status": status}


def _insufficient(budget: Json, now: float) -> list[Json]:
    before: Sequence[Json] = (budget.get("status") or {}).get("conditions") or ()
    made = {
        "type": _CONDITION,
        "status": "False",
        "reason": "InsufficientPods",
        "message": "",
        "lastTransitionTime": rfc3339(now),
        "observedGeneration": budget["metadata"].get("generation") or 0,
    }
    return [*(c for c in before if c.get("type") != _CONDITION), made]


def disrupted(now: float) -> dict[str, Any]:
    """The strategic patch of a pod's status that says why it ends (a Job's pod failure policy
    reads it)."""
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
        "lastTransitionTime": rfc3339(now),
    }
    return {"status": {"conditions": [condition]}}


def refused(why: str) -> ApiError:
    """429, as `kubectl drain` understands it: it tries again."""
    cause = {"reason": "DisruptionBudget", "message": why}
    return ApiError(
        429,
        "TooManyRequests",
        "Cannot evict pod as it would violate the pod's disruption budget.",
        {"causes": [cause], "retryAfterSeconds": RETRY_SECONDS},
    )

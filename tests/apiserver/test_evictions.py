"""Evictions and the budgets that they take from."""

from typing import Any

import pytest

from weft.api.errors import ApiError
from weft.apiserver.evictions import decide

POD: dict[str, Any] = {
    "metadata": {"name": "p", "labels": {"app": "web"}},
    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
}
SICK = POD | {"status": {"phase": "Running"}}


def budget(allowed: int, *, healthy: int = 2, policy: str = "", seen: int = 1) -> dict[str, Any]:
    spec = {"selector": {"matchLabels": {"app": "web"}}}
    return {
        "metadata": {"name": "b", "generation": 1},
        "spec": spec | ({"unhealthyPodEvictionPolicy": policy} if policy else {}),
        "status": {
            "disruptionsAllowed": allowed, "desiredHealthy": 2, "currentHealthy": healthy,
            "observedGeneration": seen,
        },
    }  # fmt: skip


def test_an_eviction_takes_from_the_budget() -> None:
    taken = decide(POD, [budget(2)], 0.0).budget
    assert taken is not None
    assert taken["status"]["disruptionsAllowed"] == 1
    assert taken["status"]["disruptedPods"] == {"p": "1970-01-01T00:00:00Z"}
    assert "conditions" not in taken["status"]
    last = decide(POD, [budget(1)], 0.0).budget
    assert last is not None
    assert last["status"]["conditions"][0]["reason"] == "InsufficientPods"


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (budget(0), "budget b needs 2 healthy pods and has 2 currently"),
        (budget(1, seen=0), "budget b is still being processed by the server."),
    ],
)
def test_refusals_have_the_cause_that_clients_know(found: dict[str, Any], words: str) -> None:
    with pytest.raises(ApiError) as refusal:
        decide(POD, [found], 0.0)
    assert refusal.value.code == 429
    (cause,) = refusal.value.details["causes"]
    assert cause["reason"] == "DisruptionBudget"
    assert words in cause["message"]


@pytest.mark.parametrize(
    ("pod", "budgets"),
    [
        (POD, []),
        (POD, [budget(0) | {"spec": {"selector": {"matchLabels": {"app": "other"}}}}]),
        (POD, [budget(0) | {"spec": {}}]),
        (SICK, [budget(0)]),
        (SICK, [budget(0, healthy=0, policy="AlwaysAllow")]),
        (POD | {"status": {"phase": "Pending"}}, [budget(0)]),
        (POD | {"metadata": POD["metadata"] | {"deletionTimestamp": "x"}}, [budget(0)]),
    ],
)
def test_pods_that_no_budget_holds(pod: dict[str, Any], budgets: list[dict[str, Any]]) -> None:
    assert decide(pod, budgets, 0.0).budget is None


def test_a_sick_pod_stays_while_too_few_are_healthy() -> None:
    with pytest.raises(ApiError):
        decide(SICK, [budget(0, healthy=1)], 0.0)


def test_two_budgets_for_one_pod() -> None:
    with pytest.raises(ApiError) as refusal:
        decide(POD, [budget(1), budget(1)], 0.0)
    assert refusal.value.code == 500

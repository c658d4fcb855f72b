"""Evictions and the budgets that they take from."""

import asyncio
from typing import Any

import pytest

from tests.apiserver.serving import Running
from tests.apiserver.support import pod
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


# --- over HTTP

PODS = "/api/v1/namespaces/default/pods"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
READY: Any = [{"type": "Ready", "status": "True"}]


async def put_pod(live: Running, name: str, ready: bool = True, app: str = "web") -> None:
    body = pod(name)
    body["metadata"]["labels"] = {"app": app}
    assert (await live.json("POST", PODS, json=body))[0] == 201
    status = {"phase": "Running", "conditions": READY if ready else []}
    await patch(live, f"{PODS}/{name}/status", {"status": status})


async def patch(live: Running, path: str, body: Any) -> None:
    headers = {"Content-Type": "application/merge-patch+json"}
    assert (await live.json("PATCH", path, json=body, headers=headers))[0] == 200


async def put_budget(live: Running, name: str = "b", observed: int = 1, **status: Any) -> None:
    more = {k: status.pop(k) for k in ("unhealthyPodEvictionPolicy",) if k in status}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": 2, **more}
    made = {"metadata": {"name": name}, "spec": spec}
    assert (await live.json("POST", BUDGETS, json=made))[0] == 201
    base = {"observedGeneration": observed, "disruptionsAllowed": 0, "currentHealthy": 2,
            "desiredHealthy": 2, "expectedPods": 3}  # fmt: skip
    await patch(live, f"{BUDGETS}/{name}/status", {"status": base | status})


async def evict(live: Running, name: str, **more: Any) -> tuple[int, Any]:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, **more}
    return await live.json("POST", f"{PODS}/{name}/eviction", json=body)


async def test_a_budget_without_room_refuses(live: Running) -> None:
    await put_pod(live, "p")
    await put_budget(live)
    status, answer = await evict(live, "p")
    assert (status, answer["reason"]) == (429, "TooManyRequests")
    assert answer["message"] == (
        "Cannot evict pod as it would violate the pod's disruption budget."
    )
    (cause,) = answer["details"]["causes"]
    assert cause["message"] == "The disruption budget b needs 2 healthy pods and has 2 currently"
    assert (await live.json("GET", f"{PODS}/p"))[0] == 200


async def test_room_is_used_up(live: Running) -> None:
    for name in ("p", "q"):
        await put_pod(live, name)
    await put_budget(live, disruptionsAllowed=1, currentHealthy=3)
    dry = {"deleteOptions": {"dryRun": ["All"]}}
    assert (await evict(live, "p", **dry))[0] == 201
    assert (await evict(live, "p"))[0] == 201
    status = (await live.json("GET", f"{BUDGETS}/b"))[1]["status"]
    assert status["disruptionsAllowed"] == 0
    assert list(status["disruptedPods"]) == ["p"]
    assert (await evict(live, "q"))[0] == 429


async def test_many_at_once_take_no_more_than_is_allowed(live: Running) -> None:
    names = [f"p{i}" for i in range(12)]
    for name in names:
        await put_pod(live, name)
    await put_budget(live, disruptionsAllowed=4, currentHealthy=6)
    answers = await asyncio.gather(*(evict(live, name) for name in names))
    assert sorted(code for code, _ in answers) == [201] * 4 + [429] * 8
    left = (await live.json("GET", PODS))[1]["items"]
    assert len(left) == 8


async def test_a_budget_that_is_not_counted_yet_refuses(live: Running) -> None:
    await put_pod(live, "p")
    await put_budget(live, observed=0, disruptionsAllowed=1)
    status, answer = await evict(live, "p")
    assert status == 429
    assert "still being processed" in answer["details"]["causes"][0]["message"]


async def test_two_budgets_are_one_too_many(live: Running) -> None:
    await put_pod(live, "p")
    await put_budget(live, "a", disruptionsAllowed=1)
    await put_budget(live, "b", disruptionsAllowed=1)
    assert (await evict(live, "p"))[0] == 500


@pytest.mark.parametrize(
    ("policy", "healthy", "code"),
    [("IfHealthyBudget", 2, 201), ("IfHealthyBudget", 1, 429), ("AlwaysAllow", 1, 201)],
)
async def test_pods_that_do_not_serve(live: Running, policy: str, healthy: int, code: int) -> None:
    await put_pod(live, "p", ready=False)
    await put_budget(live, unhealthyPodEvictionPolicy=policy, currentHealthy=healthy)
    assert (await evict(live, "p"))[0] == code


async def test_other_pods_are_not_concerned(live: Running) -> None:
    await put_pod(live, "p", app="other")
    await put_budget(live)
    assert (await evict(live, "p"))[0] == 201

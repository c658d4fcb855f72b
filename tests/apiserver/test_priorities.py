"""PriorityClasses and what they give to pods."""

from typing import Any

import pytest

from tests.apiserver.support import Api, pod
from weft.api.errors import ApiError
from weft.apiserver.priorities import PriorityAdmission


@pytest.fixture
def classes(api: Api) -> Api:
    api.resources.admission.append(PriorityAdmission(api.store))
    return api


def priority(name: str, value: int, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "value": value} | more


async def test_pods_get_the_priority_of_their_class(classes: Api) -> None:
    await classes.create("pc", priority("high", 1000, preemptionPolicy="Never"))
    made = await classes.create("pods", pod("a", priorityClassName="high"))
    assert (made["spec"]["priority"], made["spec"]["preemptionPolicy"]) == (1000, "Never")
    plain = await classes.create("pods", pod("b"))
    assert plain["spec"]["priority"] == 0
    assert "priorityClassName" not in plain["spec"]
    await classes.create("pc", priority("usual", 5, globalDefault=True))
    usual = await classes.create("pods", pod("c"))
    assert (usual["spec"]["priority"], usual["spec"]["priorityClassName"]) == (5, "usual")


async def test_what_is_refused(classes: Api) -> None:
    with pytest.raises(ApiError, match="no PriorityClass with name nope was found") as caught:
        await classes.create("pods", pod("a", priorityClassName="nope"))
    assert caught.value.code == 403
    await classes.create("pc", priority("high", 1000, globalDefault=True))
    with pytest.raises(ApiError, match="must not be provided in pod spec"):
        await classes.create("pods", pod("a", priorityClassName="high", priority=3))
    with pytest.raises(ApiError, match="already marked as default"):
        await classes.create("pc", priority("other", 1, globalDefault=True))
    with pytest.raises(ApiError, match="reserved for system use"):
        await classes.create("pc", priority("system-mine", 1))
    with pytest.raises(ApiError, match="maximum allowed value"):
        await classes.create("pc", priority("huge", 2_000_000_000))
    with pytest.raises(ApiError, match="may not be changed in an update"):
        await classes.patch("pc", "high", {"value": 7})
    with pytest.raises(ApiError, match="field is immutable"):
        await classes.patch("pc", "high", {"preemptionPolicy": "Never"})

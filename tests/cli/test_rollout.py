"""`weft rollout`: what it writes is what `kubectl argo rollouts` writes."""

from typing import Any

import pytest

from weft.cli.rollout import earlier, idle, promotion
from weft.views.rollouts import Parts

STEPS = {"spec": {"strategy": {"canary": {"steps": [{"setWeight": 5}, {"pause": {}}]}}}}


@pytest.mark.parametrize(
    ("status", "how", "wanted"),
    [
        ({"pauseConditions": [{}]}, "", {"pauseConditions": None}),
        ({"currentStepIndex": 0}, "", {"currentStepIndex": 1}),
        ({"currentStepIndex": 1}, "one", {"currentStepIndex": 2, "pauseConditions": None,
                                          "controllerPause": False}),
        ({}, "all_", {"currentStepIndex": 2, "pauseConditions": None, "controllerPause": False}),
        ({"currentPodHash": "b", "stableRS": "a"}, "full", {"promoteFull": True}),
        ({"currentPodHash": "a", "stableRS": "a"}, "full", None),
    ],
)  # fmt: skip
def test_promotion(status: Any, how: str, wanted: Any) -> None:
    flags = {"full": False, "one": False, "all_": False} | ({how: True} if how else {})
    assert promotion(STEPS | {"status": status}, **flags) == wanted


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"phase": "Healthy", "currentPodHash": "a", "stableRS": "a"}, "no update to promote"),
        ({"phase": "Degraded", "abort": True, "currentPodHash": "b", "stableRS": "a"},
         "`weft rollout retry web` begins it anew"),
        ({"phase": "Paused", "currentPodHash": "b", "stableRS": "a"}, ""),
    ],
)  # fmt: skip
def test_what_changes_nothing_is_said(status: Any, said: str) -> None:
    found = idle({"metadata": {"name": "web"}, "spec": {}, "status": status}, "promote")
    assert said in found if said else found == ""


def test_earlier_revisions(capsys: pytest.CaptureFixture[str]) -> None:
    def replica_set(number: int) -> Any:
        labels = {"app": "web", "rollouts-pod-template-hash": "x"}
        return {
            "metadata": {"ownerReferences": [{"uid": "u"}],
                         "annotations": {"rollout.argoproj.io/revision": str(number)}},
            "spec": {"template": {"metadata": {"labels": labels}, "spec": {"n": number}}},
        }  # fmt: skip

    parts = Parts({"metadata": {"uid": "u"}}, [replica_set(n) for n in (1, 3, 4)])
    number, template = earlier(parts, 0)
    assert (number, template) == (3, {"metadata": {"labels": {"app": "web"}}, "spec": {"n": 3}})
    assert earlier(parts, 1)[0] == 1
    with pytest.raises(SystemExit):
        earlier(parts, 2)
    assert "revisions: 1, 3, 4" in capsys.readouterr().err

"""Kinds that show others' objects: nothing is lost on the way there and back."""

import copy
from typing import Any

import pytest

from weft.api import registry
from weft.api.conversions import conversion, stored_path

AUTOSCALER: dict[str, Any] = {
    "metadata": {"name": "a", "annotations": {"own": "x"}},
    "spec": {
        "maxReplicas": 3,
        "metrics": [
            {"type": "Pods", "pods": {"metric": {"name": "m"}}},
            {
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 70},
                },
            },
        ],
        "behavior": {"scaleDown": {"selectPolicy": "Disabled"}},
    },
    "status": {
        "currentReplicas": 2,
        "currentMetrics": [
            {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 9}}}
        ],
        "conditions": [{"type": "AbleToScale", "status": "True"}],
    },
}


def test_an_autoscaler_of_v1_has_its_processor_in_fields_and_the_rest_in_annotations() -> None:
    view = conversion(_kind("autoscaling", "HorizontalPodAutoscaler", "v1"))
    assert view is not None
    given = copy.deepcopy(AUTOSCALER)
    shown = view.to_view(given)
    assert given == AUTOSCALER
    assert shown["spec"] == {"maxReplicas": 3, "targetCPUUtilizationPercentage": 70}
    assert shown["status"] == {"currentReplicas": 2, "currentCPUUtilizationPercentage": 9}
    assert len(shown["metadata"]["annotations"]) == 5
    back = view.to_stored(shown)
    assert back["metadata"] == AUTOSCALER["metadata"]
    assert back["status"] == AUTOSCALER["status"]
    assert back["spec"].pop("metrics")[::-1] == AUTOSCALER["spec"]["metrics"]
    assert back["spec"] == {k: v for k, v in AUTOSCALER["spec"].items() if k != "metrics"}


@pytest.mark.parametrize("text", ["[", "{}", '"x"', "7"])
def test_annotations_that_hold_something_else_stay(text: str) -> None:
    view = conversion(_kind("autoscaling", "HorizontalPodAutoscaler", "v1"))
    assert view is not None
    annotations = {"autoscaling.alpha.kubernetes.io/metrics": text}
    made = view.to_stored({"metadata": {"annotations": annotations}, "spec": {"maxReplicas": 1}})
    assert made["metadata"]["annotations"] == annotations
    assert "metrics" not in made["spec"]


def test_events_have_other_names_for_their_fields() -> None:
    view = conversion(_kind("events.k8s.io", "Event", "v1"))
    assert view is not None
    stored = {"involvedObject": {"name": "p"}, "message": "m", "reportingComponent": "c",
              "count": 2, "action": "a"}  # fmt: skip
    shown = view.to_view(stored)
    assert shown == {"regarding": {"name": "p"}, "note": "m", "reportingController": "c",
                     "deprecatedCount": 2, "action": "a"}  # fmt: skip
    assert view.to_stored(shown) == stored


def test_fields_that_selectors_name() -> None:
    events = _kind("events.k8s.io", "Event", "v1")
    assert stored_path(events, ("regarding", "name")) == ("involvedObject", "name")
    assert stored_path(events, ("metadata", "name")) == ("metadata", "name")
    assert stored_path(registry.stored(events), ("regarding",)) == ("regarding",)


def test_every_view_translates_and_other_kinds_do_not() -> None:
    for kind in registry.KINDS:
        assert (conversion(kind) is None) == (kind.view_of is None)
        assert registry.stored(kind).view_of is None


def _kind(group: str, name: str, version: str) -> Any:
    return registry.find(group, version, name)

"""Whose number of replicas counts when a configuration is applied."""

from typing import Any

import pytest

from tests.controllers.simulate import make
from weft.api.k8s.autoscaling_v2 import HorizontalPodAutoscaler
from weft.api.snapshot import ObjectSnapshot
from weft.controllers.scale_owner import kept

TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
SCALER = make(HorizontalPodAutoscaler, {"spec": {"scaleTargetRef": TARGET}}, name="auto")


def web(replicas: int | None, name: str = "web", namespace: str = "default") -> dict[str, Any]:
    spec = {} if replicas is None else {"replicas": replicas}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


@pytest.mark.parametrize(
    ("kind", "old", "new", "stays"),
    [
        ("Deployment", web(3), web(1), (3, "auto")),
        ("Deployment", web(3), web(None), (3, "auto")),
        ("Deployment", web(3), web(3), None),
        ("Deployment", web(3), web(0), None),
        ("Deployment", web(0), web(2), None),
        ("StatefulSet", web(3), web(1), None),
        ("Deployment", web(3, "api"), web(1, "api"), None),
        ("Deployment", web(3, namespace="other"), web(1, namespace="other"), None),
        ("Job", web(3), web(1), None),
    ],
)
def test_the_autoscaler_decides(
    kind: str, old: Any, new: Any, stays: tuple[int, str] | None
) -> None:
    assert kept(ObjectSnapshot((SCALER,)), kind, old, new) == stays

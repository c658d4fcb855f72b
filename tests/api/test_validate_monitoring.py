"""AlertRules, objectives and receivers that make no sense are refused where they do not."""

from typing import Any

import pytest

from weft.api.validate import monitoring


def problems(kind: str, spec: dict[str, Any], namespace: str = "shop") -> list[str]:
    check = {
        "AlertRule": monitoring.validate_rule,
        "ServiceLevelObjective": monitoring.validate_objective,
        "AlertReceiver": monitoring.validate_receiver,
    }[kind]
    found = check({"metadata": {"name": "x", "namespace": namespace}, "spec": spec})
    return [error.path for error in found]


@pytest.mark.parametrize(
    ("kind", "spec", "wrong"),
    [
        ("AlertRule", {"signal": "p99Ms", "above": 1}, []),
        ("AlertRule", {"signal": "p99Ms"}, ["spec.above"]),
        ("AlertRule", {"signal": "p99Ms", "above": 1, "below": 0}, ["spec.below"]),
        ("AlertRule", {"signal": "p99Ms", "above": 1, "over": "4h"}, ["spec.over"]),
        ("AlertRule", {"signal": "p99Ms", "above": 1, "over": "1s"}, ["spec.over"]),
        ("AlertRule", {"signal": "p99Ms", "above": 1, "for": "soon"}, ["spec.for"]),
        ("AlertRule", {"signal": "p99Ms", "above": 1, "labels": {"a-b": "c"}}, ["spec.labels"]),
        ("AlertRule", {"signal": "p99Ms", "above": 1, "labels": {"service": ""}}, ["spec.labels"]),
        ("AlertRule", {"signal": "p99Ms", "above": 1, "service": {}}, ["spec.service.name"]),
        ("ServiceLevelObjective", {"service": {"name": "a"}, "objective": 99.5}, []),
        ("ServiceLevelObjective", {"service": {"name": "a"}, "objective": 100}, ["spec.objective"]),
        ("ServiceLevelObjective", {"service": {"name": "a"}, "objective": 0}, ["spec.objective"]),
        (
            "ServiceLevelObjective",
            {"service": {"name": "a"}, "objective": 99, "window": "1000h", "latency": {}},
            ["spec.latency.thresholdMs", "spec.window"],
        ),
        ("AlertReceiver", {"service": {"name": "a"}}, []),
        ("AlertReceiver", {}, ["spec.service"]),
        ("AlertReceiver", {"url": "http://a/"}, ["spec.url"]),
        ("AlertReceiver", {"service": {"name": "a", "path": "x y"}}, ["spec.service.path"]),
        ("AlertReceiver", {"url": "http://a", "repeatInterval": "5s"},
         ["spec.url", "spec.repeatInterval"]),
    ],
)  # fmt: skip
def test_rules(kind: str, spec: dict[str, Any], wrong: list[str]) -> None:
    assert problems(kind, spec) == wrong


def test_urls_are_for_administrators() -> None:
    assert problems("AlertReceiver", {"url": "https://alerts.example/x"}, "kube-system") == []
    assert problems("AlertReceiver", {"url": "ftp://a"}, "kube-system") == ["spec.url"]

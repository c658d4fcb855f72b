"""Values that Kubernetes fills in for HorizontalPodAutoscalers.

Source: pkg/apis/autoscaling/v2/defaults.go of Kubernetes 1.33. Changes the JSON it is given.
"""

from typing import Any

Json = dict[str, Any]

CPU_PERCENT_DEFAULT = 80
PERIOD_SECONDS = 15
_UP = [
    {"type": "Pods", "value": 4, "periodSeconds": PERIOD_SECONDS},
    {"type": "Percent", "value": 100, "periodSeconds": PERIOD_SECONDS},
]
_DOWN = [{"type": "Percent", "value": 100, "periodSeconds": PERIOD_SECONDS}]


def autoscaler(obj: Json) -> None:
    """Of v2; without metrics it follows the processor at 80 %."""
    spec = obj.setdefault("spec", {})
    if spec.get("minReplicas") is None:
        spec["minReplicas"] = 1
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": CPU_PERCENT_DEFAULT}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = spec.get("behavior")
    if behavior is None:
        return
    up = _rules(behavior, "scaleUp", _UP)
    if up.get("stabilizationWindowSeconds") is None:
        up["stabilizationWindowSeconds"] = 0
    _rules(behavior, "scaleDown", _DOWN)


def _rules(behavior: Json, key: str, policies: list[Json]) -> Json:
    rules: Json = behavior.get(key) or {}
    behavior[key] = rules
    if not rules.get("selectPolicy"):
        rules["selectPolicy"] = "Max"
    if rules.get("policies") is None:
        rules["policies"] = [dict(policy) for policy in policies]
    return rules

"""Cells of the kinds that decide about writes: quotas, admission policies, webhooks."""

from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]
Cells = list[Any]


def resource_quota(obj: Json, age: str) -> Cells:
    """What is used of what may be, requests and counts apart from limits."""
    status = obj.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    texts = {name: f"{name}: {used.get(name, 0)}/{hard[name]}" for name in sorted(hard)}
    requests = ", ".join(text for name, text in texts.items() if not name.startswith("limits."))
    limits = ", ".join(text for name, text in texts.items() if name.startswith("limits."))
    return [obj["metadata"]["name"], requests, limits, age]

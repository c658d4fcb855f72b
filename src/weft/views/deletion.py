"""What an object that is to be deleted still waits for, in words."""

from collections.abc import Mapping
from typing import Any


def holds(obj: Mapping[str, Any]) -> str:
    """What must happen before it is gone."""
    metadata = obj.get("metadata") or {}
    conditions = (obj.get("status") or {}).get("conditions") or ()
    if obj.get("kind") == "Namespace":
        left = [c.get("message") or "" for c in conditions if c.get("status") == "True"]
        return "; ".join(text.rstrip(".") for text in left if text) or "what is in it goes first"
    finalizers = metadata.get("finalizers") or ()
    if finalizers:
        word = "finalizers" if len(finalizers) > 1 else "finalizer"
        return f"its {word} {', '.join(finalizers)} must be removed by whoever set them"
    if obj.get("kind") == "Pod":
        seconds = metadata.get("deletionGracePeriodSeconds")
        if not (obj.get("spec") or {}).get("nodeName"):
            return "it was never placed and goes in a moment"
        return f"its containers end (grace period {seconds or 0} s)"
    return "its deletion is noted"

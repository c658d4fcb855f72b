"""Conditions, as Gateway API objects have them; the reasons are those of the specification."""

from weft.mesh.gateway_api_objects import Json


def condition(kind: str, ok: bool, reason: str, generation: int, message: str = "") -> Json:
    """One condition, without its time."""
    return {
        "type": kind,
        "status": "True" if ok else "False",
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
    }


def judged(kind: str, refused: str, generation: int, message: str = "", good: str = "") -> Json:
    """One condition that holds unless there is a reason why not."""
    text = message if refused else ""
    return condition(kind, not refused, refused or good or kind, generation, text)

"""`weft describe`: an object, what it is made of and what happened to it, as lines of text."""

from collections.abc import Mapping, Sequence
from typing import Any

from weft.lib.timefmt import age, parse_rfc3339
from weft.views.tables import render

LABEL_WIDTH = 14
DEPTH_MAX = 12


def describe(obj: Mapping[str, Any], events: Sequence[Mapping[str, Any]], now: float) -> list[str]:
    """Lines for any kind of object; secrets show sizes, never values."""
    metadata = obj.get("metadata", {})
    lines = [_pair("Name", metadata.get("name", ""))]
    if metadata.get("namespace"):
        lines.append(_pair("Namespace", metadata["namespace"]))
    lines.append(_pair("Kind", f"{obj.get('kind', '')} ({obj.get('apiVersion', '')})"))
    lines += _mapping("Labels", metadata.get("labels"))
    lines += _mapping("Annotations", metadata.get("annotations"))
    if created := metadata.get("creationTimestamp"):
        lines.append(_pair("Age", age(now - parse_rfc3339(created))))
    for owner in metadata.get("ownerReferences", ()):
        lines.append(_pair("Controlled By", f"{owner.get('kind')}/{owner.get('name')}"))
    if obj.get("kind") == "Secret":
        lines += _secret(obj)
    else:
        skip = {"kind", "apiVersion", "metadata", "status"}
        for key, value in obj.items():
            if key not in skip:
                lines += _section(key, value)
        lines += _status(obj.get("status") or {}, now)
    return lines + _events(events, now)


def _pair(label: str, value: object) -> str:
    return f"{label + ':':<{LABEL_WIDTH}} {value}"


def _mapping(label: str, values: Mapping[str, str] | None) -> list[str]:
    if not values:
        return [_pair(label, "<none>")]
    items = [f"{k}={v if len(v) < 120 else v[:117] + '...'}" for k, v in sorted(values.items())]
    return [_pair(label, items[0])] + [" " * (LABEL_WIDTH + 1) + item for item in items[1:]]


def _secret(obj: Mapping[str, Any]) -> list[str]:
    lines = [_pair("Type", obj.get("type", "Opaque")), "Data:"]
    for key, value in sorted((obj.get("data") or {}).items()):
        size = len(value) * 3 // 4 - value.count("=")
        lines.append(f"  {key}: {size} bytes")
    return lines


def _title(key: str) -> str:
    words = "".join(f" {c}" if c.isupper() else c for c in key).strip()
    return words[:1].upper() + words[1:]


def _section(key: str, value: Any) -> list[str]:
    if value in (None, {}, [], ""):
        return []
    if isinstance(value, Mapping | list):
        return [f"{_title(key)}:", *_tree(value, 1)]
    return [_pair(_title(key), value)]


def _tree(value: Any, depth: int) -> list[str]:
    pad = "  " * depth
    if depth > DEPTH_MAX:
        return [pad + "..."]
    if isinstance(value, Mapping):
        lines = []
        for key, item in value.items():
            if isinstance(item, Mapping | list) and item:
                lines += [f"{pad}{key}:", *_tree(item, depth + 1)]
            else:
                lines.append(f"{pad}{key}: {_scalar(item)}")
        return lines
    lines = []
    for item in value:
        if isinstance(item, Mapping | list) and item:
            inner = _tree(item, depth + 1)
            lines += [f"{pad}- {inner[0].lstrip()}", *inner[1:]]
        else:
            lines.append(f"{pad}- {_scalar(item)}")
    return lines


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "<none>" if value in (None, {}, []) else str(value)


def _status(status: Mapping[str, Any], now: float) -> list[str]:
    conditions = status.get("conditions") or []
    rest = {k: v for k, v in status.items() if k != "conditions"}
    lines = _section("status", rest)
    if conditions:
        rows = [
            (
                c.get("type", ""),
                c.get("status", ""),
                c.get("reason") or "-",
                age(now - parse_rfc3339(c["lastTransitionTime"]))
                if c.get("lastTransitionTime")
                else "-",
                c.get("message") or "",
            )
            for c in conditions
        ]
        table = render(("Type", "Status", "Reason", "Since", "Message"), rows)
        lines += ["Conditions:", *(f"  {line}" for line in table)]
    return lines


def _events(events: Sequence[Mapping[str, Any]], now: float) -> list[str]:
    if not events:
        return [_pair("Events", "<none>")]
    rows = []
    for event in events:
        last = event.get("lastTimestamp") or event.get("eventTime") or ""
        count = event.get("count") or 1
        when = age(now - parse_rfc3339(last)) if last else "-"
        source = (event.get("source") or {}).get("component") or event.get("reportingComponent")
        rows.append(
            (
                event.get("type", ""),
                event.get("reason", ""),
                f"{when} (x{count})" if count > 1 else when,
                source or "-",
                " ".join(event.get("message", "").split()),
            )
        )
    table = render(("Type", "Reason", "Age", "From", "Message"), rows)
    return ["Events:", *(f"  {line}" for line in table)]

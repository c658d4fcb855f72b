"""What the tables of all kinds are made from: names, ages, blanks."""

from collections.abc import Mapping, Sequence
from typing import Any

from weft.lib.timefmt import age, parse_rfc3339

Json = Mapping[str, Any]

NONE = "<none>"
UNKNOWN = "<unknown>"
UNSET = "<unset>"


def since(text: Any, now: float) -> str:
    """The age of a timestamp, e.g. `5m`."""
    if not text:
        return UNKNOWN
    try:
        return age(now - parse_rfc3339(str(text)))
    except ValueError:
        return UNKNOWN


def name_of(obj: Json) -> str:
    return str((obj.get("metadata") or {}).get("name") or "")


def age_of(obj: Json, now: float) -> str:
    return since((obj.get("metadata") or {}).get("creationTimestamp"), now)


def spec_of(obj: Json) -> Json:
    return obj.get("spec") or {}


def status_of(obj: Json) -> Json:
    return obj.get("status") or {}


def joined(values: Sequence[Any]) -> str:
    return ",".join(str(value) for value in values) or NONE


def labels_text(labels: Json | None) -> str:
    """`app=web,tier=front`; `<none>` when there are none."""
    return joined([f"{key}={value}" for key, value in sorted((labels or {}).items())])


def containers_of(obj: Json) -> tuple[str, str]:
    """Names and images of the containers of a workload's template."""
    pod = (spec_of(obj).get("template") or {}).get("spec") or {}
    return containers_in(pod)


def containers_in(pod: Json) -> tuple[str, str]:
    """Names and images of the containers of a pod's spec."""
    found = pod.get("containers") or ()
    return ",".join(c.get("name") or "" for c in found), ",".join(
        c.get("image") or "" for c in found
    )

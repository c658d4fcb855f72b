"""What an instance says of itself when a test of it failed: enough to tell a starved machine from a
fault, without running the test again."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.e2e.instance import Instance, is_ready

EVENTS_SHOWN_MAX = 25
LOG_SHOWN_BYTES = 4000


def instances(values: Iterable[object]) -> Iterator[Instance]:
    """Those among a test's fixtures, and in them."""
    found: dict[int, Instance] = {}
    for value in values:
        for each in (value, *getattr(value, "__dict__", {}).values()):
            if isinstance(each, Instance):
                found[id(each)] = each
    return iter(found.values())


def diagnosis(weft: Instance) -> str:
    """Pods, who serves, warnings, the end of the log. What cannot be had is left out, with the
    reason."""
    parts: dict[str, Callable[[Instance], Iterable[str]]] = {
        "pods": _pods, "endpoints": _endpoints, "warnings": _warnings, "log": _log,
    }  # fmt: skip
    said = []
    for name, ask in parts.items():
        try:
            lines = list(ask(weft))
        except (OSError, AssertionError, ValueError, KeyError) as error:
            lines = [f"not known: {error!r}"[:300]]
        said += [f"{name}:", *(f"  {line}" for line in lines)]
    return "\n".join(said)


def _pods(weft: Instance) -> Iterator[str]:
    for pod in weft.read("/api/v1/pods")["items"]:
        meta, status = pod["metadata"], pod.get("status", {})
        restarts = sum(c.get("restartCount", 0) for c in status.get("containerStatuses") or ())
        ready = "ready" if is_ready(pod) else "not ready"
        leaving = ", deleted" if "deletionTimestamp" in meta else ""
        yield (
            f"{meta['namespace']}/{meta['name']} {status.get('podIP', '-')} {status.get('phase')},"
            f" {ready}{leaving}, {restarts} restarts, on {pod['spec'].get('nodeName', '-')}"
        )


def _endpoints(weft: Instance) -> Iterator[str]:
    for piece in weft.read("/apis/discovery.k8s.io/v1/endpointslices")["items"]:
        meta = piece["metadata"]
        service = meta.get("labels", {}).get("kubernetes.io/service-name", "-")
        served = ", ".join(_endpoint(e) for e in piece.get("endpoints") or ())
        yield f"{meta['namespace']}/{service} at {meta['resourceVersion']}: {served or 'none'}"


def _endpoint(endpoint: Any) -> str:
    ready = endpoint.get("conditions", {}).get("ready", True)
    name = endpoint.get("hostname") or (endpoint.get("targetRef") or {}).get("name", "")
    return f"{name} {endpoint['addresses'][0]}{'' if ready else ' (not ready)'}"


def _warnings(weft: Instance) -> Iterator[str]:
    events = weft.read("/api/v1/events")["items"]
    told = [e for e in events if e.get("type") == "Warning"]
    for event in told[-EVENTS_SHOWN_MAX:]:
        at = event.get("lastTimestamp") or event.get("eventTime") or ""
        about = event["involvedObject"]
        yield (
            f"{at} {about.get('kind')} {about.get('name')}: {event['reason']}"
            f" x{event.get('count', 1)}: {event['message'][:200]}"
        )


def _log(weft: Instance) -> list[str]:
    text = (weft.data_dir / "log/weft.log").read_bytes()[-LOG_SHOWN_BYTES:]
    return text.decode(errors="replace").splitlines()

"""A pod's line in tables: readiness, restarts, and the one word that tells its state."""

from collections.abc import Mapping, Sequence
from typing import Any

from weft.lib.timefmt import age, parse_rfc3339

Json = Mapping[str, Any]

_NONE = "<none>"
_UNKNOWN = "<unknown>"
_FINISHED = ("Succeeded", "Failed")
NODE_LOST = "NodeLost"


def pod_cells(pod: Json, now: float) -> list[Any]:
    """Name, ready, status, restarts, age, and what `-o wide` adds."""
    metadata, spec, status = (pod.get(key) or {} for key in ("metadata", "spec", "status"))
    created = metadata.get("creationTimestamp")
    return [
        metadata.get("name") or "",
        ready_text(pod),
        pod_state(pod),
        restarts_text(pod, now),
        age(now - parse_rfc3339(created)) if created else _UNKNOWN,
        status.get("podIP") or _NONE,
        spec.get("nodeName") or _NONE,
        status.get("nominatedNodeName") or _NONE,
        _readiness_gates(spec, status),
    ]


def _is_sidecar(container: Json | None) -> bool:
    return container is not None and container.get("restartPolicy") == "Always"


def _by_name(containers: Sequence[Json]) -> dict[str, Json]:
    return {container.get("name") or "": container for container in containers}


def _init_statuses(pod: Json) -> list[tuple[Json, bool]]:
    """Statuses of init containers, each with whether it is a sidecar."""
    specs = _by_name((pod.get("spec") or {}).get("initContainers") or ())
    statuses = (pod.get("status") or {}).get("initContainerStatuses") or ()
    return [(status, _is_sidecar(specs.get(status.get("name") or ""))) for status in statuses]


def _statuses(pod: Json) -> Sequence[Json]:
    found: Sequence[Json] = (pod.get("status") or {}).get("containerStatuses") or ()
    return found


def _state(status: Json, key: str) -> Json | None:
    found: Json | None = (status.get("state") or {}).get(key)
    return found


def ready_text(pod: Json) -> str:
    """`1/2`: containers, and sidecars among the init containers, that are ready."""
    spec = pod.get("spec") or {}
    sidecars = [s for s, sidecar in _init_statuses(pod) if sidecar]
    total = len(spec.get("containers") or ()) + sum(
        _is_sidecar(container) for container in spec.get("initContainers") or ()
    )
    if _initializing(pod)[0]:
        ready = sum(bool(s.get("ready")) for s in sidecars)
        return f"{ready}/{total}"
    running = [s for s in _statuses(pod) if _state(s, "running") is not None]
    ready = sum(bool(s.get("ready")) for s in (*sidecars, *running))
    return f"{ready}/{total}"


def pod_state(pod: Json) -> str:
    """One word: the phase, or what holds the pod up (`CrashLoopBackOff`, `Init:0/1`, ...)."""
    status = pod.get("status") or {}
    phase = status.get("phase") or "Unknown"
    state = status.get("reason") or phase
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            state = "SchedulingGated"
    waiting, word = _initializing(pod)
    state = word or state
    if not waiting:
        state = _containers_state(pod, state)
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        if status.get("reason") == NODE_LOST:
            return "Unknown"
        if phase not in _FINISHED:
            return "Terminating"
    return str(state)


def _condition(pod: Json, kind: str) -> bool:
    return any(
        condition.get("type") == kind and condition.get("status") == "True"
        for condition in (pod.get("status") or {}).get("conditions") or ()
    )


def _initializing(pod: Json) -> tuple[bool, str]:
    """Whether init containers still run, and the word for it."""
    total = len((pod.get("spec") or {}).get("initContainers") or ())
    for index, (status, sidecar) in enumerate(_init_statuses(pod)):
        terminated, waiting = _state(status, "terminated"), _state(status, "waiting")
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if sidecar and status.get("started"):
            continue
        if terminated is not None:
            word = f"Init:{terminated.get('reason') or _exit_word(terminated)}"
        elif waiting and waiting.get("reason") not in (None, "", "PodInitializing"):
            word = f"Init:{waiting['reason']}"
        else:
            word = f"Init:{index}/{total}"
        return not _condition(pod, "Initialized"), word
    return False, ""


def _exit_word(terminated: Json) -> str:
    signal = terminated.get("signal")
    return f"Signal:{signal}" if signal else f"ExitCode:{terminated.get('exitCode') or 0}"


def _containers_state(pod: Json, state: str) -> str:
    """The first container that is not running speaks for the pod."""
    running = False
    for status in reversed(_statuses(pod)):
        waiting, terminated = _state(status, "waiting"), _state(status, "terminated")
        if waiting and waiting.get("reason"):
            state = waiting["reason"]
        elif terminated is not None:
            state = terminated.get("reason") or _exit_word(terminated)
        elif status.get("ready") and _state(status, "running") is not None:
            running = True
    if state == "Completed" and running:
        return "Running" if _condition(pod, "Ready") else "NotReady"
    return state


def restarts_text(pod: Json, now: float) -> str:
    """`3 (2m ago)`, or `0`."""
    init = _init_statuses(pod)
    if _initializing(pod)[0]:
        counted = [status for status, _ in init]
    else:
        counted = [*(s for s, sidecar in init if sidecar), *_statuses(pod)]
    restarts = sum(status.get("restartCount") or 0 for status in counted)
    ends = [
        ((status.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
        for status in counted
    ]
    last = max((parse_rfc3339(end) for end in ends if end), default=0.0)
    return f"{restarts} ({age(now - last)} ago)" if restarts and last else str(restarts)


def _readiness_gates(spec: Json, status: Json) -> str:
    gates = [gate.get("conditionType") for gate in spec.get("readinessGates") or ()]
    if not gates:
        return _NONE
    held = {
        condition.get("type")
        for condition in status.get("conditions") or ()
        if condition.get("status") == "True"
    }
    return f"{sum(gate in held for gate in gates)}/{len(gates)}"

"""Whether an object is in force, or runs, as it was written last: what `weft apply --wait` asks."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

Json = Mapping[str, Any]
MESH_GROUPS = (
    "networking.istio.io", "security.istio.io", "telemetry.istio.io", "policy.weft.dev",
)  # fmt: skip
GATEWAY_API = "gateway.networking.k8s.io"


class Settled(Struct, frozen=True):
    """Done, not yet, or it will not come to pass by itself."""

    done: bool
    text: str
    """What was reached, or what is missing and where."""
    failed: bool = False


def settled(group: str, kind: str, obj: Json) -> Settled | None:
    """None: nothing to wait for in this kind."""
    if group in MESH_GROUPS or (group == GATEWAY_API and kind in ("Gateway", "ListenerSet")):
        return _programmed(obj)
    if group == GATEWAY_API and kind.endswith("Route"):
        return _route(obj)
    if group == "apps" and kind in ("Deployment", "StatefulSet"):
        return _rolled_out(obj)
    if (group, kind) == ("argoproj.io", "Rollout"):
        return _healthy(obj)
    if group == "apps" and kind == "DaemonSet":
        return _on_all_nodes(obj)
    if (group, kind) == ("", "Pod"):
        return _ready(obj)
    return None


def _status(obj: Json) -> Json:
    return obj.get("status") or {}


def _generation(obj: Json) -> int:
    return int((obj.get("metadata") or {}).get("generation") or 0)


def _condition(conditions: Any, kind: str) -> Json:
    return next((c for c in conditions or () if c.get("type") == kind), {})


def _programmed(obj: Json) -> Settled:
    found = _condition(_status(obj).get("conditions"), "Programmed")
    if not found or (found.get("observedGeneration") or 0) < _generation(obj):
        return Settled(False, "weft has not looked at it yet")
    text = str(found.get("message") or found.get("reason") or "")
    accepted = _condition(_status(obj).get("conditions"), "Accepted")
    if accepted.get("status") == "False":
        return Settled(False, str(accepted.get("message") or accepted.get("reason")), failed=True)
    if found.get("status") == "True":
        return Settled(True, text if text.startswith("acknowledged") else "in force")
    return Settled(False, text, failed=found.get("reason") in ("Rejected", "Invalid"))


def _route(obj: Json) -> Settled:
    """At each parent: accepted, every reference leads somewhere, all nodes have it."""
    wanted = len((obj.get("spec") or {}).get("parentRefs") or ())
    parents = [parent.get("conditions") for parent in _status(obj).get("parents") or ()]
    current = {
        kind: [c for c in (_condition(each, kind) for each in parents)
               if (c.get("observedGeneration") or 0) >= _generation(obj)]
        for kind in ("Accepted", "ResolvedRefs", "Programmed")
    }  # fmt: skip
    refused = [c for each in current.values() for c in each if c.get("status") == "False"]
    if refused:
        reason, message = (str(refused[0].get(key) or "") for key in ("reason", "message"))
        if refused[0].get("type") == "Programmed":
            return Settled(False, message, failed=reason in ("Rejected", "NotBuilt"))
        return Settled(False, ": ".join(filter(None, (reason, message))), failed=True)
    count = min(len(each) for each in current.values())
    if count < wanted:
        return Settled(False, f"accepted by {count} of {wanted} parents")
    text = str(current["Programmed"][0].get("message") or "") if wanted else ""
    return Settled(True, f"accepted, {text}" if text else "accepted")


def _rolled_out(obj: Json) -> Settled:
    spec, status = obj.get("spec") or {}, _status(obj)
    wanted = 1 if spec.get("replicas") is None else int(spec["replicas"])
    if (status.get("observedGeneration") or 0) < _generation(obj):
        return Settled(False, "its controller has not looked at it yet")
    progress = _condition(status.get("conditions"), "Progressing")
    if progress.get("reason") == "ProgressDeadlineExceeded":
        return Settled(False, str(progress.get("message") or "no progress in time"), failed=True)
    updated, total = (int(status.get(n) or 0) for n in ("updatedReplicas", "replicas"))
    ready = int(status.get("availableReplicas") or status.get("readyReplicas") or 0)
    if updated < wanted:
        return Settled(False, f"{updated} of {wanted} pods are of the new version")
    if total > updated:
        return Settled(False, f"{total - updated} pods of the old version still run")
    if ready < wanted:
        return Settled(False, f"{ready} of {wanted} pods are ready")
    return Settled(True, "rolled out")


def _healthy(obj: Json) -> Settled:
    status = _status(obj)
    if str(status.get("observedGeneration") or 0) != str(_generation(obj)):
        return Settled(False, "its controller has not looked at it yet")
    phase, text = status.get("phase"), str(status.get("message") or "")
    if phase == "Healthy":
        return Settled(True, "rolled out")
    return Settled(False, text or str(phase), failed=phase == "Degraded")


def _on_all_nodes(obj: Json) -> Settled:
    status = _status(obj)
    if (status.get("observedGeneration") or 0) < _generation(obj):
        return Settled(False, "its controller has not looked at it yet")
    wanted = int(status.get("desiredNumberScheduled") or 0)
    updated = int(status.get("updatedNumberScheduled") or 0)
    ready = int(status.get("numberAvailable") or 0)
    if min(updated, ready) < wanted:
        return Settled(False, f"{min(updated, ready)} of {wanted} nodes run it")
    return Settled(True, "rolled out")


def _ready(obj: Json) -> Settled:
    status = _status(obj)
    phase = status.get("phase") or "Pending"
    found = _condition(status.get("conditions"), "Ready")
    if phase == "Succeeded" or found.get("status") == "True":
        return Settled(True, "ready" if phase != "Succeeded" else "done")
    if phase == "Failed":
        return Settled(False, str(status.get("message") or "it failed"), failed=True)
    return Settled(False, str(found.get("message") or f"it is {phase}"))

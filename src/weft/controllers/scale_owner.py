"""Who decides how many replicas there are: an autoscaler, or whoever applies a configuration.

With an autoscaler, `replicas` of a configuration that is applied again would take away what the
autoscaler has added until it adds it anew. Pure.
"""

from collections.abc import Mapping
from typing import Any

from weft.api.k8s.autoscaling_v2 import HorizontalPodAutoscaler
from weft.api.snapshot import Snapshot
from weft.controllers.autoscaling import SCALED

Json = Mapping[str, Any]


def kept(snapshot: Snapshot, kind: str, old: Json, new: Json) -> tuple[int, str] | None:
    """The replicas that stay, and the name of the autoscaler that decides; None: the write counts.
    From and to zero a person decides, as that switches the autoscaler off and on."""
    before, wanted = _replicas(old), _replicas(new)
    if kind not in SCALED or not before or not wanted or before == wanted:
        return None
    metadata = new.get("metadata") or {}
    for scaler in snapshot.list(HorizontalPodAutoscaler, metadata.get("namespace") or ""):
        target = scaler.spec.scale_target_ref
        if target is not None and (target.kind, target.name) == (kind, metadata.get("name")):
            return before, scaler.metadata.name
    return None


def _replicas(obj: Json) -> int:
    found = (obj.get("spec") or {}).get("replicas")
    return found if isinstance(found, int) else 1

"""What waits in a queue is created so that it waits: Jobs suspended, pods with a gate. Pure."""

from collections.abc import Mapping
from typing import Any

from weft.api.wellknown import GATE_QUEUE, LABELS_QUEUE

Json = Mapping[str, Any]


def queue_of(obj: Json) -> str:
    """The queue that an object names; empty for none."""
    labels = (obj.get("metadata") or {}).get("labels") or {}
    return next((str(labels[label]) for label in LABELS_QUEUE if labels.get(label)), "")


def in_queue(obj: dict[str, Any], queue: str) -> dict[str, Any]:
    """The object, naming a LocalQueue."""
    metadata = obj.get("metadata") or {}
    labels = {**(metadata.get("labels") or {}), LABELS_QUEUE[1]: queue}
    return obj | {"metadata": {**metadata, "labels": labels}}


def labelled_template(obj: dict[str, Any]) -> dict[str, Any]:
    """A Deployment whose pods name the LocalQueue that it names, as Kueue has it."""
    queue = ((obj.get("metadata") or {}).get("labels") or {}).get(LABELS_QUEUE[1])
    spec = obj.get("spec") or {}
    template = spec.get("template") or {}
    if not queue or queue_of(template) == queue:
        return obj
    return obj | {"spec": {**spec, "template": in_queue(template, str(queue))}}


def held(obj: dict[str, Any], plural: str) -> dict[str, Any]:
    """A new Job or pod, held if it names a queue. Pods of Jobs wait with their Job."""
    if not queue_of(obj):
        return obj
    spec = obj.get("spec") or {}
    if plural == "jobs":
        return obj | {"spec": {**spec, "suspend": True}}
    owners = (obj.get("metadata") or {}).get("ownerReferences") or ()
    gates = spec.get("schedulingGates") or []
    of_job = any(o.get("controller") and o.get("kind") == "Job" for o in owners)
    if of_job or spec.get("nodeName") or any(g.get("name") == GATE_QUEUE for g in gates):
        return obj
    return obj | {"spec": {**spec, "schedulingGates": [*gates, {"name": GATE_QUEUE}]}}

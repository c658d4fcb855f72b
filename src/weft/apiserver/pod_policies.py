"""What a namespace and the cluster have to say about every new pod: its service account, its
resources. Pure but for reading the store."""

from typing import Any

from weft.api import registry
from weft.api.kinds import Kind
from weft.api.kueue.v1beta2 import LocalQueue
from weft.api.wellknown import ANNOTATION_START_AFTER, GATE_START_AFTER
from weft.apiserver import codec, failures, keys, limit_ranges, queue_gates, verbs
from weft.apiserver.access import Review, Verdict
from weft.store.interface import Store

DEFAULT_QUEUE = "default"
_NOTHING = Verdict()


class PodPolicies:
    """access.Admission."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def review(self, asked: Review) -> Verdict:
        new, kind = asked.new, asked.kind
        if new is None or asked.operation == "DELETE":
            return _NOTHING
        if asked.subresource == "resize":
            _refuse(asked, new, await self._ranges(asked.namespace))
        if asked.subresource:
            return _NOTHING
        if (kind.group, kind.plural) == ("apps", "deployments"):
            made = queue_gates.labelled_template(new)
            return Verdict(made) if made is not new else _NOTHING
        if asked.operation != "CREATE":
            return _NOTHING
        if (kind.group, kind.plural) == ("batch", "jobs"):
            job = queue_gates.held(await self._in_default_queue(asked, new), "jobs")
            return Verdict(job) if job is not new else _NOTHING
        if kind.group or kind.plural != "pods":
            return _NOTHING
        await self._account(asked, new)
        obj = _gated(queue_gates.held(new, "pods"))
        ranges = await self._ranges(asked.namespace)
        if ranges:
            obj = limit_ranges.with_defaults(obj, ranges)
            _refuse(asked, obj, ranges)
        return Verdict(obj) if obj is not new else _NOTHING

    async def _in_default_queue(self, asked: Review, job: dict[str, Any]) -> dict[str, Any]:
        """A Job that names no queue waits in its namespace's LocalQueue `default`, as in Kueue."""
        if queue_gates.queue_of(job):
            return job
        queues = registry.kind_for(LocalQueue)
        found = await self._store.get(keys.key(queues, DEFAULT_QUEUE, asked.namespace))
        return queue_gates.in_queue(job, DEFAULT_QUEUE) if found is not None else job

    async def _ranges(self, namespace: str) -> list[dict[str, Any]]:
        return await self._objects(verbs.known_kind("limitranges"), namespace)

    async def _objects(self, kind: Kind, namespace: str = "") -> list[dict[str, Any]]:
        found = await self._store.range(keys.prefix(kind, namespace))
        return [codec.to_object(entry.value) for entry in found.entries]

    async def _account(self, asked: Review, pod: dict[str, Any]) -> None:
        """Raises ApiError 403 when the pod would run as nobody."""
        name = (pod.get("spec") or {}).get("serviceAccountName") or "default"
        accounts = verbs.known_kind("serviceaccounts")
        if await self._store.get(keys.key(accounts, name, asked.namespace)) is None:
            why = (
                f"error looking up service account {asked.namespace}/{name}: "
                f'serviceaccount "{name}" not found'
            )
            raise failures.forbidden(asked.kind, asked.name, why)


def _gated(pod: dict[str, Any]) -> dict[str, Any]:
    """A pod that is to start after others waits for them at a gate."""
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    spec = pod.get("spec") or {}
    gates = spec.get("schedulingGates") or []
    wanted = str(annotations.get(ANNOTATION_START_AFTER) or "").strip(" ,")
    if not wanted or spec.get("nodeName") or any(g.get("name") == GATE_START_AFTER for g in gates):
        return pod
    return pod | {"spec": {**spec, "schedulingGates": [*gates, {"name": GATE_START_AFTER}]}}


def _refuse(asked: Review, pod: dict[str, Any], ranges: list[dict[str, Any]]) -> None:
    """Raises ApiError 403."""
    try:
        found = limit_ranges.problems(pod, ranges)
    except ValueError:
        return  # validation says which quantity is none
    if found:
        text = found[0] if len(found) == 1 else f"[{', '.join(found)}]"
        raise failures.forbidden(asked.kind, asked.name, text)

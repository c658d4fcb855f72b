"""Priority admission: a pod's class gives its priority, as Kubernetes' Priority plugin does."""

from collections.abc import Mapping
from typing import Any

from weft.api import registry
from weft.api.k8s.scheduling_v1 import PriorityClass
from weft.api.kinds import Kind
from weft.apiserver import codec, failures, keys
from weft.apiserver.access import Review, Verdict
from weft.store.interface import Store

_DEFAULT_MARK = b'"globalDefault":true'
_NOTHING = Verdict()


class PriorityAdmission:
    """An admission hook that reads the classes from the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kind = registry.kind_for(PriorityClass)

    async def review(self, asked: Review) -> Verdict:
        """As Admission.review. Raises ApiError 403 for a class that does not exist."""
        operation, kind, new = asked.operation, asked.kind, asked.new
        if new is None:
            return _NOTHING
        if kind is self._kind:
            await self._refuse_second_default(new)
        elif operation == "CREATE" and (kind.group, kind.plural) == ("", "pods"):
            return Verdict(await self._with_priority(kind, dict(new)))
        return _NOTHING

    async def _with_priority(self, kind: Kind, pod: dict[str, Any]) -> dict[str, Any]:
        spec = dict(pod.get("spec") or {})
        name = spec.get("priorityClassName") or ""
        found = await self._named(name) if name else await self._default()
        if name and found is None:
            pod_name = pod["metadata"].get("name", "")
            raise failures.forbidden(kind, pod_name, f"no PriorityClass with name {name} was found")
        value = found["value"] if found else 0
        if spec.get("priority") not in (None, value):
            raise failures.forbidden(
                kind, pod["metadata"].get("name", ""),
                f"the integer value of priority ({spec['priority']}) must not be provided in pod "
                f"spec; priority admission controller computed {value} from the given "
                "PriorityClass name",
            )  # fmt: skip
        spec["priority"] = value
        if found:
            spec["priorityClassName"] = found["metadata"]["name"]
            policy = found.get("preemptionPolicy") or "PreemptLowerPriority"
            spec.setdefault("preemptionPolicy", policy)
        return pod | {"spec": spec}

    async def _named(self, name: str) -> dict[str, Any] | None:
        entry = await self._store.get(keys.key(self._kind, name))
        return codec.to_object(entry.value) if entry else None

    async def _default(self) -> dict[str, Any] | None:
        """The class of pods that name none."""
        for entry in (await self._store.range(keys.prefix(self._kind))).entries:
            if _DEFAULT_MARK in entry.value:
                found = codec.to_object(entry.value)
                if found.get("globalDefault"):
                    return found
        return None

    async def _refuse_second_default(self, new: Mapping[str, Any]) -> None:
        if not new.get("globalDefault"):
            return
        current = await self._default()
        if current is not None and current["metadata"]["name"] != new["metadata"].get("name"):
            other = current["metadata"]["name"]
            raise failures.forbidden(
                self._kind, new["metadata"].get("name", ""),
                f"PriorityClass {other} is already marked as default. Only one default can exist",
            )  # fmt: skip

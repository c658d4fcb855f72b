"""A small world for controllers: objects in memory, an API that does what Kubernetes' does, a
fake node agent, and a clock. Plans are applied until nothing wants to change."""

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tests.examples import ALL, SHARE_OF_CHECK
from weft.api import registry
from weft.api.k8s.apps_v1 import Deployment
from weft.api.k8s.core_v1 import Namespace
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.k8s.pod_v1 import (
    ContainerState,
    ContainerStateTerminated,
    ContainerStatus,
    Pod,
    PodCondition,
    PodStatus,
)
from weft.api.objects import decode, to_json
from weft.api.snapshot import ObjectSnapshot, Observed, meta
from weft.lib.timefmt import rfc3339
from weft.runtime.controller import Controller
from weft.runtime.plan import Action, Bind, Create, Delete, Key, Patch, Plan, RecordEvent

T = TypeVar("T", bound=Struct)
STEPS_MAX = 5000
START = 1_800_000_000.0


class Conflict(Exception):
    """A conditional write came too late."""


class World:
    """Objects, time, and what happens to both. `check` is called after every write."""

    def __init__(
        self,
        controllers: Iterable[Controller],
        seed: int = 0,
        check: Callable[["World"], None] | None = None,
    ) -> None:
        self.controllers = tuple(controllers)
        self.random = Random(seed)
        self.check = check or (lambda world: None)
        self.now = START
        self.objects: dict[tuple[type[Struct], str, str], Struct] = {}
        self.seen: dict[tuple[type[Struct], str, str], tuple[float, bool]] = {}
        """Of classes that controllers observe."""
        self.events: list[RecordEvent] = []
        self.writes: list[Action] = []
        self.queue: dict[tuple[str, Key], None] = {}
        self.timers: dict[tuple[str, Key], float] = {}
        self.revision = 0
        self.steps = 0
        self._shown: tuple[tuple[float, int, int], ObjectSnapshot] | None = None

    # --- what tests do

    def put(self, obj: T) -> T:
        """Create as a user would."""
        return self._create(obj)

    def get(self, cls: type[T], name: str, namespace: str = "default") -> T | None:
        found: Any = self.objects.get((cls, namespace, name))
        return found  # type: ignore[no-any-return]

    def need(self, cls: type[T], name: str, namespace: str = "default") -> T:
        found = self.get(cls, name, namespace)
        assert found is not None, f"no {cls.__name__} {namespace}/{name}"
        return found

    def all(self, cls: type[T]) -> list[T]:
        found: Any = [o for (c, _, _), o in sorted(self.objects.items(), key=_name) if c is cls]
        return found  # type: ignore[no-any-return]

    def patch(
        self, cls: type[Struct], name: str, body: Mapping[str, Any], namespace: str = "default"
    ) -> None:
        self._patch(Patch(cls, namespace, name, body))

    def delete(
        self,
        cls: type[Struct],
        name: str,
        namespace: str = "default",
        propagation: Any = None,
        grace: int | None = None,
    ) -> None:
        uid = meta(self.need(cls, name, namespace)).uid
        self._delete(Delete(cls, namespace, name, uid, grace, propagation))

    def set_status(self, obj: T, status: Struct) -> None:
        """Write an object's status as its owner would."""
        current = self.get(type(obj), meta(obj).name, meta(obj).namespace)
        if current is not None:
            self._store(current, replace(current, status=status))

    def settle(self, agent: Callable[["World"], bool] | None = None) -> None:
        """Plan until quiet; when quiet let the agent act; end when it has nothing to do."""
        for _ in range(STEPS_MAX):
            if self.queue:
                self.step()
            elif agent is None or not agent(self):
                return
        raise AssertionError(f"not quiet after {STEPS_MAX} steps; last: {self.writes[-5:]}")

    def step(self) -> None:
        """One plan of a key picked at random, applied."""
        name, key = self.random.choice(list(self.queue))
        del self.queue[name, key]
        controller = next(c for c in self.controllers if c.name == name)
        plan = controller.plan(self.snapshot(), key, self.now)
        self.steps += 1
        if ALL or self.steps % SHARE_OF_CHECK == 1:
            assert plan == controller.plan(self.snapshot(), key, self.now), "not a function"
        self.apply(plan)
        if plan.requeue_after is not None:
            self.timers[name, key] = self.now + plan.requeue_after

    def pass_time(self, seconds: float) -> None:
        """Move the clock; due timers queue their keys."""
        self.now += seconds
        for (name, key), due in list(self.timers.items()):
            if due <= self.now:
                del self.timers[name, key]
                self.queue[name, key] = None

    def snapshot(self) -> ObjectSnapshot:
        """The same one until something changes: most of the time is spent on making them."""
        state = self.now, self.revision, len(self.objects)
        if self._shown is None or self._shown[0] != state:
            observed = {
                key: Observed(self.now - at, changed) for key, (at, changed) in self.seen.items()
            }
            self._shown = state, ObjectSnapshot(self.objects.values(), observed)
        return self._shown[1]

    # --- the API

    def apply(self, plan: Plan) -> None:
        for action in plan.actions:
            if isinstance(action, RecordEvent):
                self.events.append(action)
                continue
            self.writes.append(action)
            match action:
                case Create():
                    made = self._create(action.object)
                    if (event := action.told(meta(made).name)) is not None:
                        self.events.append(event)
                case Patch():
                    self._patch(action)
                case Delete():
                    self._delete(action)
                case Bind():
                    pod = self.need(Pod, action.name, action.namespace)
                    spec = replace(pod.spec, node_name=action.node)
                    self._store(pod, replace(pod, spec=spec))

    def _create(self, obj: T) -> T:
        self.revision += 1
        found = meta(obj)
        name = found.name or f"{found.generate_name}{self.revision:05}"
        if (type(obj), found.namespace, name) in self.objects:
            return obj
        made = replace(
            found,
            name=name,
            uid=found.uid or f"uid-{self.revision}",
            creation_timestamp=rfc3339(self.now),
            generation=1,
        )
        if isinstance(obj, Pod) and not obj.status.phase:
            obj = replace(obj, status=replace(obj.status, phase="Pending"))
        if isinstance(obj, Namespace):
            obj = replace(obj, spec=replace(obj.spec, finalizers=("kubernetes",)))
        # A round trip through JSON: what a controller writes is what it gets to see.
        value: Any = decode(type(obj), to_json(replace(obj, metadata=made)))
        self._store(None, value)
        return value  # type: ignore[no-any-return]

    def _patch(self, action: Patch) -> None:
        current = self.objects.get((action.cls, action.namespace, action.name))
        if current is None:
            return
        body = to_json(current)
        wanted = (action.body.get("metadata") or {}).get("resourceVersion")
        if wanted is not None and wanted != meta(current).resource_version:
            raise Conflict(action)
        patched = merge(body, action.body)
        if action.subresource == "status":
            with_it = {"metadata": patched["metadata"]} if action.cls is Deployment else {}
            patched = body | {"status": patched.get("status", {})} | with_it
        elif "status" in body:
            patched["status"] = body["status"]
        after = decode(action.cls, patched)
        if getattr(after, "spec", None) != getattr(current, "spec", None):
            generation = (meta(current).generation or 0) + 1
            after = replace(after, metadata=replace(meta(after), generation=generation))
        self._store(current, after)

    def _delete(self, action: Delete) -> None:
        current = self.objects.get((action.cls, action.namespace, action.name))
        if current is None or meta(current).uid != action.uid:
            return
        found = meta(current)
        finalizers = list(found.finalizers)
        for policy, finalizer in (("Foreground", "foregroundDeletion"), ("Orphan", "orphan")):
            if action.propagation == policy and finalizer not in finalizers:
                finalizers.append(finalizer)
        graceful = (
            isinstance(current, Pod)
            and bool(current.spec.node_name)
            and action.grace_period_seconds != 0
        )
        held = graceful or finalizers or (isinstance(current, Namespace))
        if not held:
            self._remove(current)
            return
        stamp = found.deletion_timestamp or rfc3339(self.now)
        metadata = replace(
            found,
            deletion_timestamp=stamp,
            finalizers=tuple(finalizers),
            deletion_grace_period_seconds=30 if graceful else 0,
        )
        self._store(current, replace(current, metadata=metadata))

    def _store(self, before: Struct | None, after: Struct) -> None:
        if before is not None and _same(before, after):
            return
        self.revision += 1
        metadata = replace(meta(after), resource_version=str(self.revision))
        after = replace(after, metadata=metadata)
        gone = (
            metadata.deletion_timestamp
            and not metadata.finalizers
            and not metadata.deletion_grace_period_seconds
            and not (isinstance(after, Namespace) and after.spec.finalizers)
        )
        if gone:
            self._remove(after)
            return
        key = (type(after), metadata.namespace, metadata.name)
        if any(type(after) in c.observed for c in self.controllers):
            self.seen[key] = self.now, before is not None
        self.objects[key] = after
        self._notify(before, after)
        self.check(self)

    def _remove(self, obj: Struct) -> None:
        key = (type(obj), meta(obj).namespace, meta(obj).name)
        self.objects.pop(key, None)
        self.seen.pop(key, None)
        self._notify(obj)
        self.check(self)

    def _notify(self, *values: Struct | None) -> None:
        snapshot = self.snapshot()
        for obj in (v for v in values if v is not None):
            for controller in self.controllers:
                keys: list[Key] = []
                if controller.primary is type(obj):
                    own = controller.primary_keys
                    keys += (
                        own(obj, snapshot) if own else [Key(meta(obj).namespace, meta(obj).name)]
                    )
                for watch in controller.watches:
                    if watch.cls is type(obj):
                        keys += watch.to_keys(obj, snapshot)
                for key in keys:
                    self.queue[controller.name, key] = None


def _name(item: tuple[tuple[type[Struct], str, str], Struct]) -> tuple[str, str]:
    return item[0][1], item[0][2]


def _same(before: Struct, after: Struct) -> bool:
    version = meta(before).resource_version
    return before == replace(after, metadata=replace(meta(after), resource_version=version))


def merge(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


# --- the fake node agent


def ready(world: World, pod: Pod, value: bool = True) -> None:
    """The pod runs, and its Ready condition is set."""
    condition = PodCondition(
        type="Ready",
        status="True" if value else "False",
        last_transition_time=rfc3339(world.now),
    )
    others = tuple(c for c in pod.status.conditions if c.type != "Ready")
    number = int(meta(pod).uid.rpartition("-")[2] or 1)
    status = replace(
        pod.status,
        phase="Running",
        pod_ip=pod.status.pod_ip or f"10.0.{number // 250 % 250}.{number % 250 + 1}",
        conditions=(*others, condition),
    )
    world.set_status(pod, status)


def finish(world: World, pod: Pod, code: int = 0) -> None:
    """The pod's containers ended."""
    ended = ContainerState(
        terminated=ContainerStateTerminated(exit_code=code, finished_at=rfc3339(world.now))
    )
    status = PodStatus(
        phase="Failed" if code else "Succeeded",
        container_statuses=(ContainerStatus(name="main", state=ended),),
    )
    world.set_status(pod, status)


def terminate(world: World, pod: Pod) -> None:
    """A pod asked to go is gone, unless finalizers hold it: then it has failed."""
    if pod.status.phase not in ("Succeeded", "Failed"):
        finish(world, pod, 143)
    current = world.get(Pod, meta(pod).name, meta(pod).namespace)
    if current is None:
        return
    metadata = replace(meta(current), deletion_grace_period_seconds=None)
    world._store(current, replace(current, metadata=metadata))


def kubelet(world: World) -> bool:
    """One thing a node agent would do, picked at random; False when there is nothing to do."""
    todo = [p for p in world.all(Pod) if _wants_agent(p)]
    if not todo:
        return False
    pod = world.random.choice(todo)
    if meta(pod).deletion_timestamp:
        terminate(world, pod)
    else:
        ready(world, pod)
    return True


def _wants_agent(pod: Pod) -> bool:
    if meta(pod).deletion_timestamp:
        return bool(meta(pod).deletion_grace_period_seconds)
    return bool(pod.spec.node_name) and pod.status.phase == "Pending"


def make(cls: type[T], text: Mapping[str, Any], **metadata: Any) -> T:
    """A value from JSON as a manifest would have it; `metadata` is camelCase."""
    kind = registry.kind_for(cls)
    scope = {"namespace": "default"} if kind.namespaced else {}
    body = {"apiVersion": kind.api_version, "kind": kind.kind, **text}
    body["metadata"] = scope | dict(text.get("metadata") or {}) | metadata
    return msgspec.convert(body, cls)


__all__ = ["ObjectMeta", "World", "finish", "kubelet", "make", "ready", "terminate"]

"""Garbage collection by owner references: background, foreground and orphan deletion.

One controller looks after all classes; its keys name an object as `plural.group/name`. Source of
the rules: Kubernetes' garbage collector. An owner of a kind that weft does not know counts as
present: nothing is deleted on a guess.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from weft.api import registry
from weft.api.k8s.coordination_v1 import Lease
from weft.api.k8s.core_v1 import Event
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.k8s.meta_v1 import OwnerReference
from weft.api.k8s.pod_v1 import Pod
from weft.api.kinds import Kind
from weft.api.snapshot import Snapshot, meta
from weft.controllers.support.ownership import without_owner
from weft.controllers.support.patches import object_patch
from weft.controllers.support.podstate import seconds
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Action, Delete, Key, Patch, Plan

FINALIZER_FOREGROUND = "foregroundDeletion"
FINALIZER_ORPHAN = "orphan"
SETTLING_SECONDS = 2.0
"""A younger object is not collected: the news of its owner may still be on its way."""
KINDS: tuple[Kind, ...] = tuple(
    k for k in registry.KINDS if k.struct is not None and k.struct is not Event
)
_BY_RESOURCE = {f"{k.plural}.{k.group}": k for k in KINDS}
# Numerous and hardly ever owners other than as controllers: their deletion alone does not make
# all objects of the namespace be looked through.
_SELDOM_OWNERS = (Pod, EndpointSlice, Lease)


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """What the object's owners, or its own deletion, ask for."""
    resource, _, name = key.name.partition("/")
    kind = _BY_RESOURCE.get(resource)
    obj = snapshot.get(_struct(kind), name, key.namespace) if kind else None
    if obj is None:
        return NOTHING
    if meta(obj).deletion_timestamp:
        if FINALIZER_FOREGROUND in meta(obj).finalizers:
            return Plan(tuple(_foreground(snapshot, obj)))
        if FINALIZER_ORPHAN in meta(obj).finalizers:
            return Plan(tuple(_orphan(snapshot, obj)))
        return NOTHING
    return _collect(snapshot, obj, now)


def _collect(snapshot: Snapshot, obj: Struct, now: float) -> Plan:
    """Delete what all owners have left; drop the references to those that are gone."""
    absent = {o.uid for o in meta(obj).owner_references if _is_absent(snapshot, obj, o)}
    waiting = {o.uid for o in meta(obj).owner_references if _is_waiting(snapshot, obj, o)}
    if not absent:
        return NOTHING
    age = now - seconds(meta(obj).creation_timestamp)
    if age < SETTLING_SECONDS:
        return Plan(requeue_after=SETTLING_SECONDS - max(0.0, age))
    if len(absent) + len(waiting) < len(meta(obj).owner_references):
        return Plan(without_owner(obj, *absent, *waiting))
    if waiting:
        return NOTHING
    found = meta(obj)
    policy: str = "Background"
    if FINALIZER_ORPHAN in found.finalizers:
        policy = "Orphan"
    elif FINALIZER_FOREGROUND in found.finalizers:
        policy = "Foreground"
    return Plan((_delete(obj, policy),))


def _foreground(snapshot: Snapshot, owner: Struct) -> Iterator[Action]:
    """Dependents that block go first; when none is left the owner may go."""
    blocked = False
    for obj in _dependents(snapshot, owner):
        reference = next(o for o in meta(obj).owner_references if o.uid == meta(owner).uid)
        if not reference.block_owner_deletion:
            continue
        others = [o for o in meta(obj).owner_references if o is not reference]
        if any(
            not _is_absent(snapshot, obj, o) and not _is_waiting(snapshot, obj, o) for o in others
        ):
            yield from without_owner(obj, meta(owner).uid)
            continue
        blocked = True
        if not meta(obj).deletion_timestamp:
            owns = next(_dependents(snapshot, obj), None) is not None
            yield _delete(obj, "Foreground" if owns else "Background")
    if not blocked:
        yield from _without_finalizer(owner, FINALIZER_FOREGROUND)


def _orphan(snapshot: Snapshot, owner: Struct) -> Iterator[Action]:
    """Dependents lose the reference, then the owner its finalizer."""
    for obj in _dependents(snapshot, owner):
        yield from without_owner(obj, meta(owner).uid)
    yield from _without_finalizer(owner, FINALIZER_ORPHAN)


def _delete(obj: Struct, policy: str) -> Delete:
    found = meta(obj)
    return Delete(type(obj), found.namespace, found.name, found.uid, propagation=policy)  # type: ignore[arg-type]


def _without_finalizer(obj: Struct, finalizer: str) -> tuple[Patch, ...]:
    rest = tuple(f for f in meta(obj).finalizers if f != finalizer)
    metadata = replace(meta(obj), finalizers=rest)
    return object_patch(obj, replace(obj, metadata=metadata), conditional=True)


def _dependents(snapshot: Snapshot, owner: Struct) -> Iterator[Struct]:
    """Objects with any reference to the owner, of all classes, in the owner's namespace."""
    namespaced = registry.kind_for(type(owner)).namespaced
    uid = meta(owner).uid
    for kind in KINDS:
        if namespaced and not kind.namespaced:
            continue
        scope = meta(owner).namespace if namespaced else None
        for obj in snapshot.list(_struct(kind), scope):
            if any(o.uid == uid for o in meta(obj).owner_references):
                yield obj


def _owner(snapshot: Snapshot, obj: Struct, reference: OwnerReference) -> Struct | None:
    """The owner as the snapshot has it under that name, whatever its uid."""
    kind = registry.find_api_version(reference.api_version, reference.kind)
    if kind is None:
        return None
    namespace = meta(obj).namespace if kind.namespaced else ""
    return snapshot.get(_struct(kind), reference.name, namespace)


def _is_absent(snapshot: Snapshot, obj: Struct, reference: OwnerReference) -> bool:
    kind = registry.find_api_version(reference.api_version, reference.kind)
    if kind is None or kind not in KINDS or (kind.namespaced and not meta(obj).namespace):
        return False
    owner = _owner(snapshot, obj, reference)
    return owner is None or meta(owner).uid != reference.uid


def _is_waiting(snapshot: Snapshot, obj: Struct, reference: OwnerReference) -> bool:
    """Whether the owner is being deleted in the foreground, so waits for its dependents."""
    if _is_absent(snapshot, obj, reference):
        return False
    owner = _owner(snapshot, obj, reference)
    return (
        owner is not None
        and bool(meta(owner).deletion_timestamp)
        and FINALIZER_FOREGROUND in meta(owner).finalizers
    )


def _struct(kind: Kind) -> type[Struct]:
    assert kind.struct is not None
    return kind.struct


def key_for(obj: Struct) -> Key:
    """The key under which an object is planned."""
    kind = registry.kind_for(type(obj))
    return Key(meta(obj).namespace, f"{kind.plural}.{kind.group}/{meta(obj).name}")


def to_keys(obj: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """An object whose owners or own deletion need care; of a deleted one, what it leaves behind
    and the owners that waited for it."""
    found = meta(obj)
    live = snapshot.get(type(obj), found.name, found.namespace)
    if live is not None and meta(live).uid == found.uid:
        return (key_for(obj),) if _needs_care(snapshot, live) else ()
    left = {key_for(o) for kind in KINDS for o in snapshot.owned(_struct(kind), found.uid)}
    if not isinstance(obj, _SELDOM_OWNERS):
        left |= {key_for(o) for o in _dependents(snapshot, obj)}
    for reference in found.owner_references:
        owner = _owner(snapshot, obj, reference)
        if owner is not None and meta(owner).deletion_timestamp:
            left.add(key_for(owner))
    return left


def _needs_care(snapshot: Snapshot, obj: Struct) -> bool:
    found = meta(obj)
    if found.deletion_timestamp:
        return FINALIZER_FOREGROUND in found.finalizers or FINALIZER_ORPHAN in found.finalizers
    return any(_is_absent(snapshot, obj, o) for o in found.owner_references)


CONTROLLER = Controller(
    name="garbage-collector",
    primary=_struct(KINDS[0]),
    plan=plan,
    primary_keys=to_keys,
    watches=tuple(Watch(_struct(k), to_keys) for k in KINDS[1:]),
)

"""Which objects a controller owns: by owner reference, adopting and releasing by selector."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec
from msgspec import Struct

from weft.api import registry
from weft.api.k8s.meta_v1 import LabelSelector, OwnerReference
from weft.api.kinds import Kind
from weft.api.selectors import Selector, from_selector
from weft.api.snapshot import Snapshot, controller_of, meta
from weft.controllers.support.patches import object_patch
from weft.runtime.controller import ToKeys
from weft.runtime.plan import Key, Patch

T = TypeVar("T", bound=Struct)


def owner_reference(owner: Struct) -> OwnerReference:
    """The reference that makes `owner` the controller of an object."""
    kind = registry.kind_for(type(owner))
    return OwnerReference(
        api_version=kind.api_version,
        kind=kind.kind,
        name=meta(owner).name,
        uid=meta(owner).uid,
        controller=True,
        block_owner_deletion=True,
    )


def claim(
    snapshot: Snapshot,
    owner: Struct,
    cls: type[T],
    selector: LabelSelector | None,
    belongs: Callable[[T], bool] = lambda obj: True,
) -> tuple[tuple[T, ...], tuple[Patch, ...]]:
    """The objects that `owner` controls from now on, and the patches that make it so.

    Orphans that match are adopted; owned objects that no longer match are released. An owner or
    an object that is being deleted takes part in neither. An empty selector matches nothing.
    Only what `belongs` besides is kept (by its name, say).
    """
    chosen = _nonempty(selector)
    dying = bool(meta(owner).deletion_timestamp)
    kept: list[T] = []
    patches: list[Patch] = []
    for obj in snapshot.list(cls, meta(owner).namespace):
        current = controller_of(obj)
        if current is not None and current.uid != meta(owner).uid:
            continue
        fits = chosen is not None and chosen.matches(meta(obj).labels) and belongs(obj)
        if current is None:
            if fits and not dying and not meta(obj).deletion_timestamp:
                kept.append(obj)
                patches += _with_owners(obj, (*meta(obj).owner_references, owner_reference(owner)))
        elif fits or dying:
            kept.append(obj)
        elif not meta(obj).deletion_timestamp:
            patches += without_owner(obj, meta(owner).uid)
    return tuple(kept), tuple(patches)


def without_owner(obj: Struct, *uids: str) -> tuple[Patch, ...]:
    """The patch that removes the references to those owners."""
    rest = tuple(o for o in meta(obj).owner_references if o.uid not in uids)
    return _with_owners(obj, rest)


def owner_keys(cls: type[Struct]) -> ToKeys:
    """For watches of owned objects: the controlling owner of that class, or for an orphan every
    object of the class that may adopt it."""
    kind = registry.kind_for(cls)

    def to_keys(obj: Struct, snapshot: Snapshot) -> Iterable[Key]:
        namespace = meta(obj).namespace
        owner = controller_of(obj)
        if owner is not None:
            group = owner.api_version.rpartition("/")[0]
            return (Key(namespace, owner.name),) if (owner.kind, group) == _id(kind) else ()
        return [
            Key(namespace, meta(candidate).name)
            for candidate in snapshot.list(cls, namespace)
            if _selects(candidate, obj)
        ]

    return to_keys


def _id(kind: Kind) -> tuple[str, str]:
    return kind.kind, kind.group


def _nonempty(selector: LabelSelector | None) -> Selector | None:
    found = from_selector(selector)
    return found if found is not None and found.requirements else None


def _selects(owner: Struct, obj: Struct) -> bool:
    spec = owner.spec  # type: ignore[attr-defined]
    selector = _nonempty(getattr(spec, "selector", None))  # a CronJob has none and adopts nothing
    return selector is not None and selector.matches(meta(obj).labels)


def _with_owners(obj: Struct, owners: tuple[OwnerReference, ...]) -> tuple[Patch, ...]:
    metadata = msgspec.structs.replace(meta(obj), owner_references=owners)
    return object_patch(obj, msgspec.structs.replace(obj, metadata=metadata), conditional=True)

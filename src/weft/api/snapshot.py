"""Read-only views of many objects at one moment: what pure code decides from."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from weft.api.k8s.meta_v1 import ObjectMeta, OwnerReference

T = TypeVar("T", bound=Struct)


class Snapshot(Protocol):
    """All objects of every kind weft reads. Valid within one synchronous call."""

    def get(self, cls: type[T], name: str, namespace: str = "") -> T | None:
        """The object, or None."""

    def list(self, cls: type[T], namespace: str | None = None) -> Sequence[T]:
        """Objects of a kind, sorted by namespace and name; of all namespaces when None."""

    def owned(self, cls: type[T], uid: str) -> Sequence[T]:
        """Objects whose controlling owner has this uid, sorted by name."""


def meta(obj: Struct) -> ObjectMeta:
    """The metadata of any top-level object."""
    found: ObjectMeta = obj.metadata  # type: ignore[attr-defined]
    return found


def controller_of(obj: Struct) -> OwnerReference | None:
    """The owner reference with `controller: true`, if any."""
    return next((o for o in meta(obj).owner_references if o.controller), None)


class ObjectSnapshot:
    """A snapshot of given values; for tests and for offline use (`weft analyze`)."""

    def __init__(self, objects: Iterable[Struct] = ()) -> None:
        self._objects: dict[type[Struct], dict[tuple[str, str], Struct]] = {}
        self._lists: dict[tuple[type[Struct], str | None], Sequence[Any]] = {}
        for obj in objects:
            key = (meta(obj).namespace, meta(obj).name)
            self._objects.setdefault(type(obj), {})[key] = obj

    def get(self, cls: type[T], name: str, namespace: str = "") -> T | None:
        found: Any = self._objects.get(cls, {}).get((namespace, name))
        return found  # type: ignore[no-any-return]

    def list(self, cls: type[T], namespace: str | None = None) -> Sequence[T]:
        key = (cls, namespace)
        if key not in self._lists:
            self._lists[key] = self._select(
                cls, lambda o: namespace is None or meta(o).namespace == namespace
            )
        return self._lists[key]

    def owned(self, cls: type[T], uid: str) -> Sequence[T]:
        return self._select(cls, lambda o: (r := controller_of(o)) is not None and r.uid == uid)

    def _select(self, cls: type[T], wanted: Callable[[Struct], bool]) -> Sequence[T]:
        found: Any = [o for _, o in sorted(self._objects.get(cls, {}).items()) if wanted(o)]
        return found  # type: ignore[no-any-return]

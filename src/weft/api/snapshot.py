"""Read-only views of many objects at one moment: what pure code decides from."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from weft.api.k8s.meta_v1 import ObjectMeta, OwnerReference

T = TypeVar("T", bound=Struct)


class Observed(Struct, frozen=True):
    """How long an object has been as it is, by the clock of who looks: nothing that is written in
    it, so clocks of other machines do not matter."""

    unchanged_seconds: float = 0.0
    """Since it was first seen like this."""
    changed: bool = False
    """Whether it was seen changing. If not it may have been like this for long."""


NOT_OBSERVED = Observed()


class Snapshot(Protocol):
    """All objects of every kind weft reads. Valid within one synchronous call."""

    def get(self, cls: type[T], name: str, namespace: str = "") -> T | None:
        """The object, or None."""

    def list(self, cls: type[T], namespace: str | None = None) -> Sequence[T]:
        """Objects of a kind, sorted by namespace and name; of all namespaces when None."""

    def owned(self, cls: type[T], uid: str) -> Sequence[T]:
        """Objects whose controlling owner has this uid, sorted by name."""

    def observed(self, cls: type[Struct], name: str, namespace: str = "") -> Observed:
        """Of an object whose class a controller observes; NOT_OBSERVED for all others."""


def meta(obj: Struct) -> ObjectMeta:
    """The metadata of any top-level object."""
    found: ObjectMeta = obj.metadata  # type: ignore[attr-defined]
    return found


def controller_of(obj: Struct) -> OwnerReference | None:
    """The owner reference with `controller: true`, if any."""
    return next((o for o in meta(obj).owner_references if o.controller), None)


class ObjectSnapshot:
    """A snapshot of given values; for tests and for offline use (`weft analyze`)."""

    def __init__(
        self,
        objects: Iterable[Struct] = (),
        observed: Mapping[tuple[type[Struct], str, str], Observed] | None = None,
    ) -> None:
        """`observed` by class, namespace and name."""
        self._observed = observed or {}
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
            if namespace is None:
                found: Any = [o for _, o in sorted(self._objects.get(cls, {}).items())]
            else:
                found = [o for o in self.list(cls) if meta(o).namespace == namespace]
            self._lists[key] = found
        return self._lists[key]

    def owned(self, cls: type[T], uid: str) -> Sequence[T]:
        return [o for o in self.list(cls) if (r := controller_of(o)) is not None and r.uid == uid]

    def observed(self, cls: type[Struct], name: str, namespace: str = "") -> Observed:
        return self._observed.get((cls, namespace, name), NOT_OBSERVED)

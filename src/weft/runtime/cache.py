"""Typed copies of many kinds, kept current by informers: the Snapshot that plans read. Pure."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from weft.api.snapshot import NOT_OBSERVED, Observed, controller_of, meta

T = TypeVar("T", bound=Struct)
Name = tuple[str, str]
"""(namespace, name)"""
Change = tuple[Struct | None, Struct | None]
"""(before, after); None: absent."""


class _Kind:
    """All objects of one class, indexed by namespace and by controlling owner."""

    def __init__(self) -> None:
        self.revision = 0
        self.namespaces: dict[str, dict[str, Struct]] = {}
        self.owned: dict[str, dict[Name, Struct]] = {}
        self.sorted: dict[str | None, tuple[Struct, ...]] = {}

    def set(self, key: Name, obj: Struct | None) -> Struct | None:
        """Store or remove (None); gives what was there."""
        namespace, name = key
        group = self.namespaces.setdefault(namespace, {})
        old = group.pop(name, None) if obj is None else group.get(name)
        if obj is not None:
            group[name] = obj
        elif not group:
            del self.namespaces[namespace]
        if old is not None and (owner := controller_of(old)) is not None:
            siblings = self.owned[owner.uid]
            del siblings[key]
            if not siblings:
                del self.owned[owner.uid]
        if obj is not None and (owner := controller_of(obj)) is not None:
            self.owned.setdefault(owner.uid, {})[key] = obj
        self.sorted.pop(namespace, None)
        self.sorted.pop(None, None)
        return old

    def list(self, namespace: str | None) -> tuple[Struct, ...]:
        found = self.sorted.get(namespace)
        if found is None:
            if namespace is None:
                found = tuple(o for ns in sorted(self.namespaces) for o in self.list(ns))
            elif namespace in self.namespaces:
                found = tuple(obj for _, obj in sorted(self.namespaces[namespace].items()))
            else:
                return ()
            self.sorted[namespace] = found
        return found


class Cache:
    """A Snapshot that changes between synchronous calls."""

    def __init__(
        self,
        classes: Iterable[type[Struct]] = (),
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`clock` gives seconds that nobody sets back."""
        self._kinds: dict[type[Struct], _Kind] = {cls: _Kind() for cls in classes}
        self._clock = clock
        self._seen: dict[type[Struct], dict[Name, tuple[float, bool]]] = {}
        """Of observed classes: since when an object is as it is, and whether it ever changed."""

    # --- as Snapshot

    def get(self, cls: type[T], name: str, namespace: str = "") -> T | None:
        """As Snapshot.get."""
        kind = self._kinds.get(cls)
        found: Any = kind.namespaces.get(namespace, {}).get(name) if kind else None
        return found  # type: ignore[no-any-return]

    def list(self, cls: type[T], namespace: str | None = None) -> Sequence[T]:
        """As Snapshot.list."""
        kind = self._kinds.get(cls)
        found: Any = kind.list(namespace) if kind else ()
        return found  # type: ignore[no-any-return]

    def owned(self, cls: type[T], uid: str) -> Sequence[T]:
        """As Snapshot.owned."""
        kind = self._kinds.get(cls)
        group = kind.owned.get(uid, {}) if kind else {}
        found: Any = [o for _, o in sorted(group.items(), key=lambda i: (i[0][1], i[0][0]))]
        return found  # type: ignore[no-any-return]

    def observed(self, cls: type[Struct], name: str, namespace: str = "") -> Observed:
        """As Snapshot.observed."""
        found = self._seen.get(cls, {}).get((namespace, name))
        return NOT_OBSERVED if found is None else Observed(self._clock() - found[0], found[1])

    # --- what informers do

    def observe(self, cls: type[Struct]) -> None:
        """Remember from now on since when objects of this class are as they are."""
        self._seen.setdefault(cls, {})

    def holds(self, cls: type[Struct]) -> bool:
        """Whether objects of this class are kept here at all."""
        return cls in self._kinds

    def add_class(self, cls: type[Struct]) -> None:
        """Keep objects of this class from now on."""
        self._kinds.setdefault(cls, _Kind())

    def revision(self, cls: type[Struct]) -> int:
        """The greatest resourceVersion seen of a class (resourceVersions are integers)."""
        return self._kinds[cls].revision

    def advance(self, cls: type[Struct], revision: int) -> None:
        """Everything of the class up to `revision` has been seen."""
        kind = self._kinds[cls]
        kind.revision = max(kind.revision, revision)

    def put(self, obj: Struct) -> Change | None:
        """Keep a value; None when an equal one is there already."""
        metadata = meta(obj)
        kind = self._kinds[type(obj)]
        group = kind.namespaces.get(metadata.namespace)
        if group is not None and group.get(metadata.name) == obj:
            return None
        key = (metadata.namespace, metadata.name)
        before = kind.set(key, obj)
        if (seen := self._seen.get(type(obj))) is not None:
            seen[key] = self._clock(), before is not None
        return before, obj

    def remove(self, cls: type[Struct], key: Name) -> Change | None:
        """Forget an object; None when it is not there."""
        kind = self._kinds[cls]
        if key[1] not in kind.namespaces.get(key[0], {}):
            return None
        self._seen.get(cls, {}).pop(key, None)
        return kind.set(key, None), None

    def replace(
        self, cls: type[Struct], objects: Iterable[Struct], unread: frozenset[Name] = frozenset()
    ) -> Sequence[Change]:
        """Take a full list: what is missing in it is gone, but for `unread` (listed, not
        decodable), of which the last good value stays. Gives what changed."""
        kept = set(unread)
        changes = []
        for obj in objects:
            kept.add((meta(obj).namespace, meta(obj).name))
            changes.append(self.put(obj))
        names = [(ns, name) for ns, group in self._kinds[cls].namespaces.items() for name in group]
        changes += [self.remove(cls, key) for key in names if key not in kept]
        return [change for change in changes if change is not None]

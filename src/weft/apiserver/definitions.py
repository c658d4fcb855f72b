"""CustomResourceDefinitions inside the API server: what each write of one means at once. Pure.

The catalog changes in the same step as the store, so the answer to a create already comes from a
server that serves the new kind.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from weft.api.crd import names
from weft.api.kinds import Kind
from weft.apiserver.catalog import Catalog
from weft.apiserver.verbs import Deletion

Json = dict[str, Any]
PLURAL = "customresourcedefinitions"


class Definitions:
    """The definitions that are stored, and the catalog that they make."""

    def __init__(self) -> None:
        self.catalog = Catalog()
        self._known: dict[str, Mapping[str, Any]] = {}

    def load(self, stored: Iterable[Mapping[str, Any]]) -> None:
        """Take over what the store holds at start."""
        for crd in stored:
            self._known[crd["metadata"]["name"]] = crd
            self.catalog = self.catalog.with_definition(crd)

    def settle(self, kind: Kind, obj: Json, now: float) -> tuple[Json, tuple[str, ...]]:
        """A valid definition with its status, and what its author should know."""
        if kind.plural != PLURAL:
            return obj, ()
        obj = obj | {"status": names.status_of(obj, self._known.values(), now)}
        own = names.built_in(obj)
        return obj, (names.built_in_warning(own),) if own is not None else ()

    def guarded(self, kind: Kind, obj: Json) -> Json:
        """A definition that is about to be deleted, held until its objects are gone."""
        metadata = obj["metadata"]
        if kind.plural != PLURAL or metadata.get("deletionTimestamp"):
            return obj
        held = metadata.get("finalizers") or []
        if names.CLEANUP_FINALIZER in held or names.built_in(obj) is not None:
            return obj
        return obj | {"metadata": metadata | {"finalizers": [*held, names.CLEANUP_FINALIZER]}}

    def ending(self, kind: Kind, decided: Deletion, now: float) -> Deletion:
        """A deletion whose definition says that it ends."""
        if kind.plural != PLURAL or decided.action != "write":
            return decided
        return replace(decided, obj=self.settle(kind, decided.obj, now)[0])

    def written(
        self, kind: Kind, obj: Mapping[str, Any] | None, last: Mapping[str, Any] | None
    ) -> None:
        """A write is done: `obj` is what is stored now, None after a removal of `last`."""
        if kind.plural != PLURAL or last is None:
            return
        name = last["metadata"]["name"]
        if obj is None:
            self._known.pop(name, None)
            self.catalog = self.catalog.without(name)
        else:
            self._known[name] = obj
            self.catalog = self.catalog.with_definition(obj)

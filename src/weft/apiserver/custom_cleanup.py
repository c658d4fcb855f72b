"""What the end of an object means for custom resources, and theirs for others.

The garbage collector and the namespace controller read typed objects; kinds that come and go with
their definitions are looked after here, from the store's own events: dependents of a deleted
owner, foreground and orphan deletion, the content of a namespace, the objects of a definition.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from weft.api import registry
from weft.api.crd.names import CLEANUP_FINALIZER, built_in, is_established
from weft.api.errors import ApiError
from weft.api.kinds import Kind
from weft.apiserver import codec, keys, verbs
from weft.apiserver.access import WEFT
from weft.apiserver.definitions import PLURAL
from weft.apiserver.dependents import Dependents
from weft.apiserver.request import DeleteOptions, Target, WriteOptions
from weft.apiserver.resources import Resources
from weft.store.interface import Compacted, Entry, Event, StoreError

log = logging.getLogger("weft.apiserver")
RETRY_SECONDS = 0.5
"""How often what could not end yet is looked at again."""
_FOREGROUND, _ORPHAN = verbs.FINALIZER_FOREGROUND, verbs.FINALIZER_ORPHAN
_QUIET = WriteOptions()


def definitions_kind() -> Kind:
    found = registry.by_resource("apiextensions.k8s.io", "v1", PLURAL)
    assert found is not None
    return found


class CustomCleanup:
    """One task beside the server. What is unfinished is kept by key and tried again."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._gone: dict[str, bool] = {}
        """Uids of removed owners, and whether their kind was custom."""
        self._ending: set[str] = set()
        """Keys of custom objects that wait for their dependents."""
        self._owned: Dependents | None = None
        """Of all objects; not kept while there is no custom kind."""
        self._namespaces: set[str] = set()
        self._definitions: set[str] = set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            revision = self._resources.store.revision
            watch = self._resources.store.watch(keys.ROOT, revision + 1)
            try:
                await self._seed()
                await self._follow(watch.__aiter__())
            except Compacted:
                log.info("custom resources: fell behind, looking at everything anew")
            except StoreError as error:
                log.warning("custom resources: store failed error=%s", error)
                await asyncio.sleep(RETRY_SECONDS)
            finally:
                watch.close()

    async def _follow(self, batches: Any) -> None:
        while True:
            waiting = self._ending or self._namespaces or self._definitions or self._gone
            try:
                async with asyncio.timeout(RETRY_SECONDS if waiting else None):
                    batch: Sequence[Event] = await anext(batches)
            except TimeoutError:
                batch = ()
            for event in batch:
                if self._owned is not None and event.type == "put":
                    self._owned.put(event.key, event.value)
                elif self._owned is not None:
                    self._owned.remove(event.key)
                self._note(event.type == "delete", event.key, event.value)
            await self._work()

    # ------------------------------------------------------------ what happened

    async def _seed(self) -> None:
        """What ended, or began to end, while nobody looked."""
        for kind in (definitions_kind(), verbs.known_kind("namespaces"), *self._customs()):
            for entry in (await self._resources.store.range(keys.prefix(kind))).entries:
                self._note(False, entry.key, entry.value)
        self._owned = None
        await self._index()
        for entry in await self._entries():
            if b'"ownerReferences"' in entry.value:
                await self._collect(entry, frozenset())

    async def _index(self) -> None:
        """Begin to keep who depends on whom, with the first custom kind."""
        if self._owned is None and self._customs():
            self._owned = Dependents()
            for entry in (await self._resources.store.range(keys.ROOT)).entries:
                self._owned.put(entry.key, entry.value)

    def _customs(self) -> tuple[Kind, ...]:
        return tuple(self._resources.definitions.catalog.customs.values())

    def _note(self, removed: bool, key: str, value: bytes) -> None:
        kind = self._kind_at(key)
        if kind is None:
            return
        custom = kind.definition is not None
        if removed:
            if self._customs() and (custom or kind.plural not in ("events", "leases")):
                self._gone[codec.to_object(value)["metadata"]["uid"]] = custom
            return
        if b'"deletionTimestamp"' not in value:
            return
        if kind.plural == PLURAL:
            self._definitions.add(keys.names(kind, key)[1])
        elif kind.plural == "namespaces":
            self._namespaces.add(keys.names(kind, key)[1])
        elif custom and (_FOREGROUND.encode() in value or _ORPHAN.encode() in value):
            self._ending.add(key)

    def _kind_at(self, key: str) -> Kind | None:
        return self._resources.definitions.catalog.by_key(key)

    # ------------------------------------------------------------ what to do

    async def _work(self) -> None:
        await self._index()
        gone, self._gone = self._gone, {}
        for key in self._owned.of(gone) if self._owned is not None else ():
            entry = await self._resources.store.get(key)
            kind = self._kind_at(key)
            if entry is None or kind is None:
                continue
            # Built-in dependents of built-in owners are the garbage collector's.
            if kind.definition is not None or any(gone.values()):
                await self._collect(entry, frozenset(gone))
        for key in list(self._ending):
            if await self._end(key):
                self._ending.discard(key)
        for name in list(self._namespaces):
            if await self._empty_namespace(name):
                self._namespaces.discard(name)
        for name in list(self._definitions):
            if await self._end_definition(name):
                self._definitions.discard(name)

    async def _entries(self) -> list[Entry]:
        """All objects, where custom kinds are."""
        prefixes = [keys.ROOT] if self._customs() else []
        ranges = [await self._resources.store.range(prefix) for prefix in prefixes]
        return [entry for found in ranges for entry in found.entries]

    async def _collect(self, entry: Entry, gone: frozenset[str]) -> None:
        """An object whose owners are all gone is deleted; else it loses the references to those
        that are."""
        kind = self._kind_at(entry.key)
        if kind is None:
            return
        obj = codec.to_object(entry.value)
        owners = obj["metadata"].get("ownerReferences") or []
        absent = [o for o in owners if o["uid"] in gone or await self._is_absent(obj, o)]
        if not absent:
            return
        target = self._target(kind, entry.key)
        if len(absent) == len(owners):
            uid = obj["metadata"]["uid"]
            await self._delete(target, DeleteOptions(propagation="Background", uid=uid))
        else:
            left = [o for o in owners if o not in absent]
            await self._patch(target, {"metadata": {"ownerReferences": left}})

    async def _is_absent(self, obj: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
        """Whether an owner of a custom kind is not there; built-in ones are others' business,
        unless the dependent itself is custom. An unknown kind counts as present."""
        group = str(owner.get("apiVersion") or "").rpartition("/")[0]
        kind = next(
            (k for k in self._resources.definitions.catalog.kinds
             if k.group == group and k.kind == owner.get("kind")), None,
        )  # fmt: skip
        if kind is None:
            return False
        namespace = obj["metadata"].get("namespace") or ""
        key = keys.key(kind, owner["name"], namespace if kind.namespaced else "")
        found = await self._resources.store.get(key)
        if found is None:
            return kind.definition is not None or not self._typed(obj)
        return bool(codec.to_object(found.value)["metadata"]["uid"] != owner["uid"])

    def _typed(self, obj: Mapping[str, Any]) -> bool:
        return registry.kind_of(obj) is not None

    async def _end(self, key: str) -> bool:
        """Foreground: dependents that block go first. Orphan: all lose the reference."""
        kind, entry = self._kind_at(key), await self._resources.store.get(key)
        if kind is None or entry is None:
            return True
        owner = codec.to_object(entry.value)
        metadata = owner["metadata"]
        finalizers = metadata.get("finalizers") or []
        orphan, blocked = _ORPHAN in finalizers, False
        for dependent, obj, reference in [d async for d in self._dependents(metadata["uid"])]:
            if orphan:
                left = [o for o in obj["metadata"]["ownerReferences"] if o is not reference]
                await self._patch(dependent, {"metadata": {"ownerReferences": left or None}})
            elif reference.get("blockOwnerDeletion"):
                blocked = True
                if not obj["metadata"].get("deletionTimestamp"):
                    await self._delete(dependent, DeleteOptions(propagation="Background"))
        if blocked:
            return False
        left = [f for f in finalizers if f not in (_FOREGROUND, _ORPHAN)]
        await self._patch(self._target(kind, key), {"metadata": {"finalizers": left or None}})
        return True

    async def _dependents(self, uid: str) -> Any:
        for key in self._owned.of((uid,)) if self._owned is not None else ():
            entry, kind = await self._resources.store.get(key), self._kind_at(key)
            if entry is None or kind is None:
                continue
            obj = codec.to_object(entry.value)
            for reference in obj["metadata"].get("ownerReferences") or []:
                if reference["uid"] == uid:
                    yield self._target(kind, entry.key), obj, reference

    async def _empty_namespace(self, name: str) -> bool:
        left = False
        for kind in self._customs():
            if kind.namespaced:
                found = await self._resources.store.range(keys.prefix(kind, name))
                left = await self._delete_all(kind, found.entries) or left
        return not left

    async def _end_definition(self, name: str) -> bool:
        kind = self._resources.definitions.catalog.customs.get(name)
        if kind is not None:
            found = await self._resources.store.range(keys.prefix(kind))
            if await self._delete_all(kind, found.entries):
                return False
        crds = definitions_kind()
        entry = await self._resources.store.get(keys.key(crds, name))
        if entry is None:
            return True
        crd = codec.to_object(entry.value)
        held = [f for f in crd["metadata"].get("finalizers") or [] if f != CLEANUP_FINALIZER]
        target = Target(crds, crds.version, name=name)
        await self._patch(target, {"metadata": {"finalizers": held or None}})
        if not held:
            await self._let_others_in(crd["spec"]["group"])
        return True

    async def _let_others_in(self, group: str) -> None:
        """Definitions whose names were taken may have them now: any write settles them anew."""
        crds = definitions_kind()
        for entry in (await self._resources.store.range(keys.prefix(crds))).entries:
            crd = codec.to_object(entry.value)
            waits = not is_established(crd) and built_in(crd) is None
            if crd["spec"]["group"] == group and waits:
                await self._patch(self._target(crds, entry.key), {})

    async def _delete_all(self, kind: Kind, entries: Sequence[Entry]) -> bool:
        """Whether anything is left."""
        for target in self._alive(kind, entries):
            await self._delete(target, DeleteOptions(propagation="Background"))
        return bool(entries)

    def _alive(self, kind: Kind, entries: Sequence[Entry]) -> Iterator[Target]:
        for entry in entries:
            if not codec.to_object(entry.value)["metadata"].get("deletionTimestamp"):
                yield self._target(kind, entry.key)

    def _target(self, kind: Kind, key: str) -> Target:
        namespace, name = keys.names(kind, key)
        # In the version that is stored: what is cleaned up must not wait for a webhook.
        return Target(kind, kind.version, namespace, name)

    async def _delete(self, target: Target, options: DeleteOptions) -> None:
        try:
            await self._resources.delete(target, options, WEFT)
        except ApiError as error:
            _told("delete", target, error)

    async def _patch(self, target: Target, body: Mapping[str, Any]) -> None:
        try:
            await self._resources.patch(target, "merge", dict(body), _QUIET, WEFT)
        except ApiError as error:
            _told("update", target, error)


def _told(what: str, target: Target, error: ApiError) -> None:
    """Others may have been quicker; anything else is worth a line, and another try."""
    if error.code not in (404, 409):
        name = f"{target.namespace}/{target.name}"
        log.warning("%s %s %s failed error=%s", what, target.kind.plural, name, error.message)

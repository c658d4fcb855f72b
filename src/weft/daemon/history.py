"""What objects were like before: the last versions of each, kept in the store beside the objects,
so that they outlive restarts. Only what somebody wrote counts: not status, not what controllers
own, not Secrets.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec
import orjson
from msgspec import Struct

from weft.apiserver import failures, keys
from weft.apiserver.access import Attributes, Authorizer, User
from weft.lib.aio import now
from weft.lib.timefmt import parse_rfc3339
from weft.store.interface import Compacted, Delete, Event, Put, Store, StoreError, Txn

log = logging.getLogger("weft.daemon")
HISTORY = "/weft/v1/history"
ROOT = "/history/"
VERSIONS_MAX = 20
"""Of one object."""
BYTES_MAX = 32 * 1024 * 1024
"""Of all versions together; the oldest go first."""
OBJECT_BYTES_MAX = 512 * 1024
"""A larger object has no history."""
CHANGES_SHOWN_MAX = 200
RETRY_SECONDS = 5.0
LEFT_OUT = frozenset((
    "bindings", "certificatesigningrequests", "componentstatuses", "controllerrevisions",
    "endpoints", "endpointslices", "events", "leases", "nodes", "pods", "secrets",
    "volumeattachments",
))  # fmt: skip
OWN_ANNOTATIONS = ("deployment.kubernetes.io/", "weft.dev/learned", "kubectl.kubernetes.io/last-")
"""Prefixes of annotations that programs write, which alone make no version."""
_NEVER = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")


class Version(Struct, frozen=True, rename="camel"):
    """An object as it was left by one write."""

    revision: int
    at: float
    """When it was seen, in seconds since the epoch."""
    event: str
    """created, changed or deleted (then `object` is what was deleted)."""
    by: str
    """The field manager that wrote last: the program, not the person."""
    object: msgspec.Raw


class Change(Struct, frozen=True, rename="camel"):
    """A version's place in the history of everything."""

    group: str
    resource: str
    namespace: str
    name: str
    revision: int
    at: float
    event: str
    by: str


class HistoryKeeper:
    """Follows the store, and answers what was."""

    def __init__(self, store: Store, access: Authorizer) -> None:
        self._store = store
        self.access = access
        self._versions: dict[str, deque[tuple[str, int]]] = {}
        """By object's key: keys and sizes of versions, oldest first."""
        self._order: deque[str] = deque()
        """Keys of all versions, oldest first; some may be gone."""
        self._bytes = 0
        self._from = 0

    @property
    def seen(self) -> int:
        """The revision up to which everything is kept."""
        return self._from - 1

    async def load(self) -> None:
        """Find what is kept from before."""
        found = (await self._store.range(ROOT)).entries
        for entry in sorted(found, key=lambda each: each.mod_revision):
            self._take(entry.key, len(entry.value))
        self._from = self._store.revision + 1

    def _take(self, key: str, size: int) -> None:
        self._versions.setdefault(_object_key(key), deque()).append((key, size))
        self._order.append(key)
        self._bytes += size

    async def run(self) -> None:
        """Keep what changes, until cancelled."""
        while True:
            watch = self._store.watch(keys.ROOT, self._from)
            try:
                async for events in watch:
                    for event in events:
                        await self._keep(event)
                        self._from = event.revision + 1
            except Compacted as gap:
                self._from = gap.oldest
            except StoreError as error:
                log.warning("history not kept error=%s", error)
                await asyncio.sleep(RETRY_SECONDS)
            finally:
                watch.close()

    async def _keep(self, event: Event) -> None:
        resource = event.key.removeprefix(keys.ROOT).split("/")[1]
        if resource in LEFT_OUT or len(event.value) > OBJECT_BYTES_MAX:
            return
        after = orjson.loads(event.value)
        before = orjson.loads(event.previous) if event.previous else None
        if _owned(after):
            return
        if event.type == "put" and before is not None and written(before) == written(after):
            return
        if event.type == "put" and after["metadata"].get("deletionTimestamp"):
            return
        word = "deleted" if event.type == "delete" else "changed" if before else "created"
        ops: list[Put | Delete] = []
        if word != "created" and before is not None and event.key not in self._versions:
            ops.append(_put(event.key, event.revision - 1, "found", before, _written_at(before)))
        ops.append(_put(event.key, event.revision, word, after, now()))
        for op in ops:
            assert isinstance(op, Put)
            self._take(op.key, len(op.value))
        ops += [Delete(key) for key in self._forget(event.key)]
        await self._store.apply(Txn(tuple(ops)))

    def _forget(self, key: str) -> list[str]:
        """Keys of versions that no longer find room."""
        gone = []
        while len(self._versions[key]) > VERSIONS_MAX:
            oldest, size = self._versions[key].popleft()
            self._bytes -= size
            gone.append(oldest)
        while self._bytes > BYTES_MAX and self._order:
            oldest = self._order.popleft()
            kept = self._versions.get(_object_key(oldest))
            if kept and kept[0][0] == oldest:
                self._bytes -= kept.popleft()[1]
                gone.append(oldest)
        return gone

    async def page(self, user: User, query: Mapping[str, str]) -> tuple[str, bytes]:
        """Versions of the object that the query names, newest first; without a name the changes
        of everything that this user may read. ApiError."""
        if query.get("name"):
            body = await self._of_object(user, query)
        else:
            body = await self._of_all(user)
        return "application/json", body

    async def _of_object(self, user: User, query: Mapping[str, str]) -> bytes:
        group, resource = query.get("group", ""), query.get("resource", "")
        namespace, name = query.get("namespace", ""), query["name"]
        if not self._may(user, group, resource, namespace, name):
            raise failures.no_such_path()
        parts = [group or "core", resource, *([namespace] if namespace else []), name]
        found = []
        for key, _ in reversed(self._versions.get(keys.ROOT + "/".join(parts), ())):
            if (entry := await self._store.get(key)) is not None:
                found.append(msgspec.json.decode(entry.value, type=Version))
        return msgspec.json.encode({"versions": found, "versionsMax": VERSIONS_MAX})

    async def _of_all(self, user: User) -> bytes:
        found: list[Change] = []
        for key in reversed(self._order):
            group, resource, namespace, name = _parts(_object_key(key))
            if not self._may(user, group, resource, namespace, name):
                continue
            if (entry := await self._store.get(key)) is not None:
                it = msgspec.json.decode(entry.value, type=Version)
                place = (group, resource, namespace, name)
                found.append(Change(*place, it.revision, it.at, it.event, it.by))
            if len(found) >= CHANGES_SHOWN_MAX:
                break
        return msgspec.json.encode({"changes": found})

    def _may(self, user: User, group: str, resource: str, namespace: str, name: str) -> bool:
        wanted = Attributes("get", group=group, resource=resource, namespace=namespace, name=name)
        return self.access.decide(user, wanted).allowed


def written(obj: Mapping[str, Any]) -> Any:
    """What of an object somebody wrote: all but status and what the server keeps."""
    metadata = obj.get("metadata") or {}
    notes = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if not key.startswith(OWN_ANNOTATIONS)
    }
    rest = {key: value for key, value in obj.items() if key not in ("metadata", "status")}
    return rest, metadata.get("labels") or {}, notes


def _put(key: str, revision: int, event: str, obj: dict[str, Any], at: float) -> Put:
    metadata = obj["metadata"]
    managers = metadata.get("managedFields") or ()
    mine = [each for each in managers if each.get("subresource", "") != "status"]
    last: Mapping[str, Any] = max(mine, key=lambda each: each.get("time", ""), default={})
    kept = {name: value for name, value in metadata.items() if name not in _NEVER}
    body = {name: value for name, value in obj.items() if name != "status"} | {"metadata": kept}
    version = Version(
        revision, at, event, str(last.get("manager", "")), msgspec.Raw(orjson.dumps(body))
    )
    place = ROOT + key.removeprefix(keys.ROOT)
    return Put(f"{place}/{revision:016d}", msgspec.json.encode(version))


def _written_at(obj: Mapping[str, Any]) -> float:
    """Not known; the time at which it was created is the nearest that is."""
    try:
        return parse_rfc3339(obj["metadata"]["creationTimestamp"])
    except (KeyError, ValueError):
        return 0.0


def _owned(obj: Mapping[str, Any]) -> bool:
    owners = (obj.get("metadata") or {}).get("ownerReferences") or ()
    return any(owner.get("controller") for owner in owners)


def _object_key(key: str) -> str:
    return keys.ROOT + key.removeprefix(ROOT).rpartition("/")[0]


def _parts(key: str) -> tuple[str, str, str, str]:
    group, resource, *rest = key.removeprefix(keys.ROOT).split("/")
    namespace = rest[0] if len(rest) > 1 else ""
    return ("" if group == "core" else group), resource, namespace, rest[-1]

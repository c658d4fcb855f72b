"""Informers: list, then watch, every kind that somebody reads, into one typed cache."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from weft.api.errors import ApiError
from weft.api.kinds import Kind
from weft.api.objects import decode
from weft.api.registry import kind_for
from weft.lib.aio import Tasks, ticks
from weft.runtime.cache import Cache, Change, Name
from weft.runtime.client import Client, WatchEvent

log = logging.getLogger("weft.runtime")

LIST_PAGE_OBJECTS = 500
RETRY_SECONDS_MIN = 0.1
"""Wait after the first failure of a list or watch; doubles, with jitter, up to the maximum."""
RETRY_SECONDS_MAX = 10.0
NOT_SERVED_RETRY_SECONDS = 30.0
"""Wait before asking again for a kind that the API does not serve."""
FOLLOW_SECONDS_MAX = 3.0
"""How long whoever needs an object by name waits for the first answer about it."""
GONE = 410
NOT_FOUND = 404

OnChange = Callable[[type[Struct], Struct | None, Struct | None], None]
"""Called with class, value before and value after (None: absent), after the cache changed."""
OnProgress = Callable[[type[Struct]], None]
"""Called when a class was seen up to a later revision, changed or not."""


class _Meta(Struct, frozen=True):
    name: str = ""
    namespace: str = ""
    resource_version: str = msgspec.field(default="", name="resourceVersion")


class _Object(Struct, frozen=True):
    metadata: _Meta = _Meta()


_HEAD = msgspec.json.Decoder(_Object)


def head(data: bytes | msgspec.Raw) -> tuple[Name, int]:
    """((namespace, name), resourceVersion) of an object's JSON; empty and 0 when unreadable."""
    try:
        metadata = _HEAD.decode(data).metadata
    except msgspec.MsgspecError:
        return ("", ""), 0
    version = metadata.resource_version
    return (metadata.namespace, metadata.name), int(version) if version.isdecimal() else 0


class Informers:
    """The caches of one process. `cache` is complete once `synced` returned."""

    def __init__(self, client: Client, classes: Iterable[type[Struct]] = ()) -> None:
        self.cache = Cache(clock=ticks)
        self._client = client
        self._synced: dict[type[Struct], asyncio.Event] = {}
        self._callbacks: list[OnChange] = []
        self._changed: dict[type[Struct], Callable[[Any], Any]] = {}
        self._progress: list[OnProgress] = []
        self._selectors: dict[type[Struct], str] = {}
        self._named: dict[type[Struct], dict[Name, tuple[asyncio.Task[None], asyncio.Event]]] = {}
        self.prepare: dict[type[Struct], Callable[[Any], Awaitable[None]]] = {}
        """Awaited with an object of a class before it appears in the cache."""
        self._tasks = Tasks()
        self._started = False
        for cls in classes:
            self.add(cls)

    def keep_as(self, cls: type[Struct], change: Callable[[Any], Any]) -> None:
        """Objects of this class are kept as what `change` makes of them; before start. When an
        object changes only in what it takes away, nobody is told."""
        self._changed[cls] = change

    def select(self, cls: type[Struct], field_selector: str) -> None:
        """Only objects that a field selector chooses; before start."""
        self._selectors[cls] = field_selector

    def by_name(self, cls: type[Struct]) -> None:
        """Only objects that `follow` names; before `add`."""
        self._named[cls] = {}

    async def follow(self, cls: type[Struct], names: frozenset[Name]) -> None:
        """Which objects of a class of `by_name` are to be known; returns when those that are new
        were asked for once, or after FOLLOW_SECONDS_MAX."""
        followed = self._named[cls]
        for name in followed.keys() - names:
            followed.pop(name)[0].cancel()
            change = self.cache.remove(cls, name)
            self._publish(cls, 0, [change] if change else [])
        new = []
        for name in names - followed.keys():
            seen = asyncio.Event()
            task = self._tasks.spawn(
                self._run(cls, kind_for(cls), name, seen), name=f"informer-{cls.__name__}-{name[1]}"
            )
            followed[name] = (task, seen)
            new.append(seen)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FOLLOW_SECONDS_MAX):
                for seen in new:
                    await seen.wait()

    def add(self, cls: type[Struct]) -> None:
        """Also inform about this class; idempotent, before or after start."""
        if cls in self._synced:
            return
        self.cache.add_class(cls)
        self._synced[cls] = asyncio.Event()
        if cls in self._named:
            self._synced[cls].set()
        elif self._started:
            self._spawn(cls)

    def subscribe(self, on_change: OnChange, on_progress: OnProgress | None = None) -> None:
        """Call back on every change from now on, in order, on the event loop."""
        self._callbacks.append(on_change)
        if on_progress is not None:
            self._progress.append(on_progress)

    def start(self) -> None:
        """Begin to list and watch; idempotent."""
        if not self._started:
            self._started = True
            for cls in self._synced.keys() - self._named.keys():
                self._spawn(cls)

    async def synced(self, classes: Iterable[type[Struct]] = ()) -> None:
        """Wait until these classes (default: all) were listed once."""
        for cls in tuple(classes) or tuple(self._synced):
            await self._synced[cls].wait()

    async def close(self) -> None:
        """Stop; the cache stays as it is."""
        await self._tasks.close()

    def _spawn(self, cls: type[Struct]) -> None:
        seen = self._synced[cls]
        task = self._run(cls, kind_for(cls), None, seen)
        self._tasks.spawn(task, name=f"informer-{cls.__name__}")

    async def _run(
        self, cls: type[Struct], kind: Kind, name: Name | None, synced: asyncio.Event
    ) -> None:
        """List and watch for ever, all or the one object of `name`. `version` is empty when a list
        is needed."""
        version, failures = "", 0
        while True:
            wait = 0.0
            try:
                if not version:
                    version = await self._list(cls, kind, name)
                    synced.set()
                async for seen in self._watch(cls, kind, version, name):
                    version, failures = seen, 0
            except ApiError as error:
                if error.code == GONE:
                    version = ""
                elif error.code == NOT_FOUND:
                    version = ""
                    if name is None:
                        self._not_served(cls, kind)
                    wait = NOT_SERVED_RETRY_SECONDS
                else:
                    log.warning("informer retries kind=%s error=%s", kind.plural, error.message)
            except Exception:
                log.exception("informer failed kind=%s", kind.plural)
                version = ""
            failures += 1
            await asyncio.sleep(wait or _backoff(failures))

    def _not_served(self, cls: type[Struct], kind: Kind) -> None:
        """A kind the API does not have (Istio's, on a plain cluster) has no objects."""
        if not self._synced[cls].is_set():
            log.info("kind is not served kind=%s.%s", kind.plural, kind.group)
        self._publish(cls, 0, self.cache.replace(cls, ()))
        self._synced[cls].set()

    def _asked(self, cls: type[Struct], name: Name | None) -> dict[str, str]:
        """Which of the class: for list and watch alike."""
        if name is not None:
            return {"namespace": name[0], "field_selector": f"metadata.name={name[1]}"}
        selector = self._selectors.get(cls, "")
        return {"field_selector": selector} if selector else {}

    async def _list(self, cls: type[Struct], kind: Kind, name: Name | None) -> str:
        objects: list[Struct] = []
        unread: set[Name] = set()
        token = ""
        while True:
            page = await self._client.list(
                kind, limit=LIST_PAGE_OBJECTS, continue_token=token, **self._asked(cls, name)
            )
            for item in page.items:
                obj = self._read(cls, kind, item)
                if obj is not None:
                    objects.append(obj)
                else:
                    unread.add(head(item)[0])
            token = page.continue_token
            if not token:
                break
        for obj in objects:
            await self._before(cls, obj)
        changes = self._replaced(cls, objects, frozenset(unread), name)
        version = page.resource_version
        self._publish(cls, int(version) if version.isdecimal() else 0, changes)
        return version

    def _replaced(
        self, cls: type[Struct], objects: list[Struct], unread: frozenset[Name], name: Name | None
    ) -> Sequence[Change]:
        if name is None:
            return self.cache.replace(cls, objects, unread)
        found = [self.cache.put(obj) for obj in objects]
        if not objects and not unread:
            found = [self.cache.remove(cls, name)]
        return [change for change in found if change is not None]

    async def _watch(
        self, cls: type[Struct], kind: Kind, version: str, name: Name | None
    ) -> AsyncIterator[str]:
        """Apply events; yields the version to resume from after each."""
        asked = self._asked(cls, name)
        stream = self._client.watch(kind, resource_version=version, **asked)
        try:
            async for event in stream:
                _, revision = head(event.object)
                change = await self._take(cls, kind, event)
                self._publish(cls, revision, [change] if change else [])
                yield str(revision) if revision else version
        finally:
            if (close := getattr(stream, "aclose", None)) is not None:
                await close()

    async def _take(self, cls: type[Struct], kind: Kind, event: WatchEvent) -> Change | None:
        if event.type == "BOOKMARK":
            return None
        if event.type == "DELETED":
            return self.cache.remove(cls, head(event.object)[0])
        obj = self._read(cls, kind, bytes(event.object))
        if obj is None:
            return None
        await self._before(cls, obj)
        return self.cache.put(obj)

    async def _before(self, cls: type[Struct], obj: Struct) -> None:
        if (prepare := self.prepare.get(cls)) is not None:
            await prepare(obj)

    def _read(self, cls: type[Struct], kind: Kind, data: bytes | msgspec.Raw) -> Any:
        obj = _decode(cls, kind, data)
        change = self._changed.get(cls)
        return obj if obj is None or change is None else change(obj)

    def _publish(self, cls: type[Struct], revision: int, changes: Iterable[Change]) -> None:
        self.cache.advance(cls, revision)
        for before, after in changes:
            for callback in self._callbacks:
                try:
                    callback(cls, before, after)
                except Exception:
                    log.exception("informer callback failed class=%s", cls.__name__)
        for progressed in self._progress:
            progressed(cls)


def _decode(cls: type[Struct], kind: Kind, data: bytes | msgspec.Raw) -> Any:
    """The typed object; None, with a log line, when it does not fit its type."""
    try:
        return decode(cls, data)
    except msgspec.MsgspecError as error:
        (namespace, name), _ = head(data)
        log.warning(
            "object skipped kind=%s namespace=%s name=%s error=%s",
            kind.plural, namespace, name, error,
        )  # fmt: skip
        return None


def _backoff(failures: int) -> float:
    seconds = min(RETRY_SECONDS_MIN * 2.0 ** min(failures - 1, 10), RETRY_SECONDS_MAX)
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, no secret

"""Kubernetes Events: repeats are counted on one object, chatter about one object is bounded.

The book decides (pure); the recorder writes in the background and never fails its caller.
"""

import asyncio
import logging
import zlib
from collections import OrderedDict, deque
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from weft.api.errors import ApiError
from weft.api.k8s.core_v1 import Event, EventSource, ObjectReference
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.objects import to_json
from weft.api.registry import kind_for
from weft.api.snapshot import meta
from weft.lib.aio import Tasks, now
from weft.lib.timefmt import rfc3339
from weft.runtime.client import Client
from weft.runtime.plan import RecordEvent

log = logging.getLogger("weft.runtime")

EVENTS_BURST_PER_OBJECT = 25
"""Events about one object at once (client-go's spam filter): so many new ones, and as many that are
said again."""
EVENT_REFILL_SECONDS = 300.0
"""One more event about an object is allowed after this time."""
BOOK_ENTRIES_MAX = 4096
"""Events, and objects with a budget, that are remembered; the least recently used goes first."""
QUEUED_EVENTS_MAX = 1000
"""Events waiting to be written; further ones are dropped."""
NAMESPACE_OF_CLUSTER_OBJECTS = "default"
NOT_FOUND = 404
UNAVAILABLE = 503
TRIES_MAX = 12
RETRY_SECONDS = 1.0

_Key = tuple[str, str, str, str, str]
K = TypeVar("K")
V = TypeVar("V")


class Entry(Struct, frozen=True):
    """What is to be written: the whole event, or (count > 1) its new count and last time."""

    key: _Key
    event: Event

    @property
    def is_repeat(self) -> bool:
        return (self.event.count or 1) > 1


class EventBook:
    """Remembers which events exist, so that a repeat becomes a count. Pure."""

    def __init__(self, component: str) -> None:
        self._component = component
        self._events: OrderedDict[_Key, Event] = OrderedDict()
        self._budgets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def note(self, action: RecordEvent, at: float) -> Entry | None:
        """What to write for an event at this time; None when the object's budget is spent."""
        about = reference(action.regarding)
        identity = about.uid or f"{about.kind}/{about.namespace}/{about.name}"
        key = (identity, self._component, action.type, action.reason, action.message)
        known = self._events.get(key)
        # What is said again and again leaves room for what is new.
        if not self._spend(identity if known is None else f"{identity} again", at):
            return None
        if known is None:
            event = self._new(action, about, key, at)
        else:
            count = (known.count or 1) + 1
            event = replace(known, count=count, last_timestamp=rfc3339(at))
        _remember(self._events, key, event)
        return Entry(key, event)

    def again(self, entry: Entry, at: float) -> Entry:
        """The event of `entry` is gone (expired): write it anew under a fresh name."""
        event = replace(entry.event, count=1, first_timestamp=rfc3339(at))
        namespace, about = event.metadata.namespace, event.involved_object
        name = _name(about.name if about else "", entry.key, at)
        event = replace(event, metadata=ObjectMeta(name=name, namespace=namespace))
        _remember(self._events, entry.key, event)
        return Entry(entry.key, event)

    def _spend(self, identity: str, at: float) -> bool:
        left, since = self._budgets.get(identity, (float(EVENTS_BURST_PER_OBJECT), at))
        left = min(EVENTS_BURST_PER_OBJECT, left + max(0.0, at - since) / EVENT_REFILL_SECONDS)
        allowed = left >= 1
        _remember(self._budgets, identity, (left - 1 if allowed else left, at))
        return allowed

    def _new(self, action: RecordEvent, about: ObjectReference, key: _Key, at: float) -> Event:
        return Event(
            metadata=ObjectMeta(
                name=_name(about.name, key, at),
                namespace=about.namespace or NAMESPACE_OF_CLUSTER_OBJECTS,
            ),
            involved_object=about,
            type=action.type,
            reason=action.reason,
            message=action.message,
            source=EventSource(component=self._component),
            reporting_component=self._component,
            first_timestamp=rfc3339(at),
            last_timestamp=rfc3339(at),
            count=1,
        )


class EventRecorder:
    """Writes events through a client, one after the other, in the background."""

    def __init__(self, client: Client, component: str) -> None:
        self._client = client
        self._book = EventBook(component)
        self._queue: deque[Entry] = deque()
        self._wake = asyncio.Event()
        self._tasks = Tasks()

    def start(self) -> None:
        """Begin to write."""
        self._tasks.spawn(self._run(), name="event-recorder")

    def record(self, action: RecordEvent) -> None:
        """Count or write an event soon; drops it when too many wait."""
        if len(self._queue) >= QUEUED_EVENTS_MAX:
            log.warning("event dropped reason=%s message=%s", action.reason, action.message)
            return
        if (entry := self._book.note(action, now())) is not None:
            self._queue.append(entry)
            self._wake.set()

    async def close(self) -> None:
        """Stop; what still waits is dropped."""
        await self._tasks.close()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                await self._write_patiently(self._queue.popleft())

    async def _write_patiently(self, entry: Entry) -> None:
        """Tries again while the API is away, or its disk full: that is when events matter."""
        for left in reversed(range(TRIES_MAX)):
            try:
                return await self._write(entry)
            except ApiError as error:
                if error.code != UNAVAILABLE or not left:
                    reason = entry.event.reason
                    return log.warning(
                        "event not written reason=%s error=%s", reason, error.message
                    )
            await asyncio.sleep(RETRY_SECONDS)
        return None

    async def _write(self, entry: Entry) -> None:
        if entry.is_repeat:
            event = entry.event
            body = {"count": event.count, "lastTimestamp": event.last_timestamp}
            where = (event.metadata.name, body, event.metadata.namespace)
            try:
                await self._client.patch(kind_for(Event), *where)
            except ApiError as error:
                if error.code != NOT_FOUND:
                    raise
                entry = self._book.again(entry, now())
            else:
                return
        await self._client.create(kind_for(Event), to_json(entry.event))


def reference(obj: Struct) -> ObjectReference:
    """How an event names the object it is about."""
    kind, metadata = kind_for(type(obj)), meta(obj)
    return ObjectReference(
        api_version=kind.api_version,
        kind=kind.kind,
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        resource_version=metadata.resource_version,
    )


def _name(about: str, key: _Key, at: float) -> str:
    return f"{about}.{int(at * 1e6):x}{zlib.crc32(repr(key).encode()) & 0xFFFF:04x}"


def _remember(book: OrderedDict[K, V], key: K, value: V) -> None:
    book[key] = value
    book.move_to_end(key)
    if len(book) > BOOK_ENTRIES_MAX:
        book.popitem(last=False)

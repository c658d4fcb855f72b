"""Asks conversion webhooks of custom kinds. What was converted once is kept, and what several want
at once is asked for once."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from weft.api.crd.definition import Conversion
from weft.api.errors import ApiError
from weft.api.kinds import Kind
from weft.apiserver import admission_matching as matching
from weft.apiserver import codec, conversion_review
from weft.apiserver.access import Review
from weft.apiserver.conversion_review import BadConversion, Json
from weft.apiserver.definitions import Definitions
from weft.apiserver.webhook_client import CallFailed, WebhookClient
from weft.lib.aio import Tasks
from weft.store.interface import Entry, Event

CONVERSION_SECONDS_MAX = 30.0
"""For one call of a webhook, as kube-apiserver's."""
CALL_OBJECTS_MAX = 500
CALL_BYTES_MAX = 4 * 1024 * 1024
"""Of objects that are sent in one call; a longer list is converted in several."""
KEPT_BYTES_MAX = 32 * 1024 * 1024
"""Of converted objects, and of what they were made from."""

_Key = tuple[Conversion, str, bytes]
"""Who converts, to which version, and the stored bytes."""


class WebhookConversion:
    """conversion_review.Converter. `new_uid` gives fresh uids."""

    def __init__(
        self, client: WebhookClient, definitions: Definitions, new_uid: Callable[[], Any]
    ) -> None:
        self._client = client
        self._definitions = definitions
        self._new_uid = new_uid
        self._kept: OrderedDict[_Key, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._running: dict[_Key, asyncio.Future[dict[bytes, bytes] | ApiError]] = {}
        self._tasks = Tasks()

    async def close(self) -> None:
        """Idempotent."""
        await self._tasks.close()

    # ------------------------------------------------------------ conversion_review.Converter

    async def entries(self, kind: Kind, version: str, entries: Sequence[Entry]) -> Sequence[Entry]:
        """As Converter.entries."""
        kind = self._current(kind)
        if _conversion(kind) is None:
            return entries
        values = await self._shown(kind, version, [entry.value for entry in entries])
        return tuple(
            entry if value is entry.value else replace(entry, value=value)
            for entry, value in zip(entries, values, strict=True)
        )

    async def events(self, kind: Kind, version: str, events: Sequence[Event]) -> Sequence[Event]:
        """As Converter.events."""
        kind = self._current(kind)
        if _conversion(kind) is None:
            return events
        stored = [event.value for event in events]
        before = [event.previous or event.value for event in events]
        shown = await self._shown(kind, version, stored + before)
        return tuple(
            replace(event, value=value, previous=event.previous and was)
            for event, value, was in zip(
                events, shown[: len(events)], shown[len(events) :], strict=True
            )
        )

    async def stored(self, kind: Kind, version: str, obj: Json) -> tuple[bytes, bytes]:
        """As Converter.stored. What the way there and back loses is not in the answer either."""
        kind = self._current(kind)
        if _conversion(kind) is None or version == kind.version:
            value = codec.to_stored(kind, obj)
            return value, value
        made = await self._convert(kind, version, kind.version, [obj])
        value = codec.to_stored(kind, made[0])
        return value, (await self._shown(kind, version, [value]))[0]

    async def asked(self, asked: Review, version: str) -> Review:
        """As Converter.asked."""
        kind, own = self._current(asked.kind), asked.version or asked.kind.version
        if _conversion(kind) is None or version == own or matching.is_another_kind(asked):
            return asked
        new, old = [
            (await self._convert(kind, own, version, [obj]))[0] if obj is not None else None
            for obj in (asked.new, asked.old)
        ]
        return replace(asked, new=new, old=old)

    # ------------------------------------------------------------ stored bytes

    def _current(self, kind: Kind) -> Kind:
        """As it is defined now: a watch may be older."""
        if kind.definition is None:
            return kind
        return self._definitions.catalog.customs.get(kind.definition.name, kind)

    async def _shown(self, kind: Kind, version: str, values: Sequence[bytes]) -> list[bytes]:
        """Stored objects in the words of a version, under the heads that they are stored with.
        Raises ApiError 500."""
        made: dict[bytes, bytes] = {}
        waiting: set[asyncio.Future[dict[bytes, bytes] | ApiError]] = set()
        missing: dict[bytes, None] = {}
        for value in values:
            key = (kind.definition.conversion, version, value)
            if codec.is_in(kind, version, value):
                continue
            if key in self._kept:
                self._kept.move_to_end(key)
                made[value] = self._kept[key]
            elif key in self._running:
                waiting.add(self._running[key])
            else:
                missing[value] = None
        waiting.update(self._begin(kind, version, batch) for batch in _batches(missing))
        for future in waiting:
            done = await asyncio.shield(future)
            if isinstance(done, ApiError):
                raise ApiError(done.code, done.reason, done.message)
            made |= done
        return [made.get(value, value) for value in values]

    def _begin(
        self, kind: Kind, version: str, values: Sequence[bytes]
    ) -> asyncio.Future[dict[bytes, bytes] | ApiError]:
        future: asyncio.Future[dict[bytes, bytes] | ApiError] = (
            asyncio.get_running_loop().create_future()
        )
        keys = [(kind.definition.conversion, version, value) for value in values]
        self._running |= dict.fromkeys(keys, future)
        self._tasks.spawn(self._fill(future, kind, version, keys), "conversion")
        return future

    async def _fill(
        self,
        future: asyncio.Future[dict[bytes, bytes] | ApiError],
        kind: Kind,
        version: str,
        keys: Sequence[_Key],
    ) -> None:
        """Those who wait may go away: the call goes on for the others."""
        try:
            made: dict[bytes, bytes] = {}
            for stored in {codec.stored_version(key[2]) for key in keys}:
                of = [key[2] for key in keys if codec.stored_version(key[2]) == stored]
                objects = [codec.to_object(value) for value in of]
                done = await self._convert(kind, stored, version, objects)
                for value, obj in zip(of, done, strict=True):
                    made[value] = codec.with_words_of(value, codec.to_stored(kind, obj))
            for key in keys:
                self._keep(key, made[key[2]])
            future.set_result(made)
        except ApiError as error:
            future.set_result(error)
        finally:
            for key in keys:
                self._running.pop(key, None)
            future.cancel()  # nothing, when there is a result

    def _keep(self, key: _Key, value: bytes) -> None:
        self._kept[key] = value
        self._kept_bytes += len(key[2]) + len(value)
        while self._kept_bytes > KEPT_BYTES_MAX:
            (_, _, source), dropped = self._kept.popitem(last=False)
            self._kept_bytes -= len(source) + len(dropped)

    # ------------------------------------------------------------ the call

    async def _convert(
        self, kind: Kind, from_version: str, to_version: str, objects: Sequence[Json]
    ) -> list[Json]:
        """Raises ApiError 500 in kube-apiserver's words."""
        conversion: Conversion = kind.definition.conversion
        source = codec.api_version(kind, from_version)
        wanted, uid = codec.api_version(kind, to_version), str(self._new_uid())
        items = [conversion_review.sent(kind, source, obj) for obj in objects]
        body = conversion_review.body(conversion, wanted, uid, items)
        about = f"{source}, Kind={kind.kind}"
        try:
            raw = await self._client.call(conversion.client, body, CONVERSION_SECONDS_MAX)
            made = conversion_review.answer(raw, conversion, wanted, uid, items)
        except CallFailed as error:
            raise conversion_review.failure(about, str(error)) from error
        except BadConversion as error:
            raise conversion_review.failure(about, str(error), error.index) from error
        return [
            _as_internal(kind, to_version, obj, was) for obj, was in zip(made, objects, strict=True)
        ]


def _conversion(kind: Kind) -> Conversion | None:
    return kind.definition.conversion if kind.definition is not None else None


def _as_internal(kind: Kind, version: str, obj: Json, was: Json) -> Json:
    """With the revision of the object that was converted, and what verbs have as apiVersion."""
    known = conversion_review.known_to(kind, version, obj)
    revision = was["metadata"].get("resourceVersion")
    metadata = known["metadata"] | ({"resourceVersion": revision} if revision else {})
    return known | {"apiVersion": codec.api_version(kind), "metadata": metadata}


def _batches(values: Sequence[bytes] | dict[bytes, None]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for value in values:
        if batch and (len(batch) == CALL_OBJECTS_MAX or size + len(value) > CALL_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(value)
        size += len(value)
    if batch:
        yield batch

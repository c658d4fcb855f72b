"""Carrying out a plan through a client: the only place where actions become requests."""

import asyncio
import logging
from collections.abc import Sequence

import orjson
from msgspec import Struct

from weft.api.errors import ApiError
from weft.api.objects import to_json
from weft.api.registry import kind_for
from weft.api.snapshot import meta
from weft.runtime.barrier import Bound, Expectation, Leaving, Present, Seen
from weft.runtime.client import Client
from weft.runtime.events import EventRecorder
from weft.runtime.informer import head
from weft.runtime.plan import Action, Bind, Create, Delete, Patch, Plan, RecordEvent

log = logging.getLogger("weft.runtime")

INDEPENDENT_ACTIONS_MAX = 32
"""Actions of one independent plan under way at the same time."""
NOT_FOUND = 404


class Outcome(Struct, frozen=True):
    """What came of a plan."""

    expectations: tuple[Expectation, ...]
    """What the snapshot must show before the key is planned again."""
    error: ApiError | None = None
    """The first failure."""
    already_exists: bool = False
    """Something to be created was there: the snapshot lags, or the name is taken."""


class Executor:
    """Executes plans through one client, recording events on the way."""

    def __init__(self, client: Client, recorder: EventRecorder) -> None:
        self._client = client
        self._recorder = recorder

    async def execute(self, plan: Plan) -> Outcome:
        """Carry out the actions in order up to the first failure; independent ones all, side by
        side. Never raises ApiError."""
        if plan.independent:
            limit = asyncio.Semaphore(INDEPENDENT_ACTIONS_MAX)

            async def one(action: Action) -> Outcome:
                async with limit:
                    return await self._try(action)

            return _merge(await asyncio.gather(*(one(action) for action in plan.actions)))
        outcomes: list[Outcome] = []
        for action in plan.actions:
            outcomes.append(await self._try(action))
            if outcomes[-1].error is not None:
                break
        return _merge(outcomes)

    async def _try(self, action: Action) -> Outcome:
        try:
            return await self._do(action)
        except ApiError as error:
            return Outcome((), error)

    async def _do(self, action: Action) -> Outcome:
        match action:
            case Create():
                return await self._create(action)
            case Patch(cls, namespace, name, body, subresource):
                written = await self._client.patch(
                    kind_for(cls), name, body, namespace, subresource=subresource
                )
                return Outcome((Seen(cls, head(written)[1]),))
            case Delete():
                return await self._delete(action)
            case Bind(namespace, name, node):
                await self._client.bind(name, namespace, node)
                return Outcome((Bound(namespace, name),))
            case RecordEvent():
                self._recorder.record(action)
                return Outcome(())

    async def _create(self, action: Create) -> Outcome:
        cls, metadata = type(action.object), meta(action.object)
        try:
            written = await self._client.create(
                kind_for(cls), to_json(action.object), metadata.namespace
            )
        except ApiError as error:
            if error.reason != "AlreadyExists":
                self._tell(action.told(metadata.name, error.message))
                raise
            there = Present(cls, metadata.namespace, metadata.name)
            return Outcome((there,), already_exists=True)
        if action.owner is not None:
            made = metadata.name or orjson.loads(written)["metadata"]["name"]
            self._tell(action.told(made))
        return Outcome((Seen(cls, head(written)[1]),))

    def _tell(self, event: RecordEvent | None) -> None:
        if event is not None:
            self._recorder.record(event)

    async def _delete(self, action: Delete) -> Outcome:
        try:
            await self._client.delete(
                kind_for(action.cls),
                action.name,
                action.namespace,
                grace_period_seconds=action.grace_period_seconds,
                propagation=action.propagation,
                uid=action.uid,
            )
        except ApiError as error:
            if error.code != NOT_FOUND:
                raise
        return Outcome((Leaving(action.cls, action.namespace, action.name, action.uid),))


def _merge(outcomes: Sequence[Outcome]) -> Outcome:
    return Outcome(
        tuple(e for outcome in outcomes for e in outcome.expectations),
        next((outcome.error for outcome in outcomes if outcome.error is not None), None),
        any(outcome.already_exists for outcome in outcomes),
    )

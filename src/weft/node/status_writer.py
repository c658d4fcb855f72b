"""Writes one pod's status and annotations; what is not yet written is replaced by what is newer."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from weft.api import registry
from weft.api.conditions import condition
from weft.api.errors import ApiError
from weft.api.k8s.pod_v1 import Pod, PodStatus
from weft.api.objects import decode
from weft.api.pod_resizes import IN_PROGRESS, PENDING
from weft.api.wellknown import REASON_NODE_NOT_READY
from weft.runtime.client import Client

log = logging.getLogger("weft.node")

NOT_FOUND = 404
CONFLICT = 409
RETRY_FIRST_SECONDS = 0.1
RETRY_MAX_SECONDS = 10.0
REPEAT_SECONDS = 0.5
"""Before a status that was declared not ready is written again: first the node must be back."""
PASSING = frozenset((PENDING, IN_PROGRESS))
"""Conditions that are taken away when they hold no more."""
CONDITION_TEXTS = frozenset(("reason", "message"))
"""Fields of conditions that are absent when there is nothing to say."""


class StatusWriter:
    """Of one pod. `run` writes until cancelled or the pod is gone."""

    def __init__(self, client: Client, namespace: str, name: str, uid: str) -> None:
        self._client = client
        self._namespace, self._name, self._uid = namespace, name, uid
        self._annotations: dict[str, str] = {}
        self._status: PodStatus | None = None
        self._wanted = 0
        self._written = 0
        self._changed = asyncio.Condition()
        self._wake = asyncio.Event()
        self._gone = False
        self._passing: set[str] = set()
        """Conditions of PASSING that the API may have."""

    def annotate(self, annotations: Mapping[str, str]) -> None:
        """Set annotations, with the next write."""
        self._annotations.update(annotations)
        self._want()

    def report(self, status: PodStatus) -> None:
        """Set the status, with the next write."""
        self._status = status
        self._want()

    def observe(self, pod: Pod) -> None:
        """The pod as the API has it: while the node was silent it was declared not ready."""
        self._passing |= {c.type for c in pod.status.conditions} & PASSING
        found = condition(pod.status.conditions, "Ready")
        if self._status is None or found is None or found.reason != REASON_NODE_NOT_READY:
            return
        asyncio.get_running_loop().call_later(REPEAT_SECONDS, self._want)

    def _want(self) -> None:
        self._wanted += 1
        self._wake.set()

    async def flush(self) -> None:
        """Returns when everything wanted so far is written, or the pod is gone."""
        target = self._wanted
        async with self._changed:
            await self._changed.wait_for(lambda: self._gone or self._written >= target)

    async def run(self) -> None:
        """Write what is wanted, as it comes."""
        delay = RETRY_FIRST_SECONDS
        while not self._gone:
            await self._wake.wait()
            self._wake.clear()
            target = self._wanted
            try:
                await self._write()
            except (ApiError, OSError) as error:
                if isinstance(error, ApiError) and await self._is_gone(error):
                    await self._done(target, gone=True)
                    return
                log.warning("pod status not written pod=%s error=%s", self._name, error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, RETRY_MAX_SECONDS)
                self._wake.set()
                continue
            delay = RETRY_FIRST_SECONDS
            await self._done(target)

    async def _done(self, target: int, *, gone: bool = False) -> None:
        async with self._changed:
            self._written, self._gone = target, gone
            self._changed.notify_all()

    async def _is_gone(self, error: ApiError) -> bool:
        """Whether the pod is gone, or another one has its name (the uid is a precondition)."""
        if error.code != CONFLICT:
            return error.code == NOT_FOUND
        try:
            found = await self._client.get(registry.kind_for(Pod), self._name, self._namespace)
        except ApiError as again:
            return again.code == NOT_FOUND
        return decode(Pod, found).metadata.uid != self._uid

    async def _write(self) -> None:
        """One request for both: what the mesh reads of a pod must appear at one moment."""
        meta: dict[str, Any] = {"uid": self._uid}
        if self._annotations:
            meta["annotations"] = dict(self._annotations)
        body: dict[str, Any] = {"metadata": meta}
        if self._status is not None:
            status = msgspec.json.decode(msgspec.json.encode(self._status))
            for addresses in ("podIPs", "hostIPs"):
                if addresses in status:  # else they would be merged with those of before
                    status[addresses] = [{"$patch": "replace"}, *status[addresses]]
            conditions = status.get("conditions", ())
            known = {c["type"] for c in conditions}
            for condition in conditions:
                for gone in CONDITION_TEXTS - condition.keys():
                    condition[gone] = None  # else those of before would stay
            if past := self._passing - known:
                status["conditions"] = [
                    *conditions, *({"type": each, "$patch": "delete"} for each in sorted(past))
                ]  # fmt: skip
            self._passing = known & PASSING
            body["status"] = status
        await self._client.patch(
            registry.kind_for(Pod), self._name, body, self._namespace,
            patch_type="strategic", subresource="status",
        )  # fmt: skip

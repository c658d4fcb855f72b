"""Spans of applications on nodes that have joined: taken there, kept by the control plane."""

from collections.abc import Callable
from typing import Any

import aiohttp

from weft.api.errors import ApiError
from weft.apiserver import failures
from weft.apiserver.access import User
from weft.apiserver.bodies import BODY_BYTES_MAX
from weft.apiserver.node_authorizer import SPANS_PATH
from weft.daemon.otlp_receiver import OtlpReceiver, SpanBudget
from weft.daemon.trace_export import TraceExport
from weft.telemetry.collector import span_count, trace_request

RETRY_SECONDS = 1


class NodeSpans:
    """The node's side: listens for its pods, sends on. `start`, then `close`."""

    def __init__(self, address: str, session: aiohttp.ClientSession, server: str) -> None:
        base = server + SPANS_PATH.removesuffix("/v1/traces")
        self._export = TraceExport(base, {}, session)
        self._receiver = OtlpReceiver(self._take, address, BODY_BYTES_MAX)

    async def start(self) -> None:
        self._export.start()
        await self._receiver.start()

    @property
    def endpoint(self) -> str:
        """Where applications send to; empty when it could not be opened."""
        return self._receiver.endpoint

    def _take(self, request: Any) -> None:
        self._export.add(request.SerializeToString())

    async def close(self) -> None:
        await self._receiver.close()
        await self._export.close()


class SpanPages:
    """The control plane's side. `node_of` raises ApiError 403 for all but nodes."""

    def __init__(self, take: Callable[[Any], None], node_of: Callable[[User], str]) -> None:
        self._take = take
        self._node_of = node_of
        self._budgets: dict[str, SpanBudget] = {}
        """By node: none takes another's share."""

    async def spans(self, body: bytes, user: User) -> tuple[str, bytes]:
        """Raises ApiError 400, 403, 429."""
        node = self._node_of(user)
        try:
            found = trace_request(body)
        except ValueError as error:
            raise ApiError(400, "BadRequest", str(error)) from None
        if not self._budgets.setdefault(node, SpanBudget()).admit(span_count(found)):
            raise failures.too_many_requests(RETRY_SECONDS)
        self._take(found)
        return "application/json", b"{}"

"""Envoy's rate limit protocol (envoy.service.ratelimit.v3), answered from the counters."""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import grpc
from envoy.config.core.v3 import base_pb2
from envoy.service.ratelimit.v3 import rls_pb2
from google.protobuf.duration_pb2 import Duration
from msgspec import Struct

from weft.lib.aio import now
from weft.ratelimit.counters import Counters, MemoryCounters
from weft.ratelimit.gcra import Quota, Verdict

log = logging.getLogger("weft.ratelimit")

SERVICE = "envoy.service.ratelimit.v3.RateLimitService"
METHOD = "ShouldRateLimit"
_Response = rls_pb2.RateLimitResponse
_UNITS = {1.0: "SECOND", 60.0: "MINUTE", 3600.0: "HOUR"}


class Rule(Struct, frozen=True):
    """A limit that proxies ask for: its descriptors begin with an entry whose value is its name."""

    name: str
    quota: Quota
    fixed: tuple[tuple[str, str], ...] = ()
    """The entries that follow, with the values that a request must have to be counted."""
    shadow: bool = False
    """Count, but refuse nothing."""
    fail_closed: bool = False
    """When the counters are out of reach the proxy is told so, which then refuses the request."""


class RateLimitService:
    """Answers proxies. Every method is for the event loop that serves it.

    `counts[rule, result]` says what was answered: `ok`, `over` (refused), `shadow` (would have been
    refused), `error` (the counters were out of reach).
    """

    def __init__(
        self,
        counters: Counters | None = None,
        clock: Callable[[], float] = now,
        certified: Callable[[Any], str] = lambda _: "",
    ) -> None:
        """`certified` tells the node whose certificate a call shows, and raises PermissionError
        for all who are no node: they would use up others' limits."""
        self._certified = certified
        self._counters: Counters = counters or MemoryCounters()
        self._clock = clock
        self._rules: dict[str, Rule] = {}
        self.counts: Counter[tuple[str, str]] = Counter()
        self._out_of_reach = False

    def update(self, rules: Iterable[Rule]) -> None:
        """The limits from now on, in full. What was counted for those that stay is kept."""
        self._rules = {rule.name: rule for rule in rules}

    async def close(self) -> None:
        """Let go of the counters."""
        await self._counters.close()

    def handler(self) -> Any:
        """The gRPC handler, for any grpc.aio server."""
        method = grpc.unary_unary_rpc_method_handler(
            self._should_rate_limit,
            request_deserializer=rls_pb2.RateLimitRequest.FromString,
            response_serializer=_Response.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})

    async def _should_rate_limit(self, request: Any, context: Any) -> Any:
        try:
            self._certified(context)
        except PermissionError as error:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
            raise
        hits = request.hits_addend or 1
        response = _Response(overall_code=_Response.OK)
        retry_after = 0.0
        for descriptor in request.descriptors:
            entries = [(entry.key, entry.value) for entry in descriptor.entries]
            status = response.statuses.add(code=_Response.OK)
            rule = self._rules.get(entries[0][1]) if entries else None
            if rule is None or not _counts(rule, entries):
                continue
            verdict = await self._take(rule, entries, hits)
            if verdict is None and rule.fail_closed and not rule.shadow:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "counters are out of reach")
            if verdict is None:
                continue
            _fill(status, rule, verdict)
            if not verdict.allowed and not rule.shadow:
                status.code = response.overall_code = _Response.OVER_LIMIT
                retry_after = max(retry_after, verdict.retry_after)
        if response.overall_code == _Response.OVER_LIMIT:
            seconds = max(math.ceil(retry_after), 1)
            header = base_pb2.HeaderValue(key="retry-after", value=str(seconds))
            response.response_headers_to_add.append(header)
        return response

    async def _take(self, rule: Rule, entries: list[tuple[str, str]], hits: int) -> Verdict | None:
        """None: not known."""
        keys = tuple(value for _, value in entries[1 + len(rule.fixed) :])
        try:
            verdict = await self._counters.take((rule.name, *keys), rule.quota, self._clock(), hits)
        except OSError as error:
            self.counts[rule.name, "error"] += 1
            self._report(str(error))
            return None
        self._out_of_reach = False
        result = "ok" if verdict.allowed else "shadow" if rule.shadow else "over"
        self.counts[rule.name, result] += 1
        return verdict

    def _report(self, error: str) -> None:
        """Once each time the counters go out of reach, not for each request."""
        if not self._out_of_reach:
            log.warning("rate limit counters are out of reach: %s", error)
        self._out_of_reach = True


def _counts(rule: Rule, entries: list[tuple[str, str]]) -> bool:
    return tuple(entries[1 : 1 + len(rule.fixed)]) == rule.fixed


def _fill(status: Any, rule: Rule, verdict: Verdict) -> None:
    """What proxies put into the X-RateLimit headers."""
    unit = _UNITS.get(rule.quota.per)
    status.current_limit.requests_per_unit = rule.quota.requests
    if unit is not None:
        status.current_limit.unit = _Response.RateLimit.Unit.Value(unit)
    status.limit_remaining = verdict.remaining
    reset = verdict.retry_after if not verdict.allowed else verdict.reset
    status.duration_until_reset.CopyFrom(Duration(seconds=math.ceil(reset)))

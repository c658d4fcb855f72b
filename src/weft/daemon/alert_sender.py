"""Tells receivers of alerts: webhooks, tried again for a while, each receiver by itself."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from weft.api.k8s.core_v1 import Service
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.snapshot import meta
from weft.api.weft.monitoring_v1alpha1 import AlertReceiver
from weft.lib import aio
from weft.lib.aio import now
from weft.runtime.cache import Cache
from weft.telemetry.alerting.alerts import Alert, AlertKey
from weft.telemetry.alerting.notification import Told, due, message
from weft.telemetry.alerting.objects import SERVICE_NAME

log = logging.getLogger("weft.alerts")

SEND_SECONDS = 10.0
"""How long a receiver may take to answer."""
TRIES_MAX = 5
FIRST_PAUSE_SECONDS, PAUSE_SECONDS_MAX = 1.0, 30.0
RECEIVERS_MAX = 100
"""Receivers that are told; further ones are named in the log."""
PORT = 80

Key = tuple[str, str]
"""Namespace and name of a receiver."""


class Outcome(Struct):
    """What became of a receiver's messages."""

    delivered: int = 0
    failed: int = 0
    last_error: str = ""


class AlertSender:
    """One message under way for each receiver; what comes meanwhile waits for the next."""

    def __init__(self, cache: Cache, url: str) -> None:
        self._cache = cache
        self._url = url
        self._session: aiohttp.ClientSession | None = None
        self._tasks = aio.Tasks()
        self._busy: set[Key] = set()
        self._told: dict[Key, dict[AlertKey, Told]] = {}
        self.outcomes: dict[Key, Outcome] = {}

    async def close(self) -> None:
        await self._tasks.close()
        if self._session is not None:
            await self._session.close()

    def tell(self, receivers: Sequence[AlertReceiver], alerts: Mapping[AlertKey, Alert]) -> None:
        """Begin to send what each receiver does not know yet."""
        known = {_key(receiver) for receiver in receivers}
        for gone in set(self._told) - known:
            del self._told[gone]
            self.outcomes.pop(gone, None)
        if len(receivers) > RECEIVERS_MAX:
            log.warning("alert receivers left out count=%s", len(receivers) - RECEIVERS_MAX)
        for receiver in receivers[:RECEIVERS_MAX]:
            key = _key(receiver)
            told = self._told.setdefault(key, {})
            for old in set(told) - set(alerts):
                del told[old]
            if key in self._busy:
                continue
            news = due(receiver, alerts.values(), told, now())
            if news:
                self._busy.add(key)
                self._tasks.spawn(self._deliver(receiver, news), f"alerts-to-{key}")

    async def _deliver(self, receiver: AlertReceiver, news: tuple[Alert, ...]) -> None:
        key = _key(receiver)
        outcome = self.outcomes.setdefault(key, Outcome())
        try:
            body = msgspec.json.encode(message(receiver, news, self._url))
            outcome.last_error = await self._tries(receiver, body)
            if outcome.last_error:
                outcome.failed += 1
                log.warning("alerts not delivered to=%s error=%s", key, outcome.last_error)
            else:
                outcome.delivered += 1
            # Given up counts as told, too: the next repeat tells a receiver that is back.
            told = self._told.get(key, {})
            told |= {alert.key: Told(alert.state, now()) for alert in news}
        finally:
            self._busy.discard(key)

    async def _tries(self, receiver: AlertReceiver, body: bytes) -> str:
        """Why it could not be delivered; empty when it was."""
        error, pause = "", FIRST_PAUSE_SECONDS
        for number in range(TRIES_MAX):
            if number:
                await asyncio.sleep(pause)
                pause = min(2 * pause, PAUSE_SECONDS_MAX)
            url = self._place(receiver)
            error = await self._post(url, body) if url else "the Service has no ready endpoint"
            if not error:
                return ""
        return error

    async def _post(self, url: str, body: bytes) -> str:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=SEND_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout)
        try:
            headers = {"Content-Type": "application/json"}
            async with self._session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as response:
                return "" if response.ok else f"the receiver answered {response.status}"
        except TimeoutError:
            return f"no answer within {SEND_SECONDS:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return str(error) or type(error).__name__

    def _place(self, receiver: AlertReceiver) -> str:
        spec = receiver.spec
        if spec.url:
            return spec.url
        assert spec.service is not None
        namespace, name = meta(receiver).namespace, spec.service.name
        service = self._cache.get(Service, name, namespace)
        wanted = spec.service.port or PORT
        port = next((p for p in service.spec.ports if p.port == wanted), None) if service else None
        if port is None:
            return ""
        for one in self._cache.list(EndpointSlice, namespace):
            if (meta(one).labels or {}).get(SERVICE_NAME) != name:
                continue
            at: Any = next((p for p in one.ports if (p.name or "") == (port.name or "")), None)
            ready = (e for e in one.endpoints if e.conditions and e.conditions.ready)
            endpoint = next(ready, None)
            if at is not None and endpoint is not None:
                path = spec.service.path or "/"
                return f"http://{endpoint.addresses[0]}:{at.port}{path}"
        return ""


def _key(receiver: AlertReceiver) -> Key:
    return meta(receiver).namespace, meta(receiver).name

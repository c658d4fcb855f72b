"""Reads the keys of issuers that say where their keys are, again and again.

What was read last and was good stays in force while an issuer does not answer, also over restarts.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import aiohttp
from msgspec import Struct

from weft.api.istio.security import RequestAuthentication
from weft.daemon.measuring import Unanswered, located
from weft.lib.aio import Tasks, ticks
from weft.lib.files import replace_file
from weft.mesh.access import destination_of
from weft.mesh.issuer_keys import (
    FoundKeys,
    IssuerKeys,
    document_url,
    key_set_url,
    to_discover,
)
from weft.mesh.key_sets import usable_keys
from weft.mesh.model import MeshModel
from weft.runtime.cache import Cache

log = logging.getLogger("weft.mesh")

ANSWER_SECONDS_MAX = 5.0
ANSWER_BYTES_MAX = 1 << 20
ISSUERS_MAX = 200
"""That are asked; those of further rules have no keys."""
ASKED_AT_ONCE_MAX = 8
RETRY_SECONDS_MIN, RETRY_SECONDS_MAX = 1.0, 30.0


class _Known(Struct):
    """Of one issuer."""

    keys: FoundKeys = FoundKeys()
    due: float = 0.0
    failures: int = 0
    asked: bool = False


class IssuerKeyKeeper:
    """Hands `publish` what is known whenever that changes; `run` until cancelled."""

    def __init__(
        self,
        cache: Cache,
        file: Path,
        refresh_seconds: float,
        publish: Callable[[IssuerKeys], None],
    ) -> None:
        self._cache = cache
        self._file = file
        self._refresh_seconds = refresh_seconds
        self._publish = publish
        self._resolve: Callable[[str, int], str] = lambda *_: ""
        self._known = {issuer: _Known(FoundKeys(keys)) for issuer, keys in _kept(file)}
        self._looked = False
        self._wake = asyncio.Event()
        self._free = asyncio.Semaphore(ASKED_AT_ONCE_MAX)
        self._tasks = Tasks()
        self._tell()

    def on_model(self, model: MeshModel) -> None:
        """Only what is a destination may be asked."""
        names = frozenset(destination.name for destination in model.destinations)
        self._resolve = partial(destination_of, names)
        self._looked = True
        self._wake.set()

    async def run(self) -> None:
        async with aiohttp.ClientSession() as session:
            try:
                while True:
                    self._wake.clear()
                    wait = self._turn(session) if self._looked else self._refresh_seconds
                    try:
                        async with asyncio.timeout(wait):
                            await self._wake.wait()
                    except TimeoutError:
                        continue
            finally:
                await self._tasks.close()

    def _turn(self, session: aiohttp.ClientSession) -> float:
        """Ask those that are due; seconds until the next is."""
        objects = self._cache.list(RequestAuthentication)
        wanted = to_discover(objects, self._resolve)[:ISSUERS_MAX]
        if gone := self._known.keys() - set(wanted):
            for issuer in gone:
                del self._known[issuer]
            self._changed()
        at = ticks()
        for issuer in wanted:
            known = self._known.setdefault(issuer, _Known())
            if not known.asked and known.due <= at:
                known.asked = True
                self._tasks.spawn(self._ask(session, issuer), f"keys-of-{issuer}")
        waits = [k.due - at for k in self._known.values() if not k.asked]
        return max(0.0, min(waits, default=self._refresh_seconds))

    async def _ask(self, session: aiohttp.ClientSession, issuer: str) -> None:
        try:
            async with self._free:
                keys = await self._read(session, issuer)
            found, failed = FoundKeys(keys), False
        except (aiohttp.ClientError, OSError, ValueError, Unanswered, TimeoutError) as error:
            problem = "no answer in time" if isinstance(error, TimeoutError) else str(error)
            before = self._known.get(issuer, _Known()).keys.key_set
            found, failed = FoundKeys(before, problem or type(error).__name__), True
        known = self._known.get(issuer)
        if known is None:
            return  # nobody wants it any more
        known.asked = False
        known.failures = known.failures + 1 if failed else 0
        pause = min(RETRY_SECONDS_MIN * 2 ** min(known.failures, 10), RETRY_SECONDS_MAX)
        refresh = self._refresh_seconds
        known.due = ticks() + (min(pause, refresh) if failed else refresh)
        if known.keys != found:
            if found.problem:
                log.warning("keys not read issuer=%s %s", issuer, found.problem)
            known.keys = found
            self._changed()
        self._wake.set()

    async def _read(self, session: aiohttp.ClientSession, issuer: str) -> str:
        """The issuer's keys. Raises what `_ask` catches."""
        document = await self._get(session, document_url(issuer))
        url = key_set_url(document, issuer, self._resolve)
        keys = usable_keys((await self._get(session, url)).decode(errors="replace"))
        if not keys:
            raise ValueError(f"{url} holds no key that a signature can be checked with")
        return keys

    async def _get(self, session: aiohttp.ClientSession, url: str) -> bytes:
        place = located(self._cache, url, "")
        named = place.host.partition(":")[0] if place.host else ""
        async with (
            asyncio.timeout(ANSWER_SECONDS_MAX),
            session.get(
                place.url,
                headers={"Host": place.host} if place.host else {},
                allow_redirects=False,
                server_hostname=named if named and url.startswith("https:") else None,
            ) as answer,
        ):
            if answer.status != 200:
                raise ValueError(f"{url} is answered {answer.status}")
            text = b""
            async for piece in answer.content.iter_any():
                text += piece
                if len(text) > ANSWER_BYTES_MAX:
                    raise ValueError(f"{url} is longer than {ANSWER_BYTES_MAX} bytes")
            return text

    def _changed(self) -> None:
        self._tell()
        good = {i: k.keys.key_set for i, k in sorted(self._known.items()) if k.keys.key_set}
        try:
            replace_file(self._file, json.dumps(good).encode())
        except OSError as error:
            log.warning("keys of issuers not kept error=%s", error)

    def _tell(self) -> None:
        found = {issuer: known.keys for issuer, known in self._known.items()}
        self._publish(IssuerKeys(found, self._refresh_seconds))


def _kept(file: Path) -> Iterable[tuple[str, str]]:
    """(issuer, keys) of an earlier run; none where the file cannot be used."""
    try:
        found = json.loads(file.read_bytes())
        kept = [(str(issuer), usable_keys(str(text))) for issuer, text in found.items()]
    except (OSError, ValueError, AttributeError, RecursionError):
        return []
    return [(issuer, keys) for issuer, keys in kept if keys]

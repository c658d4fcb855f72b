"""Fills Secrets of type kubernetes.io/service-account-token: a token of the account that the
Secret names, bound to the Secret, so that it ends with it; the CA; the namespace.

A Secret whose account does not exist (any more) is removed, as Kubernetes' tokens controller does.
"""

import asyncio
import base64
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from weft.api.errors import ApiError
from weft.apiserver import codec, keys, token_claims, verbs
from weft.apiserver.access import WEFT
from weft.apiserver.request import DeleteOptions, Target, WriteOptions
from weft.apiserver.resources import Resources
from weft.apiserver.service_tokens import ServiceTokens
from weft.apiserver.token_claims import Wish
from weft.store.interface import Compacted, Entry, Event, StoreError

log = logging.getLogger("weft.apiserver")
TYPE = "kubernetes.io/service-account-token"
_ACCOUNT = "kubernetes.io/service-account.name"
_ACCOUNT_UID = "kubernetes.io/service-account.uid"
_MARK = f'"{TYPE}"'.encode()
TOKEN_SECONDS = 10 * 365 * 86400
"""Kubernetes' such tokens never end; deleting the Secret ends these."""
RETRY_SECONDS = 0.5


class TokenSecrets:
    """One task beside the server. `roots` gives the CA that clients are to believe, PEM."""

    def __init__(
        self, resources: Resources, tokens: ServiceTokens, roots: Callable[[], str]
    ) -> None:
        self._resources = resources
        self._tokens = tokens
        self._roots = roots
        self._secrets = verbs.known_kind("secrets")
        self._accounts = verbs.known_kind("serviceaccounts")

    async def run(self) -> None:
        """Until cancelled."""
        store = self._resources.store
        while True:
            watch = store.watch(keys.prefix(self._secrets), store.revision + 1)
            accounts = store.watch(keys.prefix(self._accounts), store.revision + 1)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._follow(watch))
                    tasks.create_task(self._follow(accounts))
                    await self.look()
            except* Compacted:
                log.info("token secrets: fell behind, looking at everything anew")
            except* StoreError as errors:
                log.warning("token secrets: store failed error=%s", errors.exceptions[0])
            finally:
                watch.close()
                accounts.close()
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self, watch: Any) -> None:
        batch: Sequence[Event]
        async for batch in watch:
            for event in batch:
                if event.key.startswith(keys.prefix(self._accounts)):
                    if event.type == "delete":
                        await self.look(keys.names(self._accounts, event.key)[0])
                elif event.type == "put" and _MARK in event.value:
                    entry = await self._resources.store.get(event.key)
                    if entry is not None:
                        await self._settle(entry)

    async def look(self, namespace: str = "") -> None:
        """At every such Secret, or those of a namespace."""
        prefix = keys.prefix(self._secrets, namespace)
        for entry in (await self._resources.store.range(prefix)).entries:
            if _MARK in entry.value:
                await self._settle(entry)

    async def _settle(self, entry: Entry) -> None:
        secret = codec.to_object(entry.value, entry.mod_revision)
        metadata = secret["metadata"]
        if secret.get("type") != TYPE or metadata.get("deletionTimestamp"):
            return
        namespace = metadata["namespace"]
        annotations = metadata.get("annotations") or {}
        key = keys.key(self._accounts, str(annotations.get(_ACCOUNT)), namespace)
        found = await self._resources.store.get(key)
        account = codec.to_object(found.value)["metadata"] if found is not None else None
        target = Target(self._secrets, "v1", namespace, metadata["name"])
        known = annotations.get(_ACCOUNT_UID)
        try:
            if account is None or (known and known != account["uid"]):
                await self._resources.delete(target, DeleteOptions(uid=metadata["uid"]), WEFT)
            elif patch := self._missing(secret, account):
                await self._resources.patch(target, "merge", patch, WriteOptions(), WEFT)
        except ApiError as error:
            if error.code not in (404, 409):
                log.warning(
                    "token secret not settled secret=%s/%s error=%s",
                    namespace, metadata["name"], error.message,
                )  # fmt: skip

    def _missing(self, secret: Mapping[str, Any], account: Mapping[str, Any]) -> dict[str, Any]:
        """What the Secret lacks, as a merge patch; a token whose key is forgotten is made anew."""
        metadata, data = secret["metadata"], secret.get("data") or {}
        wanted = {"namespace": _encoded(metadata["namespace"])}
        if roots := self._roots():
            wanted["ca.crt"] = _encoded(roots)
        lacking = {name: value for name, value in wanted.items() if data.get(name) != value}
        if not self._tokens.signed(_decoded(data.get("token"))):
            lacking["token"] = _encoded(self._token(metadata, account))
        annotations = metadata.get("annotations") or {}
        if not lacking and annotations.get(_ACCOUNT_UID) == account["uid"]:
            return {}
        named = {"annotations": {_ACCOUNT_UID: account["uid"]}}
        return {"metadata": {**named, "uid": metadata["uid"]}, "data": lacking}

    def _token(self, secret: Mapping[str, Any], account: Mapping[str, Any]) -> str:
        wish = Wish(token_claims.API_AUDIENCES, TOKEN_SECONDS, "Secret", secret["name"])
        return self._tokens.issue(
            secret["namespace"], account["name"], account["uid"], wish, secret["uid"]
        )


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decoded(text: Any) -> str:
    try:
        return base64.b64decode(text or "", validate=True).decode()
    except (ValueError, TypeError):
        return ""

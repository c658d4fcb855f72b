"""The client interface in process: the same verbs and watches, without HTTP."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Raw

from weft.api.kinds import Kind
from weft.api.wellknown import MANAGER
from weft.apiserver import codec, failures, verbs
from weft.apiserver.access import WEFT, User
from weft.apiserver.part_gate import Body, PartGate
from weft.apiserver.request import DeleteOptions, ListOptions, Target, Verb, WriteOptions
from weft.apiserver.resources import Resources, Written
from weft.apiserver.service_tokens import ServiceTokens
from weft.apiserver.watching import Watches
from weft.runtime.client import ObjectList, PatchType, Propagation, WatchEvent
from weft.store.interface import StoreError

TokenCheck = Callable[[User, str, str, Any], None]
"""Whether a user may have a token with this request: user, namespace, account, body. ApiError."""


class LocalClient:
    """As runtime.client.Client, acting as `user` (system:weft). Field validation is strict: what
    weft itself writes has no unknown fields. With a gate, writes are authorized and audited; reads
    never are."""

    def __init__(
        self,
        resources: Resources,
        watches: Watches,
        user: User = WEFT,
        tokens: ServiceTokens | None = None,
        gate: PartGate | None = None,
        *,
        check_token: TokenCheck = lambda *_: None,
    ) -> None:
        self._tokens = tokens
        self._gate = gate
        self._check_token = check_token
        self._resources = resources
        self._watches = watches
        self._user = user

    async def get(self, kind: Kind, name: str, namespace: str = "") -> bytes:
        """As Client.get."""
        with _refusals():
            return await self._resources.get(Target(kind, kind.versions[0], namespace, name))

    async def list(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> ObjectList:
        """As Client.list."""
        target = Target(kind, kind.versions[0], namespace)
        options = ListOptions(label_selector, field_selector, limit, continue_token)
        with _refusals():
            page = await self._resources.list(target, options)
        items = tuple(codec.served_entry(kind, kind.versions[0], e) for e in page.entries)
        return ObjectList(items, str(page.revision), page.continue_token)

    async def watch(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        """As Client.watch; with bookmarks."""
        options = ListOptions(
            label_selector,
            field_selector,
            resource_version=resource_version,
            watch=True,
            bookmarks=True,
        )
        target = Target(kind, kind.versions[0], namespace)
        with _refusals():
            async for changes in self._watches.stream(target, options):
                for change in changes:
                    yield WatchEvent(change.type, Raw(change.object))

    async def create(
        self, kind: Kind, obj: Mapping[str, Any], namespace: str = "", *, dry_run: bool = False
    ) -> bytes:
        """As Client.create; `namespace` may also stand in the object."""
        namespace = namespace or (obj.get("metadata") or {}).get("namespace") or ""
        target = Target(kind, kind.versions[0], namespace if kind.namespaced else "")
        body, options = codec.copy(dict(obj)), _options(dry_run)
        return await self._write(
            *("create", target, obj),
            lambda: self._resources.create(target, body, options, self._user),
        )

    async def update(
        self,
        kind: Kind,
        obj: Mapping[str, Any],
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> bytes:
        """As Client.update."""
        metadata = obj.get("metadata") or {}
        target = Target(
            kind,
            kind.versions[0],
            metadata.get("namespace") or "",
            metadata.get("name") or "",
            subresource,
        )
        body, options = codec.copy(dict(obj)), _options(dry_run)
        return await self._write(
            *("update", target, obj),
            lambda: self._resources.update(target, body, options, self._user),
        )

    async def patch(
        self,
        kind: Kind,
        name: str,
        body: Mapping[str, Any] | Sequence[Any],
        namespace: str = "",
        *,
        patch_type: PatchType = "merge",
        subresource: str = "",
        dry_run: bool = False,
    ) -> bytes:
        """As Client.patch."""
        target = Target(kind, kind.versions[0], namespace, name, subresource)
        plain = list(body) if isinstance(body, Sequence) else dict(body)
        options = _options(dry_run)
        return await self._write(
            *("patch", target, body),
            lambda: self._resources.patch(target, patch_type, plain, options, self._user),
        )

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str = "",
        *,
        grace_period_seconds: int | None = None,
        propagation: Propagation | None = None,
        uid: str = "",
    ) -> bytes:
        """As Client.delete."""
        target = Target(kind, kind.versions[0], namespace, name)
        options = DeleteOptions(
            grace_period_seconds=grace_period_seconds, propagation=propagation or "", uid=uid
        )
        return await self._write(
            *("delete", target, None),
            lambda: self._resources.delete(target, options, self._user),
        )

    async def bind(self, name: str, namespace: str, node: str) -> None:
        """As Client.bind."""
        pods = verbs.known_kind("pods")
        target = Target(pods, pods.version, namespace, name, "binding")
        body = {"target": {"kind": "Node", "name": node}}
        options = _options(False)
        await self._write(
            *("create", target, body),
            lambda: self._resources.bind(target, body, options, self._user),
        )

    async def request_token(
        self, account: str, namespace: str, request: Mapping[str, Any]
    ) -> bytes:
        """As Client.request_token."""
        tokens = self._tokens
        if tokens is None:
            raise failures.unavailable("this client issues no tokens")
        accounts = verbs.known_kind("serviceaccounts")
        target = Target(accounts, accounts.version, namespace, account, "token")

        async def issue() -> Written:
            self._check_token(self._user, namespace, account, request)
            return Written(codec.dumps(await tokens.request(target, dict(request))), 201)

        return await self._write("create", target, request, issue)

    async def _write(
        self, verb: Verb, target: Target, body: Body, work: Callable[[], Awaitable[Written]]
    ) -> bytes:
        async def told() -> Written:
            with _refusals():
                return await work()

        if self._gate is None:
            return (await told()).body
        with _refusals():
            return await self._gate.write(self._user, verb, target, body, told)

    async def close(self) -> None:
        """Nothing to release: the server owns everything."""


def _options(dry_run: bool) -> WriteOptions:
    return WriteOptions(dry_run, "Strict", MANAGER)


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Over HTTP a store that does not serve is a 503; here too, so that callers try again."""
    try:
        yield
    except StoreError as error:
        raise failures.store_failed(error) from error

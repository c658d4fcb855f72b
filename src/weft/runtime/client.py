"""The client interface: the same calls in process and over HTTP. Objects travel as JSON bytes."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Raw, Struct

from weft.api.kinds import Kind

PatchType = Literal["strategic", "merge", "json", "apply"]
Propagation = Literal["Background", "Foreground", "Orphan"]


class ObjectList(Struct, frozen=True):
    """One page of a list, or all of it."""

    items: tuple[bytes, ...]
    resource_version: str
    continue_token: str = ""


class WatchEvent(Struct, frozen=True):
    """One change. BOOKMARK objects carry only metadata.resourceVersion."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Raw


class Client(Protocol):
    """Every call raises weft.api.errors.ApiError when refused; `watch` raises it with code 410
    when the revision is gone. `namespace` is "" for cluster-scoped kinds and for all namespaces."""

    async def get(self, kind: Kind, name: str, namespace: str = "") -> bytes: ...

    async def list(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
    ) -> ObjectList: ...

    def watch(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]: ...

    async def create(
        self, kind: Kind, obj: Mapping[str, Any], namespace: str = "", *, dry_run: bool = False
    ) -> bytes: ...

    async def update(
        self, kind: Kind, obj: Mapping[str, Any], *, subresource: str = "", dry_run: bool = False
    ) -> bytes:
        """Replace; metadata.resourceVersion, when set, must be current (409 otherwise)."""

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
    ) -> bytes: ...

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
        """Ask for deletion. `uid`, when given, is a precondition."""

    async def bind(self, name: str, namespace: str, node: str) -> None:
        """Create the pod's Binding (POST pods/NAME/binding)."""

    async def request_token(
        self, account: str, namespace: str, request: Mapping[str, Any]
    ) -> bytes:
        """POST serviceaccounts/ACCOUNT/token: the TokenRequest with its token."""

    async def close(self) -> None: ...

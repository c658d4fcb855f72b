"""Tokens of service accounts: issued, and believed while what they are bound to exists."""

from collections.abc import Callable
from typing import Any

from weft.api.kinds import Kind
from weft.apiserver import codec, failures, keys, token_claims, verbs
from weft.apiserver.authentication import Identity
from weft.apiserver.request import Target
from weft.apiserver.token_claims import Said
from weft.lib.timefmt import parse_rfc3339
from weft.pki.jws import KeyRing
from weft.store.interface import Store

VERIFIED_MAX = 4096
"""Tokens whose signature is remembered to be good; checking one costs about 80 us."""
DELETED_LEEWAY_SECONDS = 60.0
"""A token outlives the deletion of its pod by this, so that it can say goodbye."""


class ServiceTokens:
    """authentication.Authenticator, and the issuer. `keys` may be replaced at any time."""

    def __init__(
        self, store: Store, ring: KeyRing, clock: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self._store = store
        self._ring = ring
        self._clock = clock
        self._new_id = new_id
        self._verified: dict[str, dict[str, Any]] = {}

    @property
    def ring(self) -> KeyRing:
        return self._ring

    @ring.setter
    def ring(self, ring: KeyRing) -> None:
        self._ring = ring
        self._verified.clear()

    async def identify(self, token: str, audiences: tuple[str, ...]) -> Identity | None:
        found = self._claims(token)
        said = token_claims.read(found, self._clock()) if found is not None else None
        if said is None:
            return None
        shared = tuple(a for a in audiences or token_claims.API_AUDIENCES if a in said.audiences)
        if not shared or not await self._holds(said):
            return None
        return Identity(token_claims.user_of(said), shared)

    def _claims(self, token: str) -> dict[str, Any] | None:
        found = self._verified.get(token)
        if found is None:
            found = self._ring.claims(token)
            if found is not None:
                if len(self._verified) >= VERIFIED_MAX:
                    self._verified.clear()
                self._verified[token] = found
        return found

    async def _holds(self, said: Said) -> bool:
        """Whether the account, and what the token is bound to, are the same and still there."""
        wanted = (("serviceaccounts", said.account, said.account_uid), *said.bound)
        for plural, name, uid in wanted:
            found = await self._object(verbs.known_kind(plural), name, said.namespace)
            if found is None or found["metadata"]["uid"] != uid:
                return False
            gone = found["metadata"].get("deletionTimestamp")
            if gone and self._clock() > parse_rfc3339(gone) + DELETED_LEEWAY_SECONDS:
                return False
        return True

    async def _object(self, kind: Kind, name: str, namespace: str) -> dict[str, Any] | None:
        where = namespace if kind.namespaced else ""
        entry = await self._store.get(keys.key(kind, name, where))
        return codec.to_object(entry.value) if entry is not None else None

    async def request(self, target: Target, body: Any, *, dry_run: bool = False) -> dict[str, Any]:
        """POST serviceaccounts/NAME/token. Raises ApiError 400, 404, 409, 422."""
        name, namespace, now = target.name, target.namespace, self._clock()
        wish = token_claims.parse_request(name, body)
        account = await self._object(target.kind, name, namespace)
        if account is None:
            raise failures.missing(target.kind, name)
        bound_uid, node = "", None
        if wish.bound_kind:
            kind = verbs.known_kind(wish.bound_plural)
            bound = await self._object(kind, wish.bound_name, namespace)
            if bound is None:
                raise failures.missing(kind, wish.bound_name)
            bound_uid = bound["metadata"]["uid"]
            if wish.bound_uid and wish.bound_uid != bound_uid:
                why = f"the UID in the bound object reference ({wish.bound_uid}) does not match"
                raise failures.conflict(
                    kind, wish.bound_name, f"{why} the UID in record ({bound_uid})"
                )
            if wish.bound_kind == "Pod":
                node = await self._check_pod(target, bound)
        if dry_run:
            return token_claims.answer(namespace, name, wish, "", now)
        uid = account["metadata"]["uid"]
        token = self.issue(namespace, name, uid, wish, bound_uid, node=node)
        return token_claims.answer(namespace, name, wish, token, now)

    def issue(
        self,
        namespace: str,
        account: str,
        account_uid: str,
        wish: token_claims.Wish,
        bound_uid: str,
        *,
        node: dict[str, str] | None = None,
    ) -> str:
        """A token of an account that exists, bound to what exists."""
        content = token_claims.claims(
            namespace=namespace, account=account, account_uid=account_uid, wish=wish,
            bound_uid=bound_uid, token_id=self._new_id(), now=self._clock(), pod_node=node,
        )  # fmt: skip
        return self._ring.sign(content)

    def signed(self, token: str) -> bool:
        """Whether one of the keys that are believed signed it, and it is in time."""
        found = self._claims(token)
        return found is not None and token_claims.read(found, self._clock()) is not None

    async def _check_pod(self, target: Target, pod: dict[str, Any]) -> dict[str, str] | None:
        """The pod must run as this account; gives its node."""
        account = (pod.get("spec") or {}).get("serviceAccountName") or "default"
        if account != target.name:
            why = f"cannot bind token to pod {pod['metadata']['name']}: it runs as {account}"
            raise failures.bad_request(why)
        node = (pod.get("spec") or {}).get("nodeName") or ""
        found = await self._object(verbs.known_kind("nodes"), node, "") if node else None
        return {"name": node, "uid": found["metadata"]["uid"]} if found is not None else None

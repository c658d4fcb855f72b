"""Bootstrap tokens: Secrets by which a new machine says that it may ask for a certificate. Pure.

Source: Kubernetes' bootstrap token authenticator (Secrets of type `bootstrap.kubernetes.io/token`
named `bootstrap-token-<id>` in kube-system).
"""

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any

from weft.apiserver import codec, keys
from weft.apiserver.access import AUTHENTICATED, User
from weft.apiserver.authentication import Identity
from weft.apiserver.verbs import known_kind
from weft.lib.timefmt import parse_rfc3339
from weft.store.interface import Store

NAMESPACE = "kube-system"
SECRET_TYPE = "bootstrap.kubernetes.io/token"  # noqa: S105 - a type, no secret
NAME_PREFIX = "bootstrap-token-"
BOOTSTRAPPERS = "system:bootstrappers"
USER_PREFIX = "system:bootstrap:"
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


class BootstrapTokens:
    """authentication.Authenticator."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def identify(self, token: str, audiences: tuple[str, ...]) -> Identity | None:
        found = _TOKEN.fullmatch(token)
        if found is None or audiences:
            return None
        key = keys.key(known_kind("secrets"), f"{NAME_PREFIX}{found[1]}", NAMESPACE)
        entry = await self._store.get(key)
        if entry is None:
            return None
        user = user_of(codec.to_object(entry.value), found[1], found[2], self._clock())
        return None if user is None else Identity(user)


def user_of(secret: Mapping[str, Any], ident: str, word: str, now: float) -> User | None:
    """Whom a token's Secret makes of the one who knows the token; None: nobody (any longer)."""
    data = {k: _text(v) for k, v in (secret.get("data") or {}).items()}
    if secret.get("type") != SECRET_TYPE or secret["metadata"].get("deletionTimestamp"):
        return None
    if not hmac.compare_digest(data.get("token-secret", "").encode(), word.encode()):
        return None
    if data.get("token-id") != ident or data.get("usage-bootstrap-authentication") != "true":
        return None
    if not _valid(data.get("expiration", ""), now):
        return None
    extra = [g.strip() for g in data.get("auth-extra-groups", "").split(",") if g.strip()]
    if any(not _GROUP.fullmatch(group) for group in extra):
        return None
    return User(f"{USER_PREFIX}{ident}", (BOOTSTRAPPERS, *extra, AUTHENTICATED))


def _valid(expiration: str, now: float) -> bool:
    try:
        return not expiration or parse_rfc3339(expiration) > now
    except ValueError:
        return False


def _text(value: Any) -> str:
    try:
        return base64.b64decode(str(value), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""

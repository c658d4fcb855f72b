"""The service account tokens of this node's pods: asked for, kept, renewed in time."""

import msgspec

from weft.api.k8s.pod_v1 import Pod
from weft.lib.aio import now
from weft.lib.timefmt import parse_rfc3339
from weft.node.downward import TokenKey
from weft.runtime.client import Client

RENEW_FRACTION = 0.8
"""A token is renewed when this part of its life has passed, as kubelet does."""
RENEW_SECONDS_MAX = 24 * 3600.0
"""Or when it is this old."""


class Token(msgspec.Struct, frozen=True):
    """A token and when to have the next one, seconds since the epoch."""

    text: str
    renew_at: float


class Tokens:
    """By pod and by what is asked for. In memory only: a new agent asks anew."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[str, dict[TokenKey, Token]] = {}

    def of(self, uid: str) -> dict[TokenKey, str]:
        """What a pod has."""
        return {key: token.text for key, token in self._known.get(uid, {}).items()}

    async def ensure(self, pod: Pod, wanted: frozenset[TokenKey]) -> bool:
        """Get what is missing or due; whether anything was got. Raises ApiError."""
        known = self._known.setdefault(pod.metadata.uid, {}) if wanted else {}
        due = [k for k in wanted if k not in known or known[k].renew_at <= now()]
        for key in due:
            known[key] = await self._ask(pod, key)
        return bool(due)

    def forget(self, uid: str) -> None:
        self._known.pop(uid, None)

    async def _ask(self, pod: Pod, key: TokenKey) -> Token:
        meta = pod.metadata
        spec = {
            "audiences": [key.audience] if key.audience else [],
            "expirationSeconds": key.seconds,
            "boundObjectRef": {
                "apiVersion": "v1", "kind": "Pod", "name": meta.name, "uid": meta.uid,
            },
        }  # fmt: skip
        account = pod.spec.service_account_name or "default"
        request = {"kind": "TokenRequest", "spec": spec}
        answer = await self._client.request_token(account, meta.namespace, request)
        status = msgspec.json.decode(answer, type=_Answer).status
        life = parse_rfc3339(status.expires) - now()
        return Token(status.token, now() + min(RENEW_FRACTION * life, RENEW_SECONDS_MAX))


class _Status(msgspec.Struct, frozen=True):
    token: str
    expires: str = msgspec.field(name="expirationTimestamp")


class _Answer(msgspec.Struct, frozen=True):
    status: _Status

"""What service account tokens say, and what may be asked for in one. Pure.

Source: Kubernetes' bound service account tokens and authentication.k8s.io/v1 TokenRequest.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from weft.api.kinds import Kind
from weft.apiserver import failures
from weft.apiserver.access import (
    AUTHENTICATED,
    User,
    service_account_groups,
    service_account_name,
)
from weft.lib.timefmt import rfc3339

ISSUER = "https://kubernetes.default.svc.cluster.local"
API_AUDIENCES = (ISSUER,)
SECONDS_DEFAULT = 3600
SECONDS_MIN = 600
SECONDS_MAX = 1 << 32
LEEWAY_SECONDS = 10.0
"""Clocks of nodes differ."""
CONFIG_URL, JWKS_URL = "/.well-known/openid-configuration", "/openid/v1/jwks"
_PRIVATE = "kubernetes.io"
_TOKEN_REQUEST = Kind("authentication.k8s.io", "v1", "TokenRequest", "tokenrequests")
_BOUND_KINDS = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}

Json = Mapping[str, Any]


class Wish(Struct, frozen=True):
    """A TokenRequest that makes sense."""

    audiences: tuple[str, ...]
    seconds: int
    bound_kind: str = ""
    """Pod, Secret, Node, or "" for the account alone."""
    bound_name: str = ""
    bound_uid: str = ""

    @property
    def bound_plural(self) -> str:
        return _BOUND_KINDS.get(self.bound_kind, "")


class _Bound(Struct, frozen=True):
    kind: str = ""
    name: str = ""
    uid: str = ""


class _Spec(Struct, frozen=True, rename="camel"):
    audiences: tuple[str, ...] | None = None
    expiration_seconds: int | None = None
    bound_object_ref: _Bound | None = None


def parse_request(name: str, body: Any) -> Wish:
    """Raises ApiError 400, 422."""
    if not isinstance(body, Mapping) or (body.get("kind") or "TokenRequest") != "TokenRequest":
        raise failures.bad_request("expected a TokenRequest of authentication.k8s.io/v1")
    try:
        spec = msgspec.convert(body.get("spec") or {}, _Spec)
    except msgspec.ValidationError as error:
        raise failures.bad_request(f"spec: {error}") from error
    seconds = SECONDS_DEFAULT if spec.expiration_seconds is None else spec.expiration_seconds
    if seconds < SECONDS_MIN:
        raise _invalid(name, "spec.expirationSeconds", seconds,
                       "may not specify a duration less than 10 minutes")  # fmt: skip
    if seconds > SECONDS_MAX:
        raise _invalid(name, "spec.expirationSeconds", seconds,
                       "may not specify a duration larger than 2^32 seconds")  # fmt: skip
    bound = spec.bound_object_ref or _Bound()
    kind = bound.kind
    if kind and kind not in _BOUND_KINDS:
        text = f"cannot bind token for serviceaccount to object of type {kind}"
        raise failures.bad_request(text)
    if kind and not bound.name:
        raise _invalid(name, "spec.boundObjectRef.name", "", "must name the object")
    return Wish(spec.audiences or API_AUDIENCES, seconds, kind, bound.name, bound.uid)


def _invalid(name: str, field: str, value: Any, text: str) -> Exception:
    shown = f'"{value}"' if isinstance(value, str) else value
    cause = {"reason": "FieldValueInvalid", "message": f"Invalid value: {shown}: {text}",
             "field": field}  # fmt: skip
    return failures.invalid(_TOKEN_REQUEST, name, [cause])


def claims(
    *,
    namespace: str,
    account: str,
    account_uid: str,
    wish: Wish,
    bound_uid: str,
    token_id: str,
    now: float,
    pod_node: Json | None = None,
) -> dict[str, Any]:
    """The content of a token. `pod_node` is name and uid of the node of the pod it is bound to."""
    about: dict[str, Any] = {
        "namespace": namespace,
        "serviceaccount": {"name": account, "uid": account_uid},
    }
    if wish.bound_kind:
        about[wish.bound_kind.lower()] = {"name": wish.bound_name, "uid": bound_uid}
    if pod_node:
        about["node"] = dict(pod_node)
    issued = int(now)
    return {
        "aud": list(wish.audiences),
        "exp": issued + wish.seconds,
        "iat": issued,
        "iss": ISSUER,
        "jti": token_id,
        _PRIVATE: about,
        "nbf": issued,
        "sub": service_account_name(namespace, account),
    }


class Said(Struct, frozen=True):
    """A token's content, when it is well formed and in time."""

    namespace: str
    account: str
    account_uid: str
    audiences: tuple[str, ...]
    bound: tuple[tuple[str, str, str], ...]
    """(plural, name, uid) of what must still exist."""
    token_id: str
    node: str = ""
    pod: tuple[str, str] = ("", "")
    """Name and uid."""


def read(found: Json, now: float) -> Said | None:
    """None: expired, not yet valid, of another issuer, or malformed."""
    try:
        about = found[_PRIVATE]
        account = about["serviceaccount"]
        in_time = found["nbf"] - LEEWAY_SECONDS <= now < found["exp"] + LEEWAY_SECONDS
        if found["iss"] != ISSUER or not in_time:
            return None
        said = Said(
            about["namespace"],
            account["name"],
            account["uid"],
            tuple(found["aud"]),
            tuple(
                (plural, about[kind.lower()]["name"], about[kind.lower()]["uid"])
                for kind, plural in _BOUND_KINDS.items()
                # The node of a pod is told, the token is not bound to it.
                if kind.lower() in about and not (kind == "Node" and "pod" in about)
            ),
            str(found.get("jti") or ""),
            (about.get("node") or {}).get("name") or "",
            ((about.get("pod") or {}).get("name") or "", (about.get("pod") or {}).get("uid") or ""),
        )
    except (KeyError, TypeError):
        return None
    return said if found["sub"] == service_account_name(said.namespace, said.account) else None


def user_of(said: Said) -> User:
    """Who the token speaks for."""
    extra: dict[str, tuple[str, ...]] = {}
    if said.token_id:
        extra["authentication.kubernetes.io/credential-id"] = (f"JTI={said.token_id}",)
    if said.pod[0]:
        extra["authentication.kubernetes.io/pod-name"] = (said.pod[0],)
        extra["authentication.kubernetes.io/pod-uid"] = (said.pod[1],)
    if said.node:
        extra["authentication.kubernetes.io/node-name"] = (said.node,)
    groups = (*service_account_groups(said.namespace), AUTHENTICATED)
    return User(service_account_name(said.namespace, said.account), groups, said.account_uid, extra)


def answer(namespace: str, name: str, wish: Wish, token: str, now: float) -> dict[str, Any]:
    """The TokenRequest as it is answered."""
    spec: dict[str, Any] = {
        "audiences": list(wish.audiences),
        "expirationSeconds": wish.seconds,
        "boundObjectRef": None,
    }
    if wish.bound_kind:
        spec["boundObjectRef"] = {
            "kind": wish.bound_kind, "apiVersion": "v1", "name": wish.bound_name,
            **({"uid": wish.bound_uid} if wish.bound_uid else {}),
        }  # fmt: skip
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {
            "name": name, "namespace": namespace, "creationTimestamp": rfc3339(now),
        },
        "spec": spec,
        "status": {"token": token, "expirationTimestamp": rfc3339(int(now) + wish.seconds)},
    }  # fmt: skip


def openid_configuration(base_url: str, algorithms: Sequence[str]) -> dict[str, Any]:
    """What verifiers elsewhere need to find the keys."""
    return {
        "issuer": ISSUER,
        "jwks_uri": base_url + JWKS_URL,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": list(algorithms),
    }

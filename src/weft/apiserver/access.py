"""Who asks, may they, and what others have to say about a write: values and protocols."""

import csv
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from weft.api.kinds import Kind

MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"


class User(Struct, frozen=True):
    """An identity and its groups."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = {}
    """What else the authenticator knows, such as the pod that a token is bound to."""


ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))
WEFT = User("system:weft", (MASTERS, AUTHENTICATED))
"""The control plane itself, in process."""

APISERVER = User("system:apiserver", (MASTERS, AUTHENTICATED))
"""The server where it makes what must exist before anybody else is asked; only this very value is
exempt from policies and webhooks."""

Tokens = Mapping[str, User]


class Attributes(Struct, frozen=True):
    """What is asked for, as authorization sees it."""

    verb: str
    path: str = ""
    """Only for requests that are not about resources (`/metrics`)."""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    selected_node: str = ""
    """What a field selector of a list or watch demands of `spec.nodeName`."""


class Decision(Struct, frozen=True):
    """Whether, and why (may be empty)."""

    allowed: bool
    reason: str = ""


class Authorizer(Protocol):
    """Decides."""

    def decide(self, user: User, wanted: Attributes) -> Decision: ...


Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]


class Review(Struct, frozen=True):
    """A write that admission is asked about. `new` is None for a deletion, `old` for a creation;
    both are the kind's JSON and must not be changed in place."""

    operation: Operation
    kind: Kind
    namespace: str
    name: str
    new: dict[str, Any] | None
    old: dict[str, Any] | None
    user: User
    subresource: str = ""
    dry_run: bool = False
    version: str = ""
    """The served version that the request names; "" is the stored one."""
    applies: bool = False
    """A whole configuration is applied (server-side, or by kubectl, helm, weft)."""


class Verdict(Struct, frozen=True):
    """What an admission hook says. `errors` are Status causes (reason, message, field)."""

    obj: dict[str, Any] | None = None
    """The object to store instead; None keeps it."""
    warnings: tuple[str, ...] = ()
    errors: tuple[Mapping[str, Any], ...] = ()


class Admission(Protocol):
    """Called for every create, update and delete, before validation, in order. ApiError refuses
    in the hook's own words."""

    async def review(self, asked: Review) -> Verdict: ...


SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
SERVICE_ACCOUNTS = "system:serviceaccounts"


def service_account_name(namespace: str, name: str) -> str:
    """The user that a service account is."""
    return f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"


def service_account_of(user: str) -> tuple[str, str] | None:
    """(namespace, name) of a service account's user name."""
    namespace, colon, name = user.removeprefix(SERVICE_ACCOUNT_PREFIX).partition(":")
    valid = user.startswith(SERVICE_ACCOUNT_PREFIX) and colon and namespace and name
    return (namespace, name) if valid else None


def service_account_groups(namespace: str) -> tuple[str, ...]:
    """The groups of every service account of a namespace."""
    return (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}")


def forbidden_text(user: User, wanted: Attributes, reason: str) -> str:
    """Kubernetes' words for a refusal."""
    resource = "/".join(p for p in (wanted.resource, wanted.subresource) if p)
    if wanted.path:
        text = f'User "{user.name}" cannot {wanted.verb} path "{wanted.path}"'
    else:
        where = (
            f'in the namespace "{wanted.namespace}"' if wanted.namespace else "at the cluster scope"
        )
        text = (
            f'User "{user.name}" cannot {wanted.verb} resource "{resource}" '
            f'in API group "{wanted.group}" {where}'
        )
    return f"{text}: {reason}" if reason.strip() else text


def parse_tokens(text: str) -> Tokens:
    """A Kubernetes static token file: CSV lines `token,user,uid[,"group1,group2"]`.

    Raises ValueError naming the line that is wrong.
    """
    tokens: dict[str, User] = {}
    for number, row in enumerate(csv.reader(text.splitlines()), 1):
        if not row or row[0].startswith("#"):
            continue
        if len(row) < 3 or not row[0] or not row[1]:
            raise ValueError(f'line {number}: expected token,user,uid[,"group1,group2"]')
        groups = tuple(g.strip() for g in row[3].split(",") if g.strip()) if len(row) > 3 else ()
        tokens[row[0]] = User(row[1], (*groups, AUTHENTICATED), row[2])
    return tokens


def user_of_token(tokens: Tokens, token: str) -> User | None:
    """Compared in constant time per token. Headers may hold bytes that are no UTF-8."""
    asked = token.encode(errors="surrogateescape")
    found = None
    for known, user in tokens.items():
        if hmac.compare_digest(known.encode(), asked):
            found = user
    return found


def user_of_certificate(certificate: Mapping[str, Any]) -> User | None:
    """Common name and organizations of a verified peer certificate (`ssl.getpeercert`)."""
    fields: Sequence[Any] = [pair for rdn in certificate.get("subject", ()) for pair in rdn]
    name = next((str(v) for k, v in fields if k == "commonName"), "")
    groups = tuple(str(v) for k, v in fields if k == "organizationName")
    return User(name, (*groups, AUTHENTICATED)) if name else None

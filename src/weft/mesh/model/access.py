"""Who may call what: authorization policies, tokens, and whether callers need an identity."""

from typing import Any, Literal

from msgspec import Struct

from weft.mesh.model.text import StringMatch

ConditionKind = Literal[
    "principal",
    "source_ip",
    "remote_ip",
    "token_principal",
    "claim",
    "header",
    "host",
    "method",
    "path",
    "port",
    "destination_ip",
    "sni",
    "cel",
]
"""What a condition looks at. `principal` is the caller's SPIFFE ID without its scheme;
`source_ip` the other end of the connection, `remote_ip` the first client that is believed;
`token_principal` is `<issuer>/<subject>` of the request's token."""


Condition = tuple[Any, ...]
"""A checked condition in CEL: an operation and its operands (`weft.api.cel.conditions`)."""


class AccessCondition(Struct, frozen=True, gc=False):
    """Holds when one of the values does; `negated`: when none does. What is absent (no principal,
    no token, no such header) matches no value."""

    kind: ConditionKind
    name: str = ""
    """Of a header."""
    claim: tuple[str, ...] = ()
    """The way to a claim, from the outside in."""
    texts: tuple[StringMatch, ...] = ()
    networks: tuple[str, ...] = ()
    """CIDR blocks."""
    ports: tuple[int, ...] = ()
    cel: tuple[Condition, ...] = ()
    negated: bool = False


class AccessRule(Struct, frozen=True, gc=False):
    """Holds when one of each group holds; a group's member is conditions that hold together."""

    groups: tuple[tuple[tuple[AccessCondition, ...], ...], ...] = ()


class AccessPolicy(Struct, frozen=True, gc=False):
    """A request that one rule holds for is matched."""

    name: str
    """`<namespace>/<name>`."""
    action: Literal["allow", "deny", "audit", "custom"]
    rules: tuple[AccessRule, ...] = ()
    dry_run: bool = False
    """Matches are counted and nothing is refused."""
    provider: str = ""
    """Of action `custom`: the authorizer that is asked about what matches."""


class Access(Struct, frozen=True, gc=False):
    """The policies of some pods. A request is refused when a `deny` policy matches it, or when
    there are `allow` policies and none does."""

    policies: tuple[AccessPolicy, ...] = ()
    endpoints: tuple[tuple[str, int], ...] = ()
    """(address, port) of the pods they are for, port 0 is every port; empty is every endpoint of
    the destination."""


class PortDoor(Struct, frozen=True, gc=False):
    """A port at which something else holds than at a pod's other ports."""

    port: int
    requests_closed: bool
    bytes_closed: bool
    closed_by: str = ""
    """As of the Door."""


class Door(Struct, frozen=True, gc=False):
    """What becomes of callers without an identity of the mesh, at a pod's own address."""

    requests_closed: bool = False
    """Their requests are refused, whatever the policies say."""
    bytes_closed: bool = False
    """Their other connections are."""
    ports: tuple[PortDoor, ...] = ()
    closed_by: str = ""
    """`<namespace>/<name>` of the PeerAuthentication that refuses requests."""


class CheckedBody(Struct, frozen=True, gc=False):
    """How much of a request's body an authorizer gets."""

    bytes_max: int
    partial: bool = False
    """A longer body is cut; else it is refused with 413."""
    as_bytes: bool = False


class Authorizer(Struct, frozen=True, gc=False):
    """A service that is asked whether a request may pass (Envoy's ext_authz)."""

    name: str
    grpc: bool
    host: str
    port: int
    destination: str = ""
    """Through which it is asked; empty is nowhere."""
    timeout: float = 600.0
    """Seconds."""
    fail_open: bool = False
    """Requests pass when it cannot be asked."""
    status_on_error: int = 403
    body: CheckedBody | None = None
    path_prefix: str = ""
    request_headers: tuple[StringMatch, ...] = ()
    """Of the request, that it gets besides Host, method, path and Authorization."""
    added_headers: tuple[tuple[str, str], ...] = ()
    upstream_headers: tuple[StringMatch, ...] = ()
    """Of its answer, that the callee gets."""
    denied_headers: tuple[StringMatch, ...] = ()
    """Of its answer, that the caller gets with a refusal."""
    allowed_headers: tuple[StringMatch, ...] = ()
    """And with the callee's answer."""
    by_routes: bool = False
    """Routes name it: it is asked about all their requests, not about what policies match."""


class TokenSource(Struct, frozen=True, gc=False):
    """A place of a request that may carry a token."""

    kind: Literal["header", "query", "cookie"]
    name: str
    prefix: str = ""
    """What stands before the token in a header."""


class TokenIssuer(Struct, frozen=True, gc=False):
    """Tokens (JWT) of one issuer and how they are checked."""

    issuer: str
    audiences: tuple[str, ...] = ()
    key_set: str = ""
    """The issuer's keys as a JSON Web Key Set."""
    key_set_url: str = ""
    """Or where they are, and through which destination they are fetched."""
    key_set_destination: str = ""
    key_set_seconds: float = 300.0
    """How long the proxy uses keys that it fetched."""
    timeout: float = 5.0
    """Seconds, for fetching the keys."""
    sources: tuple[TokenSource, ...] = ()
    """Where tokens are looked for; empty is `Authorization: Bearer` and `access_token=`."""
    payload_header: str = ""
    """The request header that gets the token's payload."""
    claim_headers: tuple[tuple[str, str], ...] = ()
    """(header, claim) that the workload gets."""
    keep: bool = False
    """Whether the workload gets the token itself."""
    list_claims: tuple[str, ...] = ()
    """Claims that hold several values with spaces between, besides the customary ones."""


class Authentication(Struct, frozen=True, gc=False):
    """The issuers whose tokens a workload believes. A request with another token is answered
    401; one without passes."""

    name: str
    """Unique in the mesh: the same issuers, the same name."""
    issuers: tuple[TokenIssuer, ...] = ()
    policies: tuple[str, ...] = ()
    """The RequestAuthentications that say so, `<namespace>/<name>`."""
    partial: bool = False
    """Of several workloads that believe different issuers; those that some do not are without
    keys, so their tokens are refused."""

"""security.istio.io: who may call, and how callers prove who they are. Fields: the public Istio
reference; v1 and v1beta1 are the same messages."""

from collections.abc import Mapping
from typing import Literal

from msgspec import field

from weft.api.istio.common import Duration, IstioStatus, Message, WorkloadSelector
from weft.api.k8s.meta_v1 import ObjectMeta

CEL_KEY = "weft.dev/cel"
"""Key of conditions whose values are expressions in CEL: weft's own, Istio refuses it."""
MtlsMode = Literal["", "UNSET", "DISABLE", "PERMISSIVE", "STRICT"]


class TargetReference(Message, frozen=True):
    """An object that a policy is for, in the policy's namespace."""

    group: str = ""
    """API group; empty is the core group."""
    kind: str = ""
    """Service, Gateway, GatewayClass or ServiceEntry."""
    name: str = ""
    """The object's name."""
    namespace: str = ""
    """The policy's own namespace, or absent."""


class Source(Message, frozen=True):
    """Who calls. All given fields must hold; of a list one value is enough."""

    principals: tuple[str, ...] = ()
    """`<trust domain>/ns/<namespace>/sa/<service account>`; `*` at either end, or alone for any
    identity."""
    not_principals: tuple[str, ...] = ()
    """None of these identities."""
    request_principals: tuple[str, ...] = ()
    """`<issuer>/<subject>` of the request's token."""
    not_request_principals: tuple[str, ...] = ()
    """None of these tokens' identities."""
    namespaces: tuple[str, ...] = ()
    """Namespaces of the caller's identity."""
    not_namespaces: tuple[str, ...] = ()
    """None of these namespaces."""
    service_accounts: tuple[str, ...] = ()
    """`<namespace>/<service account>`, or a service account of the policy's namespace."""
    not_service_accounts: tuple[str, ...] = ()
    """None of these service accounts."""
    trust_domains: tuple[str, ...] = ()
    """Trust domains of the caller's identity."""
    not_trust_domains: tuple[str, ...] = ()
    """None of these trust domains."""
    ip_blocks: tuple[str, ...] = ()
    """Addresses and CIDR blocks of the connection's other end."""
    not_ip_blocks: tuple[str, ...] = ()
    """None of these addresses."""
    remote_ip_blocks: tuple[str, ...] = ()
    """Addresses and CIDR blocks of the first client, from X-Forwarded-For where it is trusted."""
    not_remote_ip_blocks: tuple[str, ...] = ()
    """None of these client addresses."""


class Operation(Message, frozen=True):
    """What is called. All given fields must hold; of a list one value is enough."""

    hosts: tuple[str, ...] = ()
    """Host headers, without regard to case."""
    not_hosts: tuple[str, ...] = ()
    """None of these hosts."""
    ports: tuple[str, ...] = ()
    """Ports of the workload."""
    not_ports: tuple[str, ...] = ()
    """None of these ports."""
    methods: tuple[str, ...] = ()
    """HTTP methods; gRPC calls are POST."""
    not_methods: tuple[str, ...] = ()
    """None of these methods."""
    paths: tuple[str, ...] = ()
    """Paths without the query: exact, with `*` at either end, or a template with `{*}`, `{**}`."""
    not_paths: tuple[str, ...] = ()
    """None of these paths."""


class RuleFrom(Message, frozen=True):
    """A source."""

    source: Source | None = None
    """Who calls."""


class RuleTo(Message, frozen=True):
    """An operation."""

    operation: Operation | None = None
    """What is called."""


class Condition(Message, frozen=True):
    """A condition on an attribute of the call."""

    key: str = ""
    """`request.headers[x]`, `source.ip`, `remote.ip`, `source.namespace`, `source.principal`,
    `source.serviceAccount`, `request.auth.principal`, `request.auth.audiences`,
    `request.auth.presenter`, `request.auth.claims[a][b]`, `destination.ip`, `destination.port`,
    `connection.sni`; `weft.dev/cel`: values are conditions in CEL."""
    values: tuple[str, ...] = ()
    """One of these."""
    not_values: tuple[str, ...] = ()
    """None of these."""


class Rule(Message, frozen=True):
    """Holds when one of `from`, one of `to` and all of `when` hold; what is absent holds."""

    from_: tuple[RuleFrom, ...] = field(default=(), name="from")
    """Who calls."""
    to: tuple[RuleTo, ...] = ()
    """What is called."""
    when: tuple[Condition, ...] = ()
    """Further conditions."""


class ExtensionProvider(Message, frozen=True):
    """The service that decides."""

    name: str = ""
    """Its name among the mesh's extension providers."""


class AuthorizationPolicySpec(Message, frozen=True):
    """Which calls to some workloads are let through."""

    selector: WorkloadSelector | None = None
    """Workloads of the namespace (of all in the root namespace); absent for all of them."""
    target_ref: TargetReference | None = None
    """The object that the policy is for."""
    target_refs: tuple[TargetReference, ...] = ()
    """The objects that the policy is for."""
    rules: tuple[Rule, ...] = ()
    """Calls the policy is about; without rules, none."""
    action: Literal["", "ALLOW", "DENY", "AUDIT", "CUSTOM"] = ""
    """What becomes of them; ALLOW when absent."""
    provider: ExtensionProvider | None = None
    """Of action CUSTOM."""


class AuthorizationPolicy(Message, frozen=True):
    """Which calls to some workloads are let through."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """AuthorizationPolicy."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: AuthorizationPolicySpec = AuthorizationPolicySpec()
    """What is wanted."""
    status: IstioStatus = IstioStatus()
    """What the mesh says about it."""


class JWTHeader(Message, frozen=True):
    """A header that carries a token."""

    name: str = ""
    """The header's name."""
    prefix: str = ""
    """What stands before the token, such as `Bearer `."""


class ClaimToHeader(Message, frozen=True):
    """A claim that the workload gets as a header."""

    header: str = ""
    """The header's name."""
    claim: str = ""
    """The claim's name; a dot leads into nested claims."""


class JWTRule(Message, frozen=True):
    """Tokens of one issuer, and how they are checked."""

    issuer: str = ""
    """The `iss` of the tokens."""
    audiences: tuple[str, ...] = ()
    """The `aud` of a token must have one of these."""
    jwks_uri: str = ""
    """Where the issuer's keys are."""
    jwks: str = ""
    """The issuer's keys themselves."""
    from_headers: tuple[JWTHeader, ...] = ()
    """Headers that may carry a token; by default `Authorization: Bearer`."""
    from_params: tuple[str, ...] = ()
    """Query parameters that may carry a token; by default `access_token`."""
    from_cookies: tuple[str, ...] = ()
    """Cookies that may carry a token."""
    output_payload_to_header: str = ""
    """Header in which the workload gets the token's payload (base64)."""
    output_claim_to_headers: tuple[ClaimToHeader, ...] = ()
    """Claims that the workload gets as headers."""
    forward_original_token: bool = False
    """Whether the workload gets the token itself."""
    timeout: Duration = ""
    """For fetching the keys; 5s when absent."""
    space_delimited_claims: tuple[str, ...] = ()
    """Claims that hold several values with spaces between, besides `scope` and `permission`."""


class RequestAuthenticationSpec(Message, frozen=True):
    """Which tokens calls to some workloads may carry."""

    selector: WorkloadSelector | None = None
    """Workloads of the namespace (of all in the root namespace); absent for all of them."""
    target_ref: TargetReference | None = None
    """The object that the policy is for."""
    target_refs: tuple[TargetReference, ...] = ()
    """The objects that the policy is for."""
    jwt_rules: tuple[JWTRule, ...] = ()
    """Issuers. A request with a token that none of them accepts is answered 401; one without a
    token passes, as having no principal."""


class RequestAuthentication(Message, frozen=True):
    """Which tokens calls to some workloads may carry."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """RequestAuthentication."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: RequestAuthenticationSpec = RequestAuthenticationSpec()
    """What is wanted."""
    status: IstioStatus = IstioStatus()
    """What the mesh says about it."""


class MutualTLS(Message, frozen=True):
    """Whether callers must prove an identity of the mesh."""

    mode: MtlsMode = ""
    """STRICT: callers without one are refused. PERMISSIVE: they are let in, without a principal.
    DISABLE: nobody has one. UNSET: as the namespace or the mesh says."""


class PeerAuthenticationSpec(Message, frozen=True):
    """Whether callers of some workloads must prove an identity of the mesh."""

    selector: WorkloadSelector | None = None
    """Workloads of the namespace; absent for all of them, in the root namespace for the mesh."""
    mtls: MutualTLS | None = None
    """For all ports."""
    port_level_mtls: Mapping[str, MutualTLS] = {}
    """For single ports of the workloads; needs `selector`."""


class PeerAuthentication(Message, frozen=True):
    """Whether callers of some workloads must prove an identity of the mesh."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """PeerAuthentication."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: PeerAuthenticationSpec = PeerAuthenticationSpec()
    """What is wanted."""
    status: IstioStatus = IstioStatus()
    """What the mesh says about it."""

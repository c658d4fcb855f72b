"""The mesh model: what the mesh shall do, in mesh words, as frozen values.

`build` makes a MeshModel from API objects; `scope` cuts it to a NodeModel, the only input of the
translation to Envoy. Everything a proxy needs is in here, and nothing else: a value that is equal
gives the same Envoy resources, byte for byte. The model imports nothing of weft but its own parts.

Times are seconds (float). Names follow Istio where users will look for them: a destination is
named `outbound|80|v1|reviews.default.svc.cluster.local` as Istio names clusters.

Values refer to values only, never in a circle, so the garbage collector need not follow them
(`gc=False`): that halves the time of a build with ten thousand endpoints.
"""

from weft.mesh.model.access import (
    Access,
    AccessCondition,
    AccessPolicy,
    AccessRule,
    Authentication,
    Authorizer,
    CheckedBody,
    ConditionKind,
    Door,
    PortDoor,
    TokenIssuer,
    TokenSource,
)
from weft.mesh.model.destination import (
    AdmissionControl,
    ConnectionPool,
    Destination,
    Endpoint,
    FailurePercentage,
    HashKey,
    HealthCheck,
    HealthStatus,
    LoadBalancer,
    LocalityPolicy,
    LocalityShares,
    OutlierDetection,
    SuccessRate,
    Tunnel,
    WarmUp,
)
from weft.mesh.model.entrance import NODE_MTLS_PORT, Entrance, Peers, entrance_name
from weft.mesh.model.gateway import (
    GatewayBinding,
    GatewayListener,
    GatewayServer,
)
from weft.mesh.model.http import (
    NOWHERE,
    PASS_UNKNOWN,
    Bandwidth,
    Cors,
    DirectResponse,
    Fault,
    Header,
    HeaderOperations,
    HttpMatch,
    HttpRoute,
    Mirror,
    NamedMatch,
    RateLimit,
    RateLimitKey,
    Redirect,
    RetryPolicy,
    Rewrite,
    RouteTable,
    UnknownHosts,
    VirtualHost,
    WeightedDestination,
)
from weft.mesh.model.login import ApiKeys, Login, Oidc
from weft.mesh.model.mesh import (
    MeshModel,
    NodeModel,
    NodePlace,
    NodeSettings,
)
from weft.mesh.model.patch import (
    ClusterPatchMatch,
    EnvoyPatch,
    ListenerPatchMatch,
    RoutePatchMatch,
)
from weft.mesh.model.protocol import (
    AppProtocol,
)
from weft.mesh.model.text import StringMatch
from weft.mesh.model.tls import (
    CertificatePair,
    ClientCertificates,
    GatewayTls,
    TlsVersion,
    UpstreamTls,
)
from weft.mesh.model.workload import (
    GATEWAY_ACCOUNT,
    InboundPort,
    OutboundPort,
    ServiceListener,
    TcpRoute,
    UdpRoute,
    Workload,
)

__all__ = [
    "GATEWAY_ACCOUNT",
    "NODE_MTLS_PORT",
    "NOWHERE",
    "PASS_UNKNOWN",
    "Access",
    "AccessCondition",
    "AccessPolicy",
    "AccessRule",
    "AdmissionControl",
    "ApiKeys",
    "AppProtocol",
    "Authentication",
    "Authorizer",
    "Bandwidth",
    "CertificatePair",
    "CheckedBody",
    "ClientCertificates",
    "ClusterPatchMatch",
    "ConditionKind",
    "ConnectionPool",
    "Cors",
    "Destination",
    "DirectResponse",
    "Door",
    "Endpoint",
    "Entrance",
    "EnvoyPatch",
    "FailurePercentage",
    "Fault",
    "GatewayBinding",
    "GatewayListener",
    "GatewayServer",
    "GatewayTls",
    "HashKey",
    "Header",
    "HeaderOperations",
    "HealthCheck",
    "HealthStatus",
    "HttpMatch",
    "HttpRoute",
    "InboundPort",
    "ListenerPatchMatch",
    "LoadBalancer",
    "LocalityPolicy",
    "LocalityShares",
    "Login",
    "MeshModel",
    "Mirror",
    "NamedMatch",
    "NodeModel",
    "NodePlace",
    "NodeSettings",
    "Oidc",
    "OutboundPort",
    "OutlierDetection",
    "Peers",
    "PortDoor",
    "RateLimit",
    "RateLimitKey",
    "Redirect",
    "RetryPolicy",
    "Rewrite",
    "RoutePatchMatch",
    "RouteTable",
    "ServiceListener",
    "StringMatch",
    "SuccessRate",
    "TcpRoute",
    "TlsVersion",
    "TokenIssuer",
    "TokenSource",
    "Tunnel",
    "UdpRoute",
    "UnknownHosts",
    "UpstreamTls",
    "VirtualHost",
    "WarmUp",
    "WeightedDestination",
    "Workload",
    "entrance_name",
]

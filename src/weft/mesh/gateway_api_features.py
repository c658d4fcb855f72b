"""What weft can do, in the words of the Gateway API's conformance suite."""

_HTTP_ROUTE = (
    "303RedirectStatusCode", "307RedirectStatusCode", "308RedirectStatusCode",
    "BackendProtocolH2C", "BackendProtocolWebSocket", "BackendRequestHeaderModification",
    "BackendRequestRedirect", "BackendTimeout", "BackendURLRewrite", "CORS",
    "ExternalAuth", "ExternalAuthForwardBody", "ExternalAuthGRPC", "ExternalAuthHTTP",
    "DestinationPortMatching", "HostRewrite", "MethodMatching", "NamedRouteRule",
    "ParentRefPort", "PathRedirect", "PathRewrite", "PortRedirect", "QueryParamMatching",
    "RequestMirror", "RequestMultipleMirrors", "RequestPercentageMirror", "RequestTimeout",
    "ResponseHeaderModification", "Retry", "RetryBackendTimeout", "RetryConnectionError",
    "SchemeRedirect",
)  # fmt: skip
_GATEWAY = (
    "AddressEmpty", "BackendClientCertificate", "FrontendClientCertificateValidation",
    "FrontendClientCertificateValidationInsecureFallback", "HTTPListenerIsolation",
    "HTTPSAndTLSPassthroughSamePort", "HTTPSListenerDetectMisdirectedRequests",
    "InfrastructurePropagation", "Port8080", "StaticAddresses",
)  # fmt: skip
_MESH = (
    "ClusterIPMatching", "ConsumerRoute", "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteNamedRouteRule", "HTTPRouteQueryParamMatching", "HTTPRouteRedirectPath",
    "HTTPRouteRedirectPort", "HTTPRouteRewritePath", "HTTPRouteSchemeRedirect",
)  # fmt: skip
_OTHERS = (
    "BackendTLSPolicy", "BackendTLSPolicySANValidation", "GRPCRoute", "GRPCRouteNamedRouteRule",
    "GRPCRouteRequestHeaderModifier", "Gateway", "HTTPRoute", "ListenerSet", "Mesh",
    "ReferenceGrant", "TCPRoute", "TLSRoute", "TLSRouteModeMixed", "TLSRouteModeTerminate",
    "UDPRoute",
)  # fmt: skip
FEATURES = tuple(
    sorted(
        (
            *_OTHERS,
            *(f"HTTPRoute{name}" for name in _HTTP_ROUTE),
            *(f"Gateway{name}" for name in _GATEWAY),
            *(f"Mesh{name}" for name in _MESH),
        )
    )
)
"""All, in the order that GatewayClasses list them."""

"""Every field of Istio's networking objects is known, and is either honoured or spoken of.

The names are those of istio/api 1.31 (networking/v1alpha3), in JSON. `mirror_percent` is an older
spelling that Istio takes, too.
"""

import typing
from typing import Any

import msgspec
import pytest
import yaml

from tests.mesh.cluster import snapshot
from weft.api.istio import networking_v1 as istio
from weft.mesh.build import build

KINDS = (
    "VirtualService", "DestinationRule", "Gateway", "ServiceEntry", "WorkloadEntry",
    "WorkloadGroup", "Sidecar", "EnvoyFilter",
)  # fmt: skip
FIELDS = """
ClientTLSSettings: caCertificates caCrl clientCertificate credentialName insecureSkipVerify mode
  privateKey sni subjectAltNames
ClusterMatch: name portNumber service subset
ConnectionPoolSettings: http tcp
ConsistentHashLB: httpCookie httpHeaderName httpQueryParameterName maglev minimumRingSize
  ringHash useSourceIp
CorsPolicy: allowCredentials allowHeaders allowMethods allowOrigin allowOrigins exposeHeaders
  maxAge unmatchedPreflights
Delegate: name namespace
Destination: host port subset
DestinationRuleSpec: exportTo host subsets trafficPolicy workloadSelector
EnvoyConfigObjectMatch: cluster context listener proxy routeConfiguration
EnvoyConfigObjectPatch: applyTo match patch
EnvoyFilterSpec: configPatches priority targetRefs workloadSelector
ExecHealthCheckConfig: command
FaultAbort: grpcStatus http2Error httpStatus percent percentage
FaultDelay: exponentialDelay fixedDelay percent percentage
FilterChainMatch: applicationProtocols destinationPort filter name sni transportProtocol
FilterMatch: name subFilter
GatewaySpec: selector servers
GrpcHealthCheckConfig: port service
HTTPBody: bytes string
HTTPCookie: attributes name path ttl
HTTPCookieAttribute: name value
HTTPDirectResponse: body status
HTTPFaultInjection: abort delay
HTTPHealthCheckConfig: host httpHeaders path port scheme
HTTPMatchRequest: authority gateways headers ignoreUriCase method name port queryParams scheme
  sourceLabels sourceNamespace statPrefix uri withoutHeaders
HTTPMirrorPolicy: destination percentage
HTTPRedirect: authority derivePort port prefixRewrite redirectCode scheme uri
HTTPRetry: attempts backoff perTryTimeout retryIgnorePreviousHosts retryOn retryRemoteLocalities
HTTPRewrite: authority uri uriRegexRewrite
HTTPRoute: corsPolicy delegate directResponse fault headers match mirror mirrorPercent
  mirrorPercentage mirror_percent mirrors name redirect retries rewrite route timeout
HTTPRouteDestination: destination headers weight
HTTPSettings: h2UpgradePolicy http1MaxPendingRequests http2KeepAlive http2MaxRequests
  idleTimeout maxConcurrentStreams maxRequestsPerConnection maxRetries useClientProtocol
HeaderOperations: add remove set
Headers: request response
Http2KeepAlive: interval timeout
IstioEgressListener: bind captureMode hosts port
IstioIngressListener: bind captureMode connectionPool defaultEndpoint port tls
L4MatchAttributes: destinationSubnets gateways port sourceLabels sourceNamespace sourceSubnet
ListenerMatch: filterChain listenerFilter name portName portNumber
LoadBalancerSettings: consistentHash localityLbSetting simple warmup warmupDurationSecs
  zoneAwareLbSetting
LocalityDistribute: from to
LocalityFailover: from to
LocalityLbSetting: distribute enabled failover failoverPriority
MagLev: tableSize
OutboundTrafficPolicy: egressProxy mode
OutlierDetection: baseEjectionTime consecutive5xxErrors consecutiveErrors
  consecutiveGatewayErrors consecutiveLocalOriginFailures interval maxEjectionPercent
  minHealthPercent outlierDetectionHttpErrorCodes splitExternalLocalOriginErrors
Patch: filterClass operation value
PercentValue: value
PodLabels: labels
PolicyTargetReference: group kind name namespace
PortSelector: number
PortTrafficPolicy: connectionPool loadBalancer outlierDetection port tls
ProbeHeader: name value
ProxyMatch: metadata proxyVersion
ProxyProtocol: version
ReadinessProbe: exec failureThreshold grpc httpGet initialDelaySeconds periodSeconds
  successThreshold tcpSocket timeoutSeconds
RegexRewrite: match rewrite
RetryBudget: budgetInterval minRetryConcurrency percent
RingHash: minimumRingSize
RouteConfigurationMatch: gateway name portName portNumber vhost
RouteDestination: destination weight
RouteMatch: action name
Server: bind defaultEndpoint hosts name port tls
ServerTLSSettings: caCertCredentialName caCertificates caCrl cipherSuites credentialName
  credentialNames httpsRedirect maxProtocolVersion minProtocolVersion mode privateKey
  serverCertificate subjectAltNames tlsCertificates verifyCertificateHash verifyCertificateSpki
ServiceEntrySpec: addresses endpoints exportTo hosts location ports resolution subjectAltNames
  workloadSelector
ServicePort: name number protocol targetPort
SidecarSpec: egress inboundConnectionPool ingress outboundTrafficPolicy workloadSelector
StringMatch: exact prefix regex
SubFilterMatch: name
Subset: labels name trafficPolicy
TCPHealthCheckConfig: host port
TCPRoute: match route
TCPSettings: connectTimeout idleTimeout maxConnectionDuration maxConnections tcpKeepalive
TLSCertificate: caCertificates privateKey serverCertificate
TLSMatchAttributes: destinationSubnets gateways port sniHosts sourceLabels sourceNamespace
TLSRoute: match route
TcpKeepalive: interval probes time
TrafficPolicy: connectionPool loadBalancer outlierDetection portLevelSettings proxyProtocol
  retryBudget tls tunnel
TunnelSettings: protocol targetHost targetPort
VirtualHostMatch: domainName name route
VirtualServiceSpec: exportTo gateways hosts http tcp tls
WarmupConfiguration: aggression duration minimumPercent
WorkloadEntrySpec: address labels locality network ports serviceAccount weight
WorkloadGroupMeta: annotations labels
WorkloadGroupSpec: metadata probe template
WorkloadSelector: matchLabels
ZoneAwareLbSetting: enabled failover failoverPriority minClusterSize
"""

HEAD = "apiVersion: networking.istio.io/v1\nkind: "
TO = "route: [{destination: {host: web}}]"
SPOKEN_OF = {
    "HTTPMatchRequest.statPrefix": (
        "WEFT2313",
        f"VirtualService\nspec: {{hosts: [web], http: [{{match: [{{statPrefix: x}}], {TO}}}]}}",
    ),
    "FaultAbort.http2Error": (
        "WEFT2313",
        "VirtualService\nspec: {hosts: [web], http: "
        f"[{{fault: {{abort: {{http2Error: X}}}}, {TO}}}]}}",
    ),
    "FaultDelay.exponentialDelay": (
        "WEFT2313",
        "VirtualService\nspec: {hosts: [web], http: "
        f"[{{fault: {{delay: {{exponentialDelay: 1s}}}}, {TO}}}]}}",
    ),
    "Server.defaultEndpoint": (
        "WEFT2342",
        "Gateway\nspec: {servers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: ['*'], "
        "defaultEndpoint: '127.0.0.1:1'}]}",
    ),
    "WorkloadEntrySpec.network": (
        "WEFT2342", "WorkloadEntry\nspec: {address: 192.0.2.1, network: far}"
    ),
    "ListenerMatch.portName": (
        "WEFT2344",
        "EnvoyFilter\nspec: {configPatches: [{applyTo: LISTENER, match: {listener: {portName: x}}, "
        "patch: {operation: MERGE, value: {}}}]}",
    ),
    "RouteConfigurationMatch.portName": (
        "WEFT2344",
        "EnvoyFilter\nspec: {configPatches: [{applyTo: VIRTUAL_HOST, match: {routeConfiguration: "
        "{portName: x}}, patch: {operation: MERGE, value: {}}}]}",
    ),
    "ProxyMatch.metadata": (
        "WEFT2344",
        "EnvoyFilter\nspec: {configPatches: [{applyTo: LISTENER, match: {proxy: {metadata: "
        "{a: b}}}, patch: {operation: MERGE, value: {}}}]}",
    ),
}  # fmt: skip
"""Fields without effect: the code that says so, and what provokes it."""


def known() -> dict[str, set[str]]:
    """The fields that are read, by message."""
    found: dict[str, set[str]] = {}

    def visit(kind: Any) -> None:
        for part in typing.get_args(kind):
            visit(part)
        if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
            return
        if kind.__name__ in found or not kind.__module__.startswith("weft.api.istio"):
            return
        fields = msgspec.structs.fields(kind)
        found[kind.__name__] = {field.encode_name for field in fields}
        for field in fields:
            visit(field.type)

    for name in KINDS:
        visit(getattr(istio, f"{name}Spec"))
    return found


def test_the_fields_are_those_of_istio() -> None:
    listed: dict[str, set[str]] = {}
    message = ""
    for word in FIELDS.split():
        if word.endswith(":"):
            message = word.removesuffix(":")
            listed[message] = set()
        else:
            listed[message].add(word)
    assert known() == listed


@pytest.mark.parametrize("field", SPOKEN_OF)
def test_what_has_no_effect_is_spoken_of(field: str) -> None:
    message, _, name = field.partition(".")
    assert name in known()[message]
    code, text = SPOKEN_OF[field]
    body = {"metadata": {"name": "own"}, **yaml.safe_load(HEAD + text)}
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"clusterIP": "10.96.0.10", "ports": [{"name": "http", "port": 80}]},
    }  # fmt: skip
    found = build(snapshot([service, body])).diagnostics
    assert code in {d.code for d in found if d.kind == body["kind"]}, found

"""The findings of the analysis. Those of building the model stand in `weft.mesh.findings`."""

from weft.mesh.findings import Finding

# --- references
GATEWAY_HOST_MISSED = Finding(
    "WEFT2150",
    "warning",
    "none of the object's gateways serves `{host}`: no request for it comes in",
    "the gateways serve {served}",
)
WORKLOADS_UNMATCHED = Finding(
    "WEFT2151",
    "warning",
    "the selector {labels} matches no workload of namespace `{namespace}`",
)
POLICY_PORT_UNKNOWN = Finding(
    "WEFT2152",
    "warning",
    "`{host}` has no port {port}; these settings have no effect",
    "its ports are {ports}",
)
MATCH_PORT_UNKNOWN = Finding(
    "WEFT2153",
    "warning",
    "no request gets here: {hosts} have no port {port}",
    "ports are {ports}",
)
TARGET_PORT_UNDECLARED = Finding(
    "WEFT2154",
    "info",
    "no container of the selected pods declares port {port}",
    "they declare {ports}",
)
RULES_WITHOUT_PORTS = Finding(
    "WEFT2155",
    "warning",
    "no request gets here: `{host}` has no port that carries {what}",
    "its ports are {ports}; a port's protocol is in its `appProtocol`, its name or its `protocol`",
)
ENTRY_UNUSED = Finding(
    "WEFT2156",
    "warning",
    "no ServiceEntry or Service of namespace `{namespace}` selects the labels {labels}; "
    "nobody is sent here",
    "give a ServiceEntry there a `workloadSelector` with these labels",
)
POD_REFERENCE_UNKNOWN = Finding(
    "WEFT2157",
    "warning",
    "no {kind} `{name}` in namespace `{namespace}`; the pods do not start before it is there",
)
NAMESPACE_UNKNOWN = Finding(
    "WEFT2158",
    "warning",
    "there is no namespace `{namespace}`; the object is refused before it is there",
    "add `{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}`",
)
PARENT_UNKNOWN = Finding(
    "WEFT2159", "error", "no {kind} is named `{name}`; the route is not attached there"
)
PARENT_REFUSES = Finding(
    "WEFT2160", "error", "`{name}` does not take this route ({reason}): {message}"
)
BACKEND_UNKNOWN = Finding("WEFT2161", "error", "no Service is named `{name}`; {consequence}")
BACKEND_PORT_UNKNOWN = Finding(
    "WEFT2162",
    "error",
    "Service `{name}` has no {transport} port {port}; {consequence}",
    "its ports are {ports}",
)
GRANT_MISSING = Finding(
    "WEFT2163",
    "error",
    "no ReferenceGrant in namespace `{namespace}` permits {kind} `{name}`; {consequence}",
    "add a ReferenceGrant there, from {source} in `{own}`, to {kind}",
)
EGRESS_ADDRESS = Finding(
    "WEFT2513",
    "warning",
    "callers come to egress gateways without their address: `{field}` {consequence}",
    "name callers by `principals`, `namespaces` or `serviceAccounts`",
)
CLASS_UNKNOWN = Finding(
    "WEFT2164", "warning", "no GatewayClass is named `{name}`; nobody opens this Gateway"
)
BACKEND_KIND = Finding("WEFT2165", "error", "back ends are Services, not {kind}; {consequence}")
CERTIFICATE_UNRESOLVED = Finding("WEFT2166", "error", "{message}; this listener is closed")
RULES_LEFT_OUT = Finding("WEFT2167", "error", "{message}; the rule is left out")
TARGET_UNKNOWN = Finding(
    "WEFT2168", "warning", "no {kind} is named `{name}`; the policy does not hold there"
)
SOURCE_NAMESPACE_UNKNOWN = Finding(
    "WEFT2169", "warning", "there is no namespace `{namespace}`: nobody calls from there"
)

# --- conflicts
CERTIFICATE_SHARED = Finding(
    "WEFT2250",
    "warning",
    "Secret `{secret}` is presented by {others} on port {port} too: browsers send requests for one "
    "host over a connection to the other, where they are answered 404",
    "put the hosts into one server, or give each its own certificate",
)
ENTRY_PROTOCOL_CONFLICT = Finding(
    "WEFT2251",
    "warning",
    "port {port} of `{host}` is {second} here and {first} in {other}; {first} is taken",
)
HOST_OVERLAP = Finding(
    "WEFT2252",
    "info",
    "requests for `{host}` do not come here: {other} names it more exactly",
)
SHADOWED_BY_OTHER = Finding(
    "WEFT2253",
    "warning",
    "no request for `{host}` gets here from gateway `{gateway}`: {other}, which is older, matches "
    "everything before",
    "put the rules into one object, the most specific first",
)
STANDS_TWICE = Finding(
    "WEFT2254", "error", "the object stands in {other} too; whichever is applied last wins"
)
RULE_TAKEN = Finding(
    "WEFT2255",
    "warning",
    "no request gets here: {other}, which comes first, has the same match for `{host}`",
)
LISTENER_CONFLICT = Finding("WEFT2256", "error", "{message} ({reason}); this listener is closed")
MESH_RULES_BYPASSED = Finding(
    "WEFT2257",
    "info",
    "requests from gateways go to `{host}` without the rules of {other}, which holds inside the "
    "mesh only",
    "name the gateway and the subset here, or bind {other} to the gateway",
)

# --- values
ANNOTATION_INVALID = Finding(
    "WEFT2350", "warning", "annotation `{name}` has an invalid value: {problem}"
)
ADDRESSES_NEEDED = Finding(
    "WEFT2351",
    "warning",
    "port {port} carries {protocol} and the entry has no addresses: its connections cannot be told "
    "from others, and nothing here applies to them",
    "set `addresses`, or a `resolution` other than NONE",
)
IMAGE_AUTO = Finding(
    "WEFT2352",
    "warning",
    "image `auto` stands for a proxy that Istio injects; weft has none to put there",
    "remove the workload: weft opens the ports of Gateways itself",
)
CERTIFICATE_UNUSABLE = Finding(
    "WEFT2354", "error", "Secret `{secret}`: {problem}; proxies refuse it"
)
RETRIES_EXCEED_TIMEOUT = Finding(
    "WEFT2355",
    "warning",
    "after {tries} tries of {each} the {timeout} of the whole request are over: the last try is "
    "never made",
    "raise `timeout`, or lower `attempts` or `perTryTimeout`",
)
STAR_LITERAL = Finding(
    "WEFT2356",
    "warning",
    "`*` in `{kind}: {value}` is taken literally",
    "write `{instead}`",
)
SLASH_DOUBLED = Finding(
    "WEFT2357",
    "warning",
    "prefix `{prefix}` becomes `{rewrite}`: `{example}` turns into `{result}`",
    "match `{closed}` and, in a match of its own, `exact: {prefix}`",
)
APP_PROTOCOL_UNKNOWN = Finding(
    "WEFT2358",
    "warning",
    "appProtocol `{value}` is not known to weft: the port counts as {taken}",
)
EXTERNAL_NAME_PORT = Finding(
    "WEFT2359",
    "warning",
    "port {port} of an ExternalName Service says nothing about its protocol",
    "start its name with `tcp-`, `tls-` or `http-`",
)
SUBSET_WITHOUT_LABELS = Finding(
    "WEFT2360",
    "info",
    "subset `{subset}` has no labels: it is all endpoints of the host",
)
SERVER_UNVERIFIED = Finding(
    "WEFT2361",
    "warning",
    "the server's certificate is not checked: anybody in between can answer",
    "remove `insecureSkipVerify` and set `caCertificates` or `credentialName`",
)
SERVER_NAME_UNVERIFIED = Finding(
    "WEFT2362",
    "warning",
    "the server's certificate may be of any name that the machine's authorities vouch for",
    "set `sni` or `subjectAltNames`, or `caCertificates` of your own",
)
TLS_BETWEEN_NODES = Finding(
    "WEFT2363",
    "warning",
    "calls with TLS of mode {mode} to pods of `{host}` on other nodes are answered 503: there the "
    "mesh speaks mutual TLS of its own",
    "remove `tls`, or write ISTIO_MUTUAL: between nodes the mesh encrypts by itself",
)
TLS_DISABLED_IN_VAIN = Finding(
    "WEFT2364",
    "info",
    "DISABLE changes nothing for `{host}`: its pods want mutual TLS ({other}), and between nodes "
    "the mesh speaks it whatever rules say",
    "remove `tls`; in Istio such calls fail",
)

# --- style
ANNOTATION_UNKNOWN = Finding("WEFT2450", "warning", "there is no annotation `{name}`")
ANNOTATION_MISPLACED = Finding(
    "WEFT2451",
    "warning",
    "annotation `{name}` has no effect here: it belongs to {kinds}",
)
ANNOTATION_DEPRECATED = Finding("WEFT2452", "info", "annotation `{name}` is deprecated")
ANNOTATION_IDLE = Finding("WEFT2453", "info", "annotation `{name}` has no effect in weft: {reason}")
MATCH_COVERED = Finding(
    "WEFT2454",
    "warning",
    "no request gets here: {earlier} matches all of it before",
    "put the more specific match first",
)
WEIGHTS_SUM = Finding(
    "WEFT2455", "info", "the weights add up to {total}, not to 100: the shares are {shares}"
)
WEIGHT_ALONE = Finding(
    "WEFT2456", "info", "weight {weight} has no effect: the only destination gets everything"
)
DESTINATION_TWICE = Finding(
    "WEFT2457", "warning", "the same destination stands at {earlier}; the shares add up"
)
READINESS_MISSING = Finding(
    "WEFT2458",
    "info",
    "container `{container}` has neither a readiness probe nor a port: it gets requests as soon "
    "as it is started",
    "add a `readinessProbe`, or declare its `ports`",
)
HOST_NETWORK = Finding(
    "WEFT2459",
    "info",
    "pods in the node's network are called like any server; their own calls are not routed",
)
TOKEN_OPTIONAL = Finding(
    "WEFT2460",
    "info",
    "requests without a token pass: no AuthorizationPolicy of namespace `{namespace}` asks for one",
    'add one that allows `requestPrincipals: ["*"]` only',
)

# --- Services on nodes, Sidecars, EnvoyFilters
PORT_TAKEN = Finding(
    "WEFT2500",
    "warning",
    "port {port} of {address} on node `{node}` belongs to another program: nobody gets here there",
    "`ss -lntup` names the program; the port is opened once it is free",
)
NO_DATAGRAMS = Finding(
    "WEFT2514",
    "warning",
    "node `{node}` runs without root: datagrams from outside do not reach it, so {what} is closed",
    "run weft as root for UDP and HTTP/3 from outside; calls between pods have no such limit",
)
AFFINITY_ENDLESS = Finding(
    "WEFT2501",
    "info",
    "callers keep their endpoint for as long as the endpoints are the same, not for {seconds} s",
)
BIND_UNUSABLE = Finding(
    "WEFT2511",
    "warning",
    "no node has the address {address}: this server is closed",
    "`ip address` lists those of a machine",
)
ADDRESS_UNUSABLE = Finding(
    "WEFT2502",
    "warning",
    "no node has the address {address}: the load balancer gets none",
    "`ip address` lists those of a machine",
)
SIDECARS_OVERLAP = Finding(
    "WEFT2503",
    "error",
    "{other}, which is older, selects `{pod}` too; this one does not hold for it",
)
PATCH_ORDER = Finding(
    "WEFT2504",
    "info",
    "{operation} needs something that another EnvoyFilter of the same priority may only bring "
    "along",
    "set `priority`: lower ones are applied first",
)
PATCH_OPERATION = Finding(
    "WEFT2505",
    "error",
    "{operation} does nothing with a {thing}; this patch is not in force",
    "what can be done with it: {possible}",
)

RULE_OF_DATAGRAMS = Finding(
    "WEFT2509",
    "info",
    "`{field}` has no effect on UDP port {port} of {host}: {consequence}",
    "write what is meant for that port in `portLevelSettings`: ROUND_ROBIN, RANDOM or "
    "`consistentHash: {{useSourceIp: true}}`",
)

# --- Telemetry
TELEMETRY_OVERLAP = Finding(
    "WEFT2507",
    "warning",
    "{other}, which is older, selects {selected} too; where both say something, that one holds",
    "merge them, or give one a narrower `selector`",
)
TELEMETRY_TWICE = Finding(
    "WEFT2508",
    "warning",
    "{other}, which is older, is for all of namespace `{namespace}` too; where both say "
    "something, that one holds",
    "merge them, or give this one a `selector`",
)

# --- Ingresses
INGRESS_CLASS_UNKNOWN = Finding(
    "WEFT2780", "warning", "no IngressClass is named `{name}`; nobody serves this Ingress"
)
INGRESS_RESOURCE = Finding(
    "WEFT2781",
    "error",
    "weft serves no resource backends; these requests are answered 500",
    "name a Service: `backend: {{service: {{name: web, port: {{number: 80}}}}}}`",
)
INGRESS_SECRET = Finding(
    "WEFT2782",
    "error",
    "no Secret `{name}` of type kubernetes.io/tls in namespace `{namespace}`; these hosts are not "
    "served with TLS",
)
TARGET_KIND = Finding(
    "WEFT2506",
    "error",
    "policies are for Services and Gateways, not for a {kind}; the policy does not hold there",
    "name each Service or Gateway, or select workloads by `selector`",
)
NETWORK_POLICY_UNENFORCED = Finding(
    "WEFT2629",
    "warning",
    "pods of node {nodes} have no networks of their own: there the policy is not enforced, and "
    "everybody reaches everybody",
    "run weft as root, with `weft up --isolation netns`",
)

"""Every finding the mesh reports: code, severity, text. Codes are never re-used."""

from collections.abc import Iterable

from msgspec import Struct

from weft.api.diagnostics import Diagnostic, Severity
from weft.api.registry import group_told
from weft.api.snapshot import meta
from weft.mesh.names import nearest, nearest_host

NAMES_SHOWN_MAX = 8


class Finding(Struct, frozen=True):
    """A kind of mistake. The texts are format strings; severity `error` says that the object, or
    the part at the path, is not in force."""

    code: str
    severity: Severity
    message: str
    hint: str = ""


# --- references
HOST_UNKNOWN = Finding(
    "WEFT2101", "error", "no Service or ServiceEntry is named `{host}`; requests are answered 503"
)
SUBSET_UNKNOWN = Finding(
    "WEFT2102",
    "error",
    "no DestinationRule defines subset `{subset}` of `{host}`; requests are answered 503",
)
PORT_UNKNOWN = Finding(
    "WEFT2103",
    "error",
    "`{host}` has no port {port}; requests are answered 503",
    "its ports are {ports}",
)
PORT_NEEDED = Finding(
    "WEFT2104",
    "warning",
    "`{host}` has several ports and the destination names none; {port} is taken",
    "set `port.number` to one of {ports}",
)
GATEWAY_UNKNOWN = Finding("WEFT2105", "error", "no Gateway is named `{gateway}`")
SECRET_UNKNOWN = Finding(
    "WEFT2106",
    "error",
    "no Secret `{secret}` in namespace {namespaces}; this server is closed",
)
CREDENTIAL_ELSEWHERE = Finding(
    "WEFT2117",
    "error",
    "Secret `{secret}` belongs to another namespace and is not used",
    "Secrets are those of the object's own namespace, or of istio-system",
)
SECRET_INCOMPLETE = Finding(
    "WEFT2107",
    "error",
    "Secret `{secret}` has no valid {missing}; this server is closed",
    "a Secret of type kubernetes.io/tls has `tls.crt` and `tls.key`",
)
RULE_HOST_UNKNOWN = Finding(
    "WEFT2108", "warning", "no Service or ServiceEntry is named `{host}`; the rule has no effect"
)
SUBSET_EMPTY = Finding(
    "WEFT2109",
    "warning",
    "subset `{subset}` selects no endpoint of `{host}`: none has the labels {labels}",
)
SELECTOR_EMPTY = Finding(
    "WEFT2110",
    "warning",
    "the selector {labels} matches no pod of namespace `{namespace}`",
)
GATEWAY_HOST_UNMATCHED = Finding(
    "WEFT2111",
    "warning",
    "gateway `{gateway}` serves none of the hosts {hosts}; the object has no effect there",
    "the gateway serves {served}",
)
TARGET_PORT_UNKNOWN = Finding(
    "WEFT2112",
    "warning",
    "no container of the selected pods names a port `{port}`",
)

DELEGATE_UNKNOWN = Finding(
    "WEFT2114",
    "error",
    "no VirtualService is named `{name}`, or it is not exported here; the rule is left out",
)

POLICY_TARGET_UNKNOWN = Finding(
    "WEFT2121",
    "warning",
    "no Service `{name}` in the policy's namespace; the policy has no effect",
)
REFUSED_BY_PROXY = Finding(
    "WEFT2125",
    "error",
    "the proxy of node `{node}` refuses what the object says ({error}); {consequence}",
    "change it: until then everything else goes on without it",
)
NOT_BUILT = Finding(
    "WEFT2627",
    "error",
    "weft failed to build the object ({error}); {consequence}",
    "this is a defect of weft: report it with what weft.log says; until the object is changed, "
    "everything else goes on without it",
)
BUILD_FAILED = Finding(
    "WEFT2628",
    "error",
    "weft failed to build the configuration ({error}), and no single object is the cause; what "
    "was in force before stays, and no change is in force",
    "this is a defect of weft: report it with what weft.log says; undo the last changes",
)
LIMIT_WITHOUT_ROUTES = Finding(
    "WEFT2122",
    "warning",
    "no HTTP route leads to {target} `{name}` of the policy's namespace; nothing is limited",
    "only requests are counted: the port must speak HTTP or gRPC",
)

CREDENTIAL_UNKNOWN = Finding(
    "WEFT2115", "error", "no Secret `{secret}` in namespace {namespaces}; {consequence}"
)
CREDENTIAL_INCOMPLETE = Finding(
    "WEFT2116", "error", "Secret `{secret}` has no valid {missing}; {consequence}"
)

MIRROR_PROTECTED = Finding(
    "WEFT2613",
    "warning",
    "no copies are sent to `{destination}`: its AuthorizationPolicies and RequestAuthentications "
    "cannot be asked about copies",
    "mirror to a service whose pods no such policy selects",
)
JWKS_UNREACHABLE = Finding(
    "WEFT2610",
    "error",
    "no Service or ServiceEntry has `{host}` with port {port}, so keys cannot be fetched; all "
    "tokens of the rule are refused",
    "add a ServiceEntry for the host, or put the keys into `jwks`",
)
JWKS_INVALID = Finding(
    "WEFT2612",
    "error",
    "`jwks` holds no key that a signature of issuer `{issuer}` can be checked with; all its "
    "tokens are refused",
    "a set holds public keys: RSA of 2048 bits or more, EC on P-256, P-384 or P-521, or Ed25519",
)
PROVIDER_UNKNOWN = Finding(
    "WEFT2621",
    "error",
    "no extension provider is named `{provider}`; requests that the policy matches are refused",
    "name it in `extensionProviders` of the ConfigMap istio-system/istio, with `envoyExtAuthzHttp` "
    "or `envoyExtAuthzGrpc`",
)
PROVIDER_UNREACHABLE = Finding(
    "WEFT2622",
    "error",
    "extension provider `{provider}`: {problem}; nothing can be asked",
)
PROVIDER_INVALID = Finding("WEFT2623", "warning", "the setting is not in force: {problem}")
LOGIN_INCOMPLETE = Finding(
    "WEFT2624", "error", "{problem}; nobody gets in through the policy's target"
)
LOGIN_WITHOUT_ROUTES = Finding(
    "WEFT2625",
    "warning",
    "no HTTP route leads to {target} `{name}` of the policy's namespace; the policy has no effect",
)
LOGIN_TAKEN = Finding(
    "WEFT2626",
    "error",
    "AuthenticationPolicy `{other}` is for some of the same routes and comes first; this one is "
    "not in force on them",
    "put what callers must show into one policy",
)
AUTHORITY_ENDS = Finding(
    "WEFT2630",
    "warning",
    "{text}",
    "`weft ca rotate` makes a new root of weft's own; a plugged-in authority gets new files in the "
    "directory that `--ca-dir` names",
)
TOKENS_DIFFER = Finding(
    "WEFT2620",
    "warning",
    "pods of `{destination}` believe different tokens; only tokens that all of them believe get "
    "through, all others are refused",
    "have the RequestAuthentications of a Service's pods select all of them",
)
JWKS_MISSING = Finding(
    "WEFT2611",
    "error",
    "issuer `{issuer}` is no URL that could be asked for its keys, and has neither `jwks` nor "
    "`jwksUri`; all its tokens are refused",
    "add `jwksUri`, or the keys in `jwks`",
)
KEYS_NOT_FOUND = Finding(
    "WEFT2614",
    "error",
    "keys of issuer `{issuer}` cannot be had: {problem}; all its tokens are refused",
    "`{issuer}/.well-known/openid-configuration` has to name them as `jwks_uri`; or add `jwksUri` "
    "or `jwks`",
)
KEYS_NOT_RENEWED = Finding(
    "WEFT2615",
    "warning",
    "keys of issuer `{issuer}` cannot be read now: {problem}; those read before stay in force",
    "see what the issuer answers; it is asked again and again",
)

# --- conflicts
HOST_TAKEN = Finding(
    "WEFT2201",
    "error",
    "`{host}` is routed by {other}, which is older; this object does not apply to it",
    "put the routes into one object",
)
HOST_DEFINED_TWICE = Finding(
    "WEFT2202", "warning", "`{host}` is defined by {other} already; this definition is not used"
)
SUBSET_DEFINED_TWICE = Finding(
    "WEFT2203", "error", "subset `{subset}` of `{host}` is defined by {other} already"
)
POLICY_DEFINED_TWICE = Finding(
    "WEFT2204",
    "warning",
    "`{host}` has a traffic policy of {other}, which is older; this one is not used",
)
GATEWAY_PORT_CONFLICT = Finding(
    "WEFT2205",
    "error",
    "port {port} is used with protocol {other_protocol} by {other}; this server is closed",
)
BIND_INVALID = Finding(
    "WEFT2510",
    "error",
    "`{bind}` is no IP address; this server is closed",
    "name an address of the nodes, or leave `bind` out",
)
GATEWAY_HOST_TAKEN = Finding(
    "WEFT2206",
    "warning",
    "`{host}` on port {port} is served by {other} already; this server does not get its requests",
)
PORT_NAMED_OTHERWISE = Finding(
    "WEFT2207",
    "warning",
    "port name `{name}` says {by_name}, appProtocol says {by_field}; appProtocol is taken",
)
ADDRESS_TAKEN = Finding(
    "WEFT2208",
    "error",
    "address {address} port {port} belongs to `{other}` already; connections go there",
    "give the host an address of its own",
)
PORT_DEFINED_TWICE = Finding("WEFT2209", "error", "port {port} is listed twice; the first is used")
GATEWAY_HOST_SHARED = Finding(
    "WEFT2211",
    "warning",
    "`{host}` on port {port} is served by {other} too; the routes of both answer, the older first",
    "name narrower hosts",
)
INBOUND_CONFLICT = Finding(
    "WEFT2210",
    "warning",
    "port {port} of pod `{pod}` is served as {first} and as {second}; {first} is taken",
)

SIDECAR_TWICE = Finding(
    "WEFT2240",
    "error",
    "{other}, which is older, is the default of namespace `{namespace}`; this one is not in force",
    "give it a `workloadSelector`",
)

# --- values
VALUE_INVALID = Finding("WEFT2301", "error", "{problem}; this {part} is not in force")
REGEX_INVALID = Finding(
    "WEFT2302",
    "error",
    "`{regex}` is no valid RE2 expression ({problem}); this match is skipped",
)
CLAIM_MATCHED = Finding(
    "WEFT2353",
    "error",
    "`{header}` is a claim of a token, and routes are chosen before tokens are read; this match is "
    "skipped",
    "an AuthorizationPolicy decides by claims: `when: [{{key: request.auth.claims[NAME], …}}]`",
)
WEIGHTS_ZERO = Finding(
    "WEFT2303", "error", "all weights are 0; this route is not in force", "give one a weight"
)
ACTION_MISSING = Finding(
    "WEFT2304",
    "error",
    "the route has no destination, redirect or direct response; it is not in force",
)
DESTINATION_MISSING = Finding(
    "WEFT2305",
    "error",
    "a share of the route has no destination; it is not in force",
    "`weight` stands next to `destination`, which names the host",
)
HOSTS_MISSING = Finding("WEFT2306", "error", "no hosts: nothing is routed", "add `hosts`")
WILDCARD_IN_MESH = Finding(
    "WEFT2307",
    "error",
    "host `*` cannot be used inside the mesh; the object applies to gateways only",
)
TLS_MISSING = Finding("WEFT2309", "error", "protocol {protocol} needs `tls`; this server is closed")
CERTIFICATE_MISSING = Finding(
    "WEFT2310",
    "error",
    "TLS needs `credentialName`, or `serverCertificate` and `privateKey`; this server is closed",
)
FILE_MISSING = Finding(
    "WEFT2315",
    "error",
    "there is no file `{file}` on the node; this server is closed",
    "put the certificate there, or into a Secret named by `credentialName`",
)
PORT_MISSING = Finding("WEFT2311", "error", "the port has no number; it is not in force")
ENDPOINTS_MISSING = Finding(
    "WEFT2312", "warning", "resolution STATIC needs `endpoints` or `workloadSelector`"
)
NOT_IN_FORCE = Finding("WEFT2313", "warning", "`{field}` is not in force yet: {consequence}")
POLICY_OF_DATAGRAMS = Finding(
    "WEFT2320",
    "warning",
    "`{field}` has no effect on UDP port {port}, which carries no requests",
    "of a BackendPolicy `failover` and `panicThreshold` hold there; a DestinationRule chooses "
    "ROUND_ROBIN, RANDOM or a hash of the caller's address; readiness probes take endpoints out",
)
ANSWERS_OF_BYTES = Finding(
    "WEFT2512",
    "info",
    "port {port} carries bytes, in which no answer can be told from another: the connections that "
    "each endpoint has open are counted instead of timed",
    "a slow endpoint keeps its connections for longer, and so gets fewer new ones",
)
FAILOVER_UNKNOWN = Finding(
    "WEFT2180", "error", "there is no {what} with port {port}; it takes nothing over"
)
FAILOVER_PROTOCOL = Finding(
    "WEFT2280",
    "error",
    "port {port} of `{host}` speaks {theirs}, not {ours}; it takes nothing over",
    "declare the same protocol for both ports",
)
LIMITS_SHARED = Finding(
    "WEFT2281",
    "warning",
    "`maxRequestsInFlight` counts all callers together, so the limits of {other} do as well",
    "use `maxRequestsInFlightPerCaller`",
)
RETRY_CONDITION_UNKNOWN = Finding(
    "WEFT2381", "error", "`{word}` is no retry condition; it is left out"
)
HTTP3_IMPOSSIBLE = Finding(
    "WEFT2383", "warning", "server `{server}` of port {port} does not speak HTTP/3: {reason}"
)
PROTOCOL_LEARNED = Finding(
    "WEFT2490",
    "info",
    "port {port} declares no protocol; its servers speak first, so it is carried as bytes",
    "name the port `tcp-…`, or set `appProtocol: tcp`",
)
WEIGHT_INVALID = Finding(
    "WEFT2382",
    "warning",
    "annotation `weft.dev/weight` is `{value}`, not a whole number from 1 on; 1 is taken",
)
SCTP_UNSUPPORTED = Finding("WEFT2380", "warning", "SCTP port {port} is not carried by the mesh")

DELEGATE_HOSTS = Finding(
    "WEFT2316",
    "error",
    "`{name}` has hosts of its own, so it is no delegate; the rule is left out",
    "remove `hosts` there",
)
DELEGATE_NESTED = Finding("WEFT2317", "error", "a delegate cannot delegate; the rule is left out")
DELEGATE_CONFLICT = Finding(
    "WEFT2318",
    "error",
    "no request meets these conditions and those of `{root}`, which delegates; the rule is left "
    "out",
    "a path of a delegate begins with the path of the rule that delegates",
)

AUTHORITIES_MISSING = Finding(
    "WEFT2319",
    "error",
    "TLS mode {mode} needs authorities for client certificates; this server is closed",
    "set `caCertificates`, or name a Secret with `ca.crt`",
)

MESH_CONFIG_UNREADABLE = Finding(
    "WEFT2340", "error", "the mesh configuration cannot be read ({problem}); it is not in force"
)
MESH_CONFIG_IGNORED = Finding(
    "WEFT2341", "info", "weft does not use `{field}` of the mesh configuration"
)
NAMELESS_PROTOCOL = Finding(
    "WEFT2343",
    "error",
    "callers of protocol {protocol} name no host, so DYNAMIC_DNS cannot resolve it; port {port} is "
    "not in force",
    "use protocol HTTP or TLS, or resolution NONE",
)
PATCH_IMPOSSIBLE = Finding("WEFT2344", "error", "{reason}; this patch is not in force")
PATCH_INVALID = Finding(
    "WEFT2345",
    "error",
    "the value is no {kind} of Envoy ({problem}); this patch is not in force",
)
ENDPOINT_UNREACHABLE = Finding(
    "WEFT2347",
    "error",
    "`{endpoint}` is no place where proxies find a program; this listener is not in force",
    "write `127.0.0.1:PORT`, or `0.0.0.0:PORT` for the workload's own address; sockets in file "
    "systems of workloads cannot be reached",
)
SIDECAR_PART = Finding("WEFT2342", "warning", "`{field}` has no effect: {consequence}")

# --- style
SHADOWED = Finding(
    "WEFT2401",
    "warning",
    "no request gets here: {earlier} matches everything before",
    "put the more specific rule first",
)
DEPRECATED = Finding("WEFT2402", "warning", "`{field}` is deprecated", "use `{instead}`")
PROTOCOL_UNDECLARED = Finding(
    "WEFT2403",
    "info",
    "port {port} declares no protocol: it is found out per connection",
    "set `appProtocol: http` (or tcp), or start the port's name with it",
)
PATCH_UNUSED = Finding(
    "WEFT2440",
    "warning",
    "nothing is as the match says; this patch changes nothing",
    "`docs/features.md` says how Istio's names are mapped",
)
ROUTE_DUPLICATE = Finding(
    "WEFT2404", "info", "the match is the same as that of {earlier}; it has no effect"
)

TELEMETRY_TARGETS = Finding(
    "WEFT2850",
    "error",
    "Telemetry objects for single Services and Gateways are not supported; it has no effect",
    "choose workloads with `selector`; `istio: ingressgateway` in the root namespace or without "
    "others means gateways",
)
TELEMETRY_FILTER = Finding(
    "WEFT2851", "error", "the expression cannot be read: {problem}; the object has no effect",
    "for example `response.code >= 400`",
)  # fmt: skip
TELEMETRY_PROVIDER = Finding(
    "WEFT2852", "info", "weft knows no provider `{provider}`: its own store is used"
)
TELEMETRY_ENVIRONMENT = Finding(
    "WEFT2853",
    "info",
    "one proxy serves all workloads of a node: the tag has its default value",
)
TELEMETRY_UNUSED = Finding("WEFT2854", "info", "`{field}` has no effect in weft")
TELEMETRY_LABEL = Finding(
    "WEFT2855",
    "warning",
    "label `{label}`: {value} cannot be filled in by the proxy; the label stays as it is",
    "write a text in quotation marks, request.headers['name'], response.headers['name'] or one of "
    "request.host, request.method, request.protocol, request.scheme, request.useragent, "
    "response.code, response.code_details, response.flags, source.address, upstream.address",
)


class Findings:
    """Collects diagnostics; the same one twice counts once."""

    def __init__(self) -> None:
        self._found: dict[Diagnostic, None] = {}

    def add(
        self, finding: Finding, obj: Struct, path: str = "", hint: str = "", **values: object
    ) -> None:
        """Reports `finding` about the field at `path` of an object."""
        where = meta(obj)
        self._found[
            Diagnostic(
                code=finding.code,
                severity=finding.severity,
                message=finding.message.format(**values),
                kind=type(obj).__name__,
                namespace=where.namespace,
                name=where.name,
                path=path,
                hint=hint or finding.hint.format(**values),
                group=group_told(type(obj)),
            )
        ] = None

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Takes over diagnostics that were made elsewhere."""
        self._found.update(dict.fromkeys(diagnostics))

    def all(self) -> tuple[Diagnostic, ...]:
        """What was found, in order of kind, namespace, name, path."""
        return tuple(
            sorted(self._found, key=lambda d: (d.kind, d.namespace, d.name, d.path, d.code))
        )


def suggest(name: str, choices: Iterable[str], label: str) -> str:
    """A hint with the nearest known name, else with the names there are."""
    known = sorted(set(choices))
    if not known:
        return ""
    if found := nearest(name, known):
        return f"did you mean `{found}`?"
    shown = ", ".join(f"`{k}`" for k in known[:NAMES_SHOWN_MAX])
    more = f" and {len(known) - NAMES_SHOWN_MAX} more" if len(known) > NAMES_SHOWN_MAX else ""
    return f"{label}: {shown}{more}"


def quoted(names: Iterable[object]) -> str:
    """Names in backticks, separated by commas."""
    return ", ".join(f"`{name}`" for name in names)


def suggest_host(written: str, namespace: str, hosts: Iterable[str]) -> str:
    """A hint with the host that was probably meant."""
    found = nearest_host(written, namespace, hosts)
    return f"did you mean `{found}`?" if found else "apply the Service, or a ServiceEntry"

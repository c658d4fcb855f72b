"""What an Envoy is started with: where its control plane is, its limits, its statistics.

Everything else reaches it over xDS. Pure: the caller writes the file and starts the process.
"""

from typing import Any

from msgspec import Struct

from weft.telemetry.traffic import BOUNDS_BYTES, BOUNDS_MS
from weft.xds.runtime import LAYER

TYPE = "type.googleapis.com/"
XDS_CLUSTER = "xds"
CLIENT_SECRET = "node"  # noqa: S105 - a name
"""The name of the certificate that a proxy shows to a control plane on another machine."""
TRUST_SECRET = "control-plane-ca"  # noqa: S105 - a name
"""The name of whom it trusts to be that control plane."""
RECONNECT_BASE_SECONDS = "0.05s"
RECONNECT_MAX_SECONDS = "1s"
KEEPALIVE_INTERVAL_SECONDS = "5s"
KEEPALIVE_TIMEOUT_SECONDS = "2s"
DOWNSTREAM_CONNECTIONS_MAX = 50_000
"""Callers' connections that a node proxy holds at most; further ones are closed at once."""
DRAIN_SECONDS = 60
"""How long connections of a removed or replaced listener, and its memory, are kept; and how long a
proxy that is replaced gives those who hold connections to let go of them."""
PARENT_SHUTDOWN_SECONDS = 75
"""After so long a proxy that was replaced ends, with what connections are left."""
CONCURRENCY = 1
"""Worker threads of a node proxy."""
REGEX_PROGRAM_SIZE_MAX = 32_768
"""RE2 program size above which Envoy refuses a route's expression; its own limit is 100."""

STATS_KEPT = (
    r"istio\..*",
    r"cluster\..*\.(upstream_cx_(active|connect_fail|total)|upstream_rq_(active|pending_overflow"
    r"|retry|retry_overflow|retry_success|timeout)|membership_(healthy|total)"
    r"|outlier_detection\.ejections_(active|enforced_total)"
    r"|health_check\.(attempt|failure|healthy)|ratelimit\.(error|over_limit|failure_mode_allowed))",
    r"local\.http_local_rate_limit\.(ok|enforced|shadow_mode)",
    r"http\.(outbound|inbound|gateway)\.downstream_(cx|rq)_(active|total)",
    r"tcp\.(outbound|inbound|gateway)\.downstream_cx_total",
    r"server\.(live|uptime|memory_allocated|memory_heap_size|memory_physical_size|total_connections"
    r"|envoy_bug_failures|dynamic_unknown_fields)",
    r"control_plane\.connected_state",
    r"cluster_manager\.(active_clusters|warming_clusters|cds\.update_(success|rejected))",
    r"listener_manager\.(total_listeners_(active|draining|warming)|lds\.update_(success|rejected))",
    r"overload\..*(pressure|active)",
)
"""Statistics that exist at all: each one kept costs memory per cluster."""
STATS_EVICTION_INTERVAL = "1800s"
"""Request metrics that nobody has counted on for this long end: else they would only grow."""
STATS_FLUSH_INTERVAL = "5s"
"""Between two reports of the mesh's metrics to the control plane."""


class RemoteControlPlane(Struct, frozen=True):
    """A control plane on another machine, over TLS with certificates on both sides."""

    host: str
    """IP or DNS name."""
    port: int
    server_name: str
    """The DNS name that its certificate must carry."""
    trust_file: str
    """A file with whom to trust as a secret named TRUST_SECRET, in the same directory as
    `sds_file`; read again as that is."""
    sds_file: str
    """A file with the proxy's own certificate as a secret named CLIENT_SECRET; one that is moved
    over it is read again."""


class BootstrapSettings(Struct, frozen=True):
    """Facts about a node that its Envoy must know before it has a control plane."""

    node: str
    xds_socket: str
    """Path of the control plane's Unix socket; empty: it is reached at `remote`."""
    admin_socket: str
    """Path at which Envoy opens its administration interface."""
    region: str = ""
    zone: str = ""
    downstream_connections_max: int = DOWNSTREAM_CONNECTIONS_MAX
    cluster: str = "weft"
    remote: RemoteControlPlane | None = None


def bootstrap(settings: BootstrapSettings) -> dict[str, Any]:
    """The bootstrap as JSON values."""
    return {
        "node": {
            "id": settings.node,
            "cluster": settings.cluster,
            "locality": {"region": settings.region, "zone": settings.zone},
        },
        "admin": {"address": {"pipe": {"path": settings.admin_socket, "mode": 0o600}}},
        "dynamic_resources": {
            "ads_config": _ads(),
            "cds_config": _wildcard(),
            "lds_config": _wildcard(),
        },
        "static_resources": {"clusters": [_control_plane(settings)]},
        "bootstrap_extensions": [_internal_listeners()],
        "stats_config": _stats(),
        "stats_eviction_interval": STATS_EVICTION_INTERVAL,
        "stats_flush_interval": STATS_FLUSH_INTERVAL,
        "stats_sinks": [_metrics_sink(settings.node)],
        "deferred_stat_options": {"enable_deferred_creation_stats": True},
        "layered_runtime": {"layers": [{"name": "weft", "static_layer": _runtime()}, _switches()]},
        "overload_manager": _overload(settings.downstream_connections_max),
    }


def relay_bootstrap(settings: BootstrapSettings) -> dict[str, Any]:
    """The same for the relay of a node, which passes bytes on: what it passes on is counted, and
    switched, by the node's proxy."""
    kept = bootstrap(settings)
    for part in ("bootstrap_extensions", "stats_eviction_interval", "stats_sinks"):
        del kept[part]
    kept["layered_runtime"] = {"layers": [{"name": "weft", "static_layer": _runtime()}]}
    return kept


def arguments() -> tuple[str, ...]:
    """Envoy's command line after the program and `-c FILE`, but for what makes a hot restart."""
    return (
        *("--concurrency", str(CONCURRENCY)),
        *("--log-level", "warning"),
        *("--drain-time-s", str(DRAIN_SECONDS)),
        *("--parent-shutdown-time-s", str(PARENT_SHUTDOWN_SECONDS)),
    )


def _ads() -> dict[str, Any]:
    back_off = {"base_interval": RECONNECT_BASE_SECONDS, "max_interval": RECONNECT_MAX_SECONDS}
    grpc = {"cluster_name": XDS_CLUSTER, "retry_policy": {"retry_back_off": back_off}}
    return {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [{"envoy_grpc": grpc}],
    }


def _internal_listeners() -> dict[str, Any]:
    """Lets connections go from one listener of this Envoy to another: to egress gateways."""
    kind = "envoy.extensions.bootstrap.internal_listener.v3.InternalListener"
    return {"name": "envoy.bootstrap.internal_listener", "typed_config": {"@type": TYPE + kind}}


def _wildcard() -> dict[str, Any]:
    """An Envoy that starts while its control plane is away waits for it instead of serving
    nothing: `/ready` tells the two apart."""
    return {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}


def client_secret(certificate_file: str, key_file: str) -> dict[str, Any]:
    """The content of `RemoteControlPlane.sds_file`."""
    secret = {
        "@type": TYPE + "envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": CLIENT_SECRET,
        "tls_certificate": {
            "certificate_chain": {"filename": certificate_file},
            "private_key": {"filename": key_file},
        },
    }
    return {"resources": [secret]}


def trust_secret(roots: str) -> dict[str, Any]:
    """The content of `RemoteControlPlane.trust_file` for these roots (PEM)."""
    secret = {
        "@type": TYPE + "envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": TRUST_SECRET,
        "validation_context": {"trusted_ca": {"inline_string": roots}},
    }
    return {"resources": [secret]}


def _control_plane(settings: BootstrapSettings) -> dict[str, Any]:
    keepalive = {"interval": KEEPALIVE_INTERVAL_SECONDS, "timeout": KEEPALIVE_TIMEOUT_SECONDS}
    options = {
        "@type": TYPE + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {"connection_keepalive": keepalive}},
    }
    remote = settings.remote
    address: dict[str, Any] = {"pipe": {"path": settings.xds_socket}}
    if remote is not None:
        address = {"socket_address": {"address": remote.host, "port_value": remote.port}}
    endpoint = {"endpoint": {"address": address}}
    by_name = remote is not None and not remote.host.replace(".", "").isdigit()
    return {
        **({} if remote is None else {"transport_socket": _tls(remote)}),
        "name": XDS_CLUSTER,
        "alt_stat_name": f"{XDS_CLUSTER};",
        "type": "STRICT_DNS" if by_name else "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options
        },
        "load_assignment": {
            "cluster_name": XDS_CLUSTER,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }


def _tls(remote: RemoteControlPlane) -> dict[str, Any]:
    name = {"san_type": "DNS", "matcher": {"exact": remote.server_name}}
    trusted = {
        "default_validation_context": {"match_typed_subject_alt_names": [name]},
        "validation_context_sds_secret_config": _from_file(TRUST_SECRET, remote.trust_file),
    }
    context = {
        "@type": TYPE + "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": remote.server_name,
        "common_tls_context": {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "alpn_protocols": ["h2"],
            "tls_certificate_sds_secret_configs": [_from_file(CLIENT_SECRET, remote.sds_file)],
            "combined_validation_context": trusted,
        },
    }
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _from_file(secret: str, path: str) -> dict[str, Any]:
    source = {"path": path, "watched_directory": {"path": path.rpartition("/")[0]}}
    return {"name": secret, "sds_config": {"path_config_source": source}}


def _stats() -> dict[str, Any]:
    patterns = [{"safe_regex": {"regex": pattern}} for pattern in STATS_KEPT]
    return {
        "stats_matcher": {"inclusion_list": {"patterns": patterns}},
        "use_all_default_tags": False,
        "histogram_bucket_settings": [
            {"match": {"prefix": f"istio.{name}"}, "buckets": list(BOUNDS_BYTES)}
            for name in ("request_bytes", "response_bytes")
        ]
        + [{"match": {"prefix": "istio."}, "buckets": list(BOUNDS_MS)}],
        "stats_tags": [
            {"tag_name": "envoy.cluster_name", "regex": r"^cluster\.((.+?);\.)"},
            {
                "tag_name": "envoy.http_conn_manager_prefix",
                "regex": r"^(?:http|tcp)\.((outbound|inbound|gateway)\.)",
            },
        ],
    }


def _metrics_sink(node: str) -> dict[str, Any]:
    """Reports the mesh's metrics over OTLP, on the connection to the control plane."""
    package = TYPE + "envoy.extensions.stat_sinks.open_telemetry.v3.SinkConfig"
    ours = {
        "input": {
            "name": "name",
            "typed_config": {
                "@type": TYPE
                + "envoy.extensions.matching.common_inputs.stats.v3.StatFullNameMatchInput"
            },
        },
        "value_match": {"prefix": "istio."},
    }
    drop = {"action": {"name": "drop", "typed_config": {"@type": f"{package}.DropAction"}}}
    others = {"predicate": {"not_matcher": {"single_predicate": ours}}, "on_match": drop}
    config = {
        "@type": package,
        "grpc_service": {"envoy_grpc": {"cluster_name": XDS_CLUSTER}},
        "resource_detectors": [_resource(node)],
        "emit_tags_as_attributes": True,
        "use_tag_extracted_name": True,
        "custom_metric_conversions": {"matcher_list": {"matchers": [others]}},
    }
    return {"name": "envoy.stat_sinks.open_telemetry", "typed_config": config}


def _resource(node: str) -> dict[str, Any]:
    """Says which node reports."""
    package = "envoy.extensions.tracers.opentelemetry.resource_detectors.v3"
    config = {
        "@type": f"{TYPE}{package}.StaticConfigResourceDetectorConfig",
        "attributes": {"weft.node": node},
    }
    name = "envoy.tracers.opentelemetry.resource_detectors.static_config"
    return {"name": name, "typed_config": config}


def _runtime() -> dict[str, Any]:
    return {"re2.max_program_size.error_level": REGEX_PROGRAM_SIZE_MAX}


def _switches() -> dict[str, Any]:
    """What the control plane sets while the proxy runs."""
    return {"name": "switches", "rtds_layer": {"name": LAYER, "rtds_config": _wildcard()}}


def _overload(connections_max: int) -> dict[str, Any]:
    package = "envoy.extensions.resource_monitors.downstream_connections.v3"
    config = {
        "@type": f"{TYPE}{package}.DownstreamConnectionsConfig",
        "max_active_downstream_connections": connections_max,
    }
    name = "envoy.resource_monitors.global_downstream_max_connections"
    return {"resource_monitors": [{"name": name, "typed_config": config}]}

"""Rate limits: which requests Envoy counts, and where.

A limit that each proxy counts by itself lives in the configuration of the whole route table, so
that all routes of a table share it; the routes it holds for name it in their metadata. A limit
that all proxies count together is asked of weft's rate limit service.

Buckets live in a filter's configuration. That of a gateway's table is an extension, which the
gateway's filter gets by name, so that they stay as full as they are when routes change; they start
full when a limit of the table changes. Tables for calls inside the mesh have theirs in themselves,
because the listeners of all pods share them: in a filter of a listener each pod would count by
itself. Those start full again when the table changes.
"""

import ipaddress
import re
from collections.abc import Iterable

from envoy.config.core.v3 import (
    base_pb2,
    config_source_pb2,
    extension_pb2,
    grpc_service_pb2,
)
from envoy.config.route.v3 import route_components_pb2 as route_pb2
from envoy.extensions.common.ratelimit.v3 import ratelimit_pb2 as common_pb2
from envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2
from envoy.extensions.filters.http.local_ratelimit.v3 import local_rate_limit_pb2 as local_pb2
from envoy.extensions.filters.http.ratelimit.v3 import rate_limit_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from envoy.extensions.rate_limit_descriptors.expr.v3 import expr_pb2
from envoy.type.metadata.v3 import metadata_pb2
from envoy.type.v3 import percent_pb2, token_bucket_pb2
from google.protobuf.any_pb2 import Any
from google.protobuf.wrappers_pb2 import BoolValue

from weft.mesh.model import RateLimit, RateLimitKey, RouteTable, StringMatch
from weft.xds.bootstrap import XDS_CLUSTER
from weft.xds.descriptors import set_shadow_mode
from weft.xds.identity import NAMESPACE_KEY, PRINCIPAL_KEY
from weft.xds.matches import header_matcher, named_header_matcher, query_matcher
from weft.xds.proto import ADS, UNLIMITED, Proto, any_of, duration, extension, resource, uint32
from weft.xds.resource import EXTENSION, Resource

LOCAL_FILTER = "envoy.filters.http.local_ratelimit"
GLOBAL_FILTER = "envoy.filters.http.ratelimit"
CLOSED_FILTER = "envoy.filters.http.ratelimit.closed"
"""The same again, for limits that refuse requests when the service does not answer."""
UNAVAILABLE_STATUS = 503
HEADERS_FILTER = "envoy.filters.http.header_mutation"

DOMAIN = "weft"
"""What the rate limit service knows our descriptors by."""
METADATA = "weft.rate_limits"
"""Route metadata: the names of the local limits that hold for the route."""
LIMIT_ENTRY = "limit"
"""The first entry of a descriptor: its value, or else the rest of its key, is the limit's name."""
HELD = "yes"
"""Value of the entries that say that a condition holds."""
SERVICE_TIMEOUT = 0.25
"""Seconds that a request waits for the rate limit service; then it is let through."""
KEYS_MAX = 10_000
"""Combinations of keys that a proxy remembers per table; the longest unused are forgotten."""
FILL_SECONDS_MIN = 0.05
"""Envoy's least time between two refills."""

_Action = route_pb2.RateLimit.Action
_ALL = percent_pb2.FractionalPercent(numerator=100)


def local_filter(table: str) -> Proto:
    """The HTTP filter of local limits, which limited tables turn on; of a gateway's `table` with
    the buckets of its extension."""
    plain = any_of(local_pb2.LocalRateLimit(stat_prefix="local"))
    made = hcm_pb2.HttpFilter(name=LOCAL_FILTER, disabled=True)
    if not table:
        made.typed_config.CopyFrom(plain)
        return made
    made.name = buckets_name(table)
    made.config_discovery.CopyFrom(
        config_source_pb2.ExtensionConfigSource(
            config_source=ADS,
            type_urls=[plain.type_url],
            default_config=plain,
            apply_default_config_without_warming=True,
        )
    )
    return made


def buckets_name(table: str) -> str:
    """Of the filter and the extension with the buckets of a gateway's table."""
    return f"{LOCAL_FILTER}|{table}"


def buckets_extension(table: str, limits: tuple[RateLimit, ...]) -> Resource:
    """The buckets of a gateway's table for its local limits."""
    config = local_configuration(limits) or local_pb2.LocalRateLimit(stat_prefix="local")
    name = buckets_name(table)
    wrapped = extension_pb2.TypedExtensionConfig(name=name, typed_config=any_of(config))
    return resource(EXTENSION, name, wrapped)


def turn_on_buckets(configuration: Proto, table: RouteTable, at_gateway: bool) -> None:
    """Make the RouteConfiguration of a table, or of a part of it, subject to its local limits."""
    buckets = local_configuration(local_limits(table))
    if buckets is None:
        return
    if at_gateway:
        on = route_pb2.FilterConfig(config=Any())
        name = buckets_name(table.name)
        configuration.typed_per_filter_config[name].CopyFrom(any_of(on))
    else:
        configuration.typed_per_filter_config[LOCAL_FILTER].CopyFrom(any_of(buckets))


def filters() -> tuple[tuple[str, Proto], ...]:
    """(name, configuration) of the HTTP filters that limited routes turn on, in order."""
    return (
        (GLOBAL_FILTER, _shared()),
        (CLOSED_FILTER, _shared(closed=True)),
    )


def _shared(closed: bool = False) -> Proto:
    """`closed`: requests are answered 503 when the service cannot say whether they may pass."""
    shared = rate_limit_pb2.RateLimit(
        domain=DOMAIN,
        timeout=duration(SERVICE_TIMEOUT),
        enable_x_ratelimit_headers=rate_limit_pb2.RateLimit.DRAFT_VERSION_03,
        disable_x_envoy_ratelimited_header=True,
        failure_mode_deny=closed,
    )
    if closed:
        shared.status_on_error.code = UNAVAILABLE_STATUS
    shared.rate_limit_service.transport_api_version = 2
    shared.rate_limit_service.grpc_service.CopyFrom(
        grpc_service_pb2.GrpcService(
            envoy_grpc=grpc_service_pb2.GrpcService.EnvoyGrpc(cluster_name=XDS_CLUSTER)
        )
    )
    return shared


def local_limits(table: RouteTable) -> tuple[RateLimit, ...]:
    """Those of the table's routes that each proxy counts by itself, each once."""
    given = [r.rate_limits for host in table.virtual_hosts for r in host.routes if r.rate_limits]
    limits = {limit.name: limit for each in given for limit in each if not limit.everywhere}
    return tuple(limits.values())


def local_configuration(limits: tuple[RateLimit, ...]) -> Proto | None:
    """The buckets of a table's local limits; None when there are none."""
    if not limits:
        return None
    enabled = base_pb2.RuntimeFractionalPercent(default_value=_ALL)
    return local_pb2.LocalRateLimit(
        stat_prefix="local",
        token_bucket=token_bucket_pb2.TokenBucket(
            max_tokens=UNLIMITED, tokens_per_fill=uint32(UNLIMITED), fill_interval=duration(1)
        ),
        filter_enabled=enabled,
        filter_enforced=enabled,
        always_consume_default_token_bucket=BoolValue(value=False),
        enable_x_ratelimit_headers=common_pb2.DRAFT_VERSION_03,
        max_dynamic_descriptors=uint32(KEYS_MAX),
        descriptors=[_bucket(limit) for limit in limits],
        rate_limits=[_counted(_named_by_route(limit), limit) for limit in limits],
    )


def limit_route(route: Proto, limits: tuple[RateLimit, ...]) -> None:
    """Make an Envoy route subject to the limits."""
    local = [limit.name for limit in limits if not limit.everywhere]
    if local:
        route.metadata.filter_metadata[METADATA].update(dict.fromkeys(local, HELD))
    for name, closed in ((GLOBAL_FILTER, False), (CLOSED_FILTER, True)):
        shared = [
            _counted(_always(limit), limit)
            for limit in limits
            if limit.everywhere and limit.fail_closed == closed
        ]
        if shared:
            per_route = rate_limit_pb2.RateLimitPerRoute(rate_limits=shared)
            route.typed_per_filter_config[name].CopyFrom(any_of(per_route))


def fixed_entries(limit: RateLimit) -> tuple[tuple[str, str], ...]:
    """The entries of a limit's descriptors that have one value, in order: a descriptor with
    another value is of a request that the limit does not count."""
    entries = []
    if _headers(limit):
        entries.append(("match", HELD))
    if limit.query:
        entries.append(("query", HELD))
    if limit.source_principal:
        entries.append(("principal", limit.source_principal))
    if limit.source_namespace:
        entries.append(("namespace", limit.source_namespace))
    if limit.client_network:
        entries.append(("masked_remote_address", limit.client_network))
    return tuple(entries)


def _bucket(limit: RateLimit) -> Proto:
    entry = common_pb2.RateLimitDescriptor.Entry
    fixed = ((_local_entry(limit), HELD), *fixed_entries(limit))
    entries = [entry(key=key, value=value) for key, value in fixed]
    entries += [entry(key=_key_entry(index, key)) for index, key in enumerate(limit.keys)]
    interval = max(limit.per, FILL_SECONDS_MIN)
    descriptor = common_pb2.LocalRateLimitDescriptor(
        entries=entries,
        token_bucket=token_bucket_pb2.TokenBucket(
            max_tokens=limit.burst,
            tokens_per_fill=uint32(limit.requests),
            fill_interval=duration(interval),
        ),
    )
    if limit.shadow:
        set_shadow_mode(descriptor)
    return descriptor


def _named_by_route(limit: RateLimit) -> Proto:
    """An entry for requests whose route names the limit; without it there is no descriptor."""
    key = metadata_pb2.MetadataKey(
        key=METADATA, path=[metadata_pb2.MetadataKey.PathSegment(key=limit.name)]
    )
    return _Action(
        metadata=_Action.MetaData(
            descriptor_key=_local_entry(limit),
            metadata_key=key,
            source=_Action.MetaData.ROUTE_ENTRY,
        )
    )


def _local_entry(limit: RateLimit) -> str:
    return f"{LIMIT_ENTRY} {limit.name}"


def _always(limit: RateLimit) -> Proto:
    value = _Action.GenericKey(descriptor_key=LIMIT_ENTRY, descriptor_value=limit.name)
    return _Action(generic_key=value)


def _counted(first: Proto, limit: RateLimit) -> Proto:
    """How a descriptor is made of a request; a request that lacks an entry has none."""
    return route_pb2.RateLimit(actions=[first, *_conditions(limit), *_keys(limit)])


def _conditions(limit: RateLimit) -> Iterable[Proto]:
    headers = _headers(limit)
    if headers:
        match = _Action.HeaderValueMatch(
            descriptor_key="match", descriptor_value=HELD, headers=headers
        )
        yield _Action(header_value_match=match)
    if limit.query:
        matchers = [query_matcher(named) for named in limit.query]
        parameters = _Action.QueryParameterValueMatch(
            descriptor_key="query", descriptor_value=HELD, query_parameters=matchers
        )
        yield _Action(query_parameter_value_match=parameters)
    if limit.source_principal:
        yield _fact("principal", PRINCIPAL_KEY)
    if limit.source_namespace:
        yield _fact("namespace", NAMESPACE_KEY)
    if limit.client_network:
        network = ipaddress.ip_network(limit.client_network)
        mask = _Action.MaskedRemoteAddress()
        length = mask.v4_prefix_mask_len if network.version == 4 else mask.v6_prefix_mask_len
        length.CopyFrom(uint32(network.prefixlen))
        yield _Action(masked_remote_address=mask)


def _keys(limit: RateLimit) -> Iterable[Proto]:
    for index, key in enumerate(limit.keys):
        entry = _key_entry(index, key)
        if key.kind == "client_address":
            yield _Action(remote_address=_Action.RemoteAddress())
        elif key.kind == "source_principal":
            yield _fact(entry, PRINCIPAL_KEY)
        elif key.kind == "source_namespace":
            yield _fact(entry, NAMESPACE_KEY)
        elif key.kind == "query":
            parameter = _Action.QueryParameters(query_parameter_name=key.name, descriptor_key=entry)
            yield _Action(query_parameters=parameter)
        elif key.kind == "path":
            yield _expression(entry, "request.url_path")
        else:
            header = _Action.RequestHeaders(header_name=key.name, descriptor_key=entry)
            yield _Action(request_headers=header)


def _key_entry(index: int, key: RateLimitKey) -> str:
    """The name of a key's entry; Envoy itself names that of addresses."""
    return "remote_address" if key.kind == "client_address" else f"key{index}"


def _fact(entry: str, name: str) -> Proto:
    """What the connection knows about its caller; one word for callers it knows nothing of."""
    return _expression(entry, f"'{name}' in filter_state ? filter_state['{name}'] : 'unknown'")


def _expression(entry: str, text: str) -> Proto:
    expression = expr_pb2.Descriptor(descriptor_key=entry, text=text)
    return _Action(extension=extension("envoy.rate_limit_descriptors.expr", expression))


def _headers(limit: RateLimit) -> list[Proto]:
    headers = []
    if limit.path is not None:
        headers.append(header_matcher(":path", _with_query(limit.path)))
    if limit.methods:
        either = "|".join(re.escape(method) for method in limit.methods)
        headers.append(header_matcher(":method", StringMatch("regex", either)))
    headers.extend(named_header_matcher(header) for header in limit.headers)
    return headers


def _with_query(path: StringMatch) -> StringMatch:
    """A match of the path alone as one of Envoy's `:path`, which has the query in it."""
    if path.kind == "exact":
        return StringMatch("regex", rf"{re.escape(path.value)}(?:\?.*)?")
    if path.kind == "regex":
        return StringMatch("regex", rf"(?:{path.value})(?:\?.*)?")
    return path


def response_headers(table: RouteTable) -> Proto | None:
    """What answers say about limits; None when no route of the table has one. Envoy's own headers
    are there for requests that no limit counted, too, with the number of the bucket for those:
    they are replaced by the standard's, for requests that were counted."""
    limited = (r.rate_limits for host in table.virtual_hosts for r in host.routes)
    if not any(limited):
        return None
    result = header_mutation_pb2.HeaderMutationPerRoute()
    counted = "'x-ratelimit-limit' in response.headers"
    counted += f" && response.headers['x-ratelimit-limit'] != '{UNLIMITED}'"
    refused = f"response.headers[':status'] == '429' && {counted}"
    for name, origin, holds in (
        ("ratelimit-limit", "x-ratelimit-limit", counted),
        ("ratelimit-remaining", "x-ratelimit-remaining", counted),
        ("ratelimit-reset", "x-ratelimit-reset", counted),
        ("retry-after", "x-ratelimit-reset", refused),
    ):
        mutation = result.mutations.response_mutations.add()
        mutation.append.header.key = name
        mutation.append.header.value = f"%CEL({holds} ? response.headers['{origin}'] : '')%"
        mutation.append.append_action = base_pb2.HeaderValueOption.ADD_IF_ABSENT
    for part in ("limit", "remaining", "reset"):
        result.mutations.response_mutations.add(remove=f"x-ratelimit-{part}")
    return result

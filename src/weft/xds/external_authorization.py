"""External authorization: Envoy's ext_authz filter, one for each service that may be asked.

Two filters for each: the first (RBAC, rules that refuse nothing) says whether a request is one to
ask about, the second asks. Both are off but on routes that turn them on. What is asked, and how, is
a resource of its own (ECDS), so that only a new service changes listeners.
"""

from collections.abc import Iterable, Mapping, Sequence

from envoy.config.core.v3 import (
    base_pb2,
    config_source_pb2,
    extension_pb2,
    grpc_service_pb2,
    http_uri_pb2,
)
from envoy.config.rbac.v3 import rbac_pb2 as rules_pb2
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from envoy.type.matcher.v3 import metadata_pb2, string_pb2, value_pb2
from msgspec.structs import replace

from weft.mesh.model import Access, AccessPolicy, Authorizer, StringMatch
from weft.xds.access import JWT_PAYLOAD, LISTENER, policies_of
from weft.xds.clusters import BLACKHOLE
from weft.xds.matches import string_matcher
from weft.xds.proto import ADS, Proto, any_of, duration, resource
from weft.xds.resource import EXTENSION, Resource

AUDIT_FILTER = "weft.access.audit"
TRIAL_FILTER = "weft.access.trial"
_MARKS = {AUDIT_FILTER: "audit_", TRIAL_FILTER: "trial_"}
"""The access log shows under these prefixes which rule matched (telemetry.py)."""
RBAC_METADATA = "envoy.filters.http.rbac"
ASKED = replace(LISTENER, refuses=True)
"""On doubt about a path somebody is asked."""
DESTINATION_ASKED = replace(ASKED, payload=JWT_PAYLOAD, clients=False)
"""A destination's rules, in front of the routes: tokens are those that it believes."""
_TYPE = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"

Asking = Mapping[str, tuple[AccessPolicy, ...]]
"""Destination -> the CUSTOM policies for requests to it."""
RouteConfigs = dict[str, Proto]
"""Filter -> its configuration on a route."""


def match_filter(name: str) -> str:
    return f"weft.custom.match|{name}"


def ask_filter(name: str) -> str:
    return f"weft.custom.ask|{name}"


def authorizer_filters(names: Iterable[str]) -> list[Proto]:
    """The HTTP filters, all of them off."""
    found = [
        hcm_pb2.HttpFilter(name=name, typed_config=any_of(rbac_pb2.RBAC()), disabled=True)
        for name in (AUDIT_FILTER, TRIAL_FILTER)
    ]
    for name in names:
        found.append(
            hcm_pb2.HttpFilter(
                name=match_filter(name), typed_config=any_of(rbac_pb2.RBAC()), disabled=True
            )
        )
        found.append(
            hcm_pb2.HttpFilter(
                name=ask_filter(name),
                disabled=True,
                config_discovery=config_source_pb2.ExtensionConfigSource(
                    config_source=ADS, type_urls=[_TYPE]
                ),
            )
        )
    return found


def authorizer_configuration(authorizer: Authorizer) -> Resource:
    """How a service is asked."""
    config = ext_authz_pb2.ExtAuthz(
        transport_api_version=config_source_pb2.V3,
        failure_mode_allow=authorizer.fail_open,
    )
    if not authorizer.by_routes:
        config.filter_enabled_metadata.CopyFrom(_matched(authorizer.name))
    config.status_on_error.code = authorizer.status_on_error
    if authorizer.body is not None:
        config.with_request_body.max_request_bytes = authorizer.body.bytes_max
        config.with_request_body.allow_partial_message = authorizer.body.partial
        config.with_request_body.pack_as_bytes = authorizer.body.as_bytes
    cluster = authorizer.destination or BLACKHOLE
    if authorizer.grpc:
        config.grpc_service.CopyFrom(
            grpc_service_pb2.GrpcService(
                envoy_grpc=grpc_service_pb2.GrpcService.EnvoyGrpc(
                    cluster_name=cluster, authority=authorizer.host
                ),
                timeout=duration(authorizer.timeout),
            )
        )
    else:
        config.http_service.CopyFrom(_http_service(authorizer, cluster))
    _names(config.allowed_headers, authorizer.request_headers)
    name = ask_filter(authorizer.name)
    wrapped = extension_pb2.TypedExtensionConfig(name=name, typed_config=any_of(config))
    return resource(EXTENSION, name, wrapped)


def _http_service(authorizer: Authorizer, cluster: str) -> Proto:
    service = ext_authz_pb2.HttpService(
        server_uri=http_uri_pb2.HttpUri(
            uri=f"http://{authorizer.host}:{authorizer.port}",
            cluster=cluster,
            timeout=duration(authorizer.timeout),
        ),
        path_prefix=authorizer.path_prefix,
    )
    service.authorization_request.headers_to_add.extend(
        base_pb2.HeaderValue(key=name, value=value) for name, value in authorizer.added_headers
    )
    answer = service.authorization_response
    _names(answer.allowed_upstream_headers, authorizer.upstream_headers)
    _names(answer.allowed_client_headers, authorizer.denied_headers)
    _names(answer.allowed_client_headers_on_success, authorizer.allowed_headers)
    return service


def _names(target: Proto, names: Sequence[StringMatch]) -> None:
    for name in names:
        matcher = string_matcher(name)
        if name.kind != "regex":  # Envoy refuses both together
            matcher.ignore_case = True
        target.patterns.append(matcher)


def _prefix(name: str) -> str:
    return f"weft_custom_{name}_"


def _matched(name: str) -> Proto:
    """Some rule of the filter before held."""
    key = f"{_prefix(name)}shadow_effective_policy_id"
    return metadata_pb2.MetadataMatcher(
        filter=RBAC_METADATA,
        path=[metadata_pb2.MetadataMatcher.PathSegment(key=key)],
        value=value_pb2.ValueMatcher(string_match=string_pb2.StringMatcher(contains="/")),
    )


def asking_configs(
    at_gateway: tuple[AccessPolicy, ...], at_destination: tuple[AccessPolicy, ...] = ()
) -> RouteConfigs:
    """What turns the filters on for policies of a gateway (or of a pod's own address) and of a
    destination: CUSTOM, and those that leave marks only (AUDIT, denials on trial)."""
    marks: dict[str, dict[str, Proto]] = {}
    rules: dict[str, dict[str, Proto]] = {}
    for policies, place in ((at_gateway, ASKED), (at_destination, DESTINATION_ASKED)):
        for policy in policies:
            made = policies_of((Access((policy,)),), place, lambda _: True)
            if policy.action == "custom" and not policy.dry_run:
                rules.setdefault(policy.provider, {}).update(made)
            elif policy.action == "audit" or (policy.dry_run and policy.action != "allow"):
                name = AUDIT_FILTER if policy.action == "audit" else TRIAL_FILTER
                marks.setdefault(name, {}).update(made)
    configs: RouteConfigs = {}
    for name, found in sorted(marks.items()):
        configs[name] = rbac_pb2.RBACPerRoute(rbac=_shadow(_MARKS[name], found))
    for provider, found in sorted(rules.items()):
        config = _shadow(_prefix(provider), found)
        configs[match_filter(provider)] = rbac_pb2.RBACPerRoute(rbac=config)
        check = ext_authz_pb2.CheckSettings()
        check.context_extensions["policies"] = ",".join(sorted(found))
        configs[ask_filter(provider)] = ext_authz_pb2.ExtAuthzPerRoute(check_settings=check)
    return configs


def _shadow(prefix: str, rules: Mapping[str, Proto]) -> Proto:
    """A filter that says which rule holds, and refuses nothing."""
    config = rbac_pb2.RBAC(shadow_rules_stat_prefix=prefix)
    config.shadow_rules.action = rules_pb2.RBAC.DENY
    for name, rule in rules.items():
        config.shadow_rules.policies[name].CopyFrom(rule)
    return config


def ask_always(route: Proto, authorizers: Iterable[Authorizer]) -> None:
    """Make an Envoy route ask about every request."""
    for each in authorizers:
        on = ext_authz_pb2.ExtAuthzPerRoute(check_settings=ext_authz_pb2.CheckSettings())
        route.typed_per_filter_config[ask_filter(each.name)].CopyFrom(any_of(on))


def ask_on_route(route: Proto, asking: Asking, at_gateway: tuple[AccessPolicy, ...]) -> None:
    """Make an Envoy route ask about requests to the destinations it leads to."""
    if not asking or not route.HasField("route"):
        return
    shares = route.route.weighted_clusters.clusters
    for part, name in [(s, s.name) for s in shares] or [(route, route.route.cluster)]:
        for filter_name, config in asking_configs(at_gateway, asking.get(name, ())).items():
            if name in asking:
                part.typed_per_filter_config[filter_name].CopyFrom(any_of(config))

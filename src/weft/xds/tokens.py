"""Tokens (JWT) that requests may carry: Envoy's jwt_authn filter.

One configuration holds the issuers of all workloads; it is a resource of its own (ECDS), so a
change of issuers replaces no listener. Routes name the requirement of the workloads they lead to.
"""

from collections.abc import Iterable, Mapping

from envoy.config.core.v3 import base_pb2, config_source_pb2, extension_pb2
from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2 as jwt_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from google.protobuf.empty_pb2 import Empty

from weft.mesh.model import Authentication, TokenIssuer
from weft.xds.access import JWT_PAYLOAD
from weft.xds.clusters import BLACKHOLE
from weft.xds.proto import ADS, Proto, any_of, duration, resource
from weft.xds.resource import EXTENSION, Resource

TOKENS_FILTER = "weft.tokens"
NO_KEYS_URL = "http://no-keys.invalid/"
KEYS_KEPT_SECONDS = 1200.0
"""How long fetched keys are used; Istio's refresh interval."""
KEYS_RETRY_SECONDS = 1.0
"""After a failed fetch."""
LISTS = ("scope", "permission")
"""Claims that hold several values with spaces between (RFC 8693 section 4.2)."""
_TYPE = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"


def tokens_filter() -> Proto:
    """The HTTP filter; routes that ask for tokens turn it on. Until the proxy has heard of the
    issuers it knows none, and a route that asks for one is then answered 403."""
    return hcm_pb2.HttpFilter(
        name=TOKENS_FILTER,
        disabled=True,
        config_discovery=config_source_pb2.ExtensionConfigSource(
            config_source=ADS,
            type_urls=[_TYPE],
            default_config=any_of(jwt_pb2.JwtAuthentication()),
            apply_default_config_without_warming=True,
        ),
    )


def tokens_configuration(found: Iterable[Authentication]) -> Resource:
    """All issuers that workloads and gateways of the node believe."""
    config = jwt_pb2.JwtAuthentication()
    for authentication in sorted(found, key=lambda a: a.name):
        names = []
        for index, issuer in enumerate(authentication.issuers):
            name = f"{authentication.name}/{index}"
            config.providers[name].CopyFrom(_provider(issuer))
            names.append(name)
        any_of_them = [jwt_pb2.JwtRequirement(provider_name=name) for name in names]
        any_of_them.append(jwt_pb2.JwtRequirement(allow_missing=Empty()))
        config.requirement_map[authentication.name].requires_any.requirements.extend(any_of_them)
    wrapped = extension_pb2.TypedExtensionConfig(name=TOKENS_FILTER, typed_config=any_of(config))
    return resource(EXTENSION, TOKENS_FILTER, wrapped)


def requirement(name: str) -> Proto:
    """What a route asks for."""
    return any_of(jwt_pb2.PerRouteConfig(requirement_name=name))


def ask_for_tokens(route: Proto, names: Mapping[str, str]) -> None:
    """Make an Envoy route ask for the tokens of the destinations it leads to.

    `names`: destination -> requirement.
    """
    if not names or not route.HasField("route"):
        return
    shares = route.route.weighted_clusters.clusters
    if not shares:
        name = names.get(route.route.cluster)
        if name:
            route.typed_per_filter_config[TOKENS_FILTER].CopyFrom(requirement(name))
        return
    for share in shares:
        if share.name in names:
            share.typed_per_filter_config[TOKENS_FILTER].CopyFrom(requirement(names[share.name]))


def _provider(issuer: TokenIssuer) -> Proto:
    provider = jwt_pb2.JwtProvider(
        issuer=issuer.issuer,
        audiences=issuer.audiences,
        forward=issuer.keep,
        forward_payload_header=issuer.payload_header,
        payload_in_metadata=JWT_PAYLOAD,
    )
    provider.normalize_payload_in_metadata.space_delimited_claims.extend(LISTS)
    for source in issuer.sources:
        if source.kind == "header":
            provider.from_headers.add(name=source.name, value_prefix=source.prefix)
        elif source.kind == "query":
            provider.from_params.append(source.name)
        else:
            provider.from_cookies.append(source.name)
    for header, claim in issuer.claim_headers:
        provider.claim_to_headers.add(header_name=header, claim_name=claim)
    if issuer.key_set:
        provider.local_jwks.CopyFrom(base_pb2.DataSource(inline_string=issuer.key_set))
    elif not issuer.key_set_destination:
        # No keys are to be had: asking for them fails at once, and with it every token.
        provider.remote_jwks.http_uri.uri = NO_KEYS_URL
        provider.remote_jwks.http_uri.cluster = BLACKHOLE
        provider.remote_jwks.http_uri.timeout.CopyFrom(duration(issuer.timeout))
    else:
        remote = provider.remote_jwks
        remote.http_uri.uri = issuer.key_set_url
        remote.http_uri.cluster = issuer.key_set_destination
        remote.http_uri.timeout.CopyFrom(duration(issuer.timeout))
        remote.cache_duration.CopyFrom(duration(KEYS_KEPT_SECONDS))
        remote.async_fetch.fast_listener = True
        remote.async_fetch.failed_refetch_duration.CopyFrom(duration(KEYS_RETRY_SECONDS))
    return provider

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
from msgspec import Struct

from weft.mesh.model import Authentication, TokenIssuer
from weft.xds.access import EDGE_PAYLOAD, JWT_PAYLOAD
from weft.xds.clusters import BLACKHOLE
from weft.xds.proto import ADS, Proto, any_of, duration, resource
from weft.xds.resource import EXTENSION, Resource

TOKENS_FILTER = "weft.tokens"
NO_KEYS_URL = "http://no-keys.invalid/"
KEYS_RETRY_SECONDS = 1.0
"""After a failed fetch."""
ASKED_KEPT_MAX = 4
"""So many versions of what routes ask of tokens the proxy has: routes come after the newest."""
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


class Asked(Struct, frozen=True):
    """What is asked of tokens on the routes of a node."""

    destinations: tuple[Authentication, ...] = ()
    gateways: tuple[Authentication, ...] = ()
    joined: tuple[tuple[str, str], ...] = ()
    """(name of a gateway's, name of a destination's) that hold on one route."""


def with_earlier(asked: Asked, earlier: Iterable[Asked]) -> Asked:
    """Together with what was asked before: until the proxy has the new routes, the present ones
    name that, and Envoy answers 403 where a route names a requirement that it does not have."""
    all_of_it = (asked, *earlier)
    return Asked(
        _by_name(each for one in all_of_it for each in one.destinations),
        _by_name(each for one in all_of_it for each in one.gateways),
        tuple(sorted({pair for one in all_of_it for pair in one.joined})),
    )


def remembered(earlier: tuple[Asked, ...], asked: Asked) -> tuple[Asked, ...]:
    """The last few that differ, the newest first."""
    return (asked, *(each for each in earlier if each != asked))[:ASKED_KEPT_MAX]


def _by_name(found: Iterable[Authentication]) -> tuple[Authentication, ...]:
    made: dict[str, Authentication] = {}
    for each in found:
        made.setdefault(each.name, each)
    return tuple(made[name] for name in sorted(made))


def tokens_configuration(asked: Asked) -> Resource:
    """All issuers that workloads and gateways of the node believe."""
    config = jwt_pb2.JwtAuthentication()
    for authentication in asked.destinations:
        _require(config, authentication.name, authentication, JWT_PAYLOAD)
    for authentication in asked.gateways:
        _require(config, at_gateway(authentication.name), authentication, EDGE_PAYLOAD)
    for gateway, destination in asked.joined:
        # The gateway's first: what it takes out of the request, the destination does not get.
        both = [at_gateway(gateway), destination]
        config.requirement_map[at_both(gateway, destination)].requires_all.requirements.extend(
            config.requirement_map[name] for name in both
        )
    wrapped = extension_pb2.TypedExtensionConfig(name=TOKENS_FILTER, typed_config=any_of(config))
    return resource(EXTENSION, TOKENS_FILTER, wrapped)


def _require(config: Proto, name: str, authentication: Authentication, payload: str) -> None:
    """A token of one of the issuers, or none."""
    any_of_them = []
    for index, issuer in enumerate(authentication.issuers):
        provider = f"{name}/{index}"
        config.providers[provider].CopyFrom(_provider(issuer, payload))
        any_of_them.append(jwt_pb2.JwtRequirement(provider_name=provider))
    any_of_them.append(jwt_pb2.JwtRequirement(allow_missing=Empty()))
    config.requirement_map[name].requires_any.requirements.extend(any_of_them)


def at_gateway(name: str) -> str:
    """The requirement of a gateway."""
    return f"gateway|{name}"


def at_both(gateway: str, destination: str) -> str:
    """The requirement of a gateway and of a destination together."""
    return f"gateway|{gateway}|{destination}"


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


def _provider(issuer: TokenIssuer, payload: str) -> Proto:
    provider = jwt_pb2.JwtProvider(
        issuer=issuer.issuer,
        audiences=issuer.audiences,
        forward=issuer.keep,
        forward_payload_header=issuer.payload_header,
        payload_in_metadata=payload,
    )
    provider.normalize_payload_in_metadata.space_delimited_claims.extend(
        dict.fromkeys((*LISTS, *issuer.list_claims))
    )
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
        remote.cache_duration.CopyFrom(duration(issuer.key_set_seconds))
        remote.async_fetch.fast_listener = True
        remote.async_fetch.failed_refetch_duration.CopyFrom(duration(KEYS_RETRY_SECONDS))
    return provider

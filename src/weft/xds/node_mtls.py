"""Calls to other nodes: mutual TLS from proxy to proxy, in the name of the workload that calls.

A cluster reaches pods of other nodes through a TLS socket that shows the certificate of the
calling workload. Which one that is stands in the caller's filter state, an object that hashes, so
no two identities ever share a connection. The server name says which pod is meant; the server must
prove the identity that the pod shall have.
"""

from collections.abc import Iterable

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from envoy.type.matcher.v3 import string_pb2
from google.protobuf.struct_pb2 import Struct as StructMessage
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from weft.mesh.model import (
    GATEWAY_ACCOUNT,
    Destination,
    Entrance,
    GatewayTls,
    Peers,
    UpstreamTls,
)
from weft.xds.descriptors import FilterStateMapper, OnDemandSecret
from weft.xds.proto import ADS, Proto, any_of, extension, resource
from weft.xds.resource import SECRET, Resource
from weft.xds.svids import TRUST_BUNDLE, callers_secret, server_secret
from weft.xds.tls import GATEWAY_ALPN

TLS = "envoy.transport_sockets.tls"
SOCKET_MATCH = "envoy.transport_socket_match"
GATED = "gate"
"""Key in the metadata of endpoints that are reached through their node's proxy."""
CURVES = ("X25519MLKEM768", "X25519", "P-256")
NOBODY = "nobody"
SPIFFE = "spiffe://"


def socket_matches(destination: Destination, peers: Peers) -> list[Proto]:
    """How the endpoints of a destination are connected to, the first match counts; none when all
    are reached in one way."""
    if not peers.nodes or destination.tls is not None:
        return []
    gated = StructMessage()
    gated.update({GATED: True})
    plain = base_pb2.TransportSocket(
        name="envoy.transport_sockets.raw_buffer", typed_config=any_of(raw_buffer_pb2.RawBuffer())
    )
    match = cluster_pb2.Cluster.TransportSocketMatch
    return [
        match(name="nodes", match=gated, transport_socket=_client(destination, peers)),
        match(name="plain", match=StructMessage(), transport_socket=plain),
    ]


def _client(destination: Destination, peers: Peers) -> Proto:
    principals = {e.principal for e in destination.endpoints if e.pod_uid and e.principal}
    names = [name for p in sorted(principals) for name in in_every_domain(p, peers)]
    # Without names any certificate of the mesh would do.
    names = names or [f"{SPIFFE}{peers.trust_domains[0]}/{NOBODY}"]
    context = _as_caller([uri_name(exact=name) for name in names], peers)
    context.auto_host_sni = True
    return base_pb2.TransportSocket(name=TLS, typed_config=any_of(context))


def out_of_the_mesh(tls: UpstreamTls, alpn: tuple[str, ...], peers: Peers) -> Proto:
    """Mutual TLS with what is not reached through a node's proxy, and has a certificate of the
    mesh all the same, such as another mesh's gateway."""
    names = [uri_name(exact=name) for name in tls.subject_alt_names] or [
        uri_name(prefix=f"{SPIFFE}{domain}/") for domain in peers.trust_domains
    ]
    context = _as_caller(names, peers)
    context.sni = tls.sni
    context.common_tls_context.alpn_protocols.extend(alpn)
    return base_pb2.TransportSocket(name=TLS, typed_config=any_of(context))


def _as_caller(names: list[Proto], peers: Peers) -> Proto:
    """TLS with the calling workload's certificate, towards whom has one of these names."""
    mapper = FilterStateMapper(default_value=peers.identity)
    selector = OnDemandSecret(
        config_source=ADS,
        certificate_mapper=extension(
            "envoy.tls.upstream_certificate_mappers.filter_state_override", mapper
        ),
    )
    common = mutual_tls(names)
    common.custom_tls_certificate_selector.CopyFrom(
        extension("envoy.tls.certificate_selectors.on_demand_secret", selector)
    )
    return tls_pb2.UpstreamTlsContext(
        common_tls_context=common, max_session_keys=UInt32Value(value=0)
    )


def mesh_server(tls: GatewayTls, http: bool, trust_domains: tuple[str, ...]) -> Proto:
    """A gateway's own certificate, for clients that show one of the mesh."""
    wanted = tls.clients.subject_alt_names if tls.clients else ()
    names = [uri_name(exact=name) for name in wanted] or [
        uri_name(prefix=f"{SPIFFE}{domain}/") for domain in trust_domains
    ]
    common = mutual_tls(names)
    common.alpn_protocols.extend(GATEWAY_ALPN if http else ())
    own = server_secret(f"{SPIFFE}{trust_domains[0]}/{GATEWAY_ACCOUNT}")
    common.tls_certificate_sds_secret_configs.add(name=own, sds_config=ADS)
    context = tls_pb2.DownstreamTlsContext(
        common_tls_context=common,
        require_client_certificate=BoolValue(value=True),
        # A resumed session would keep a certificate in use that has ended.
        disable_stateless_session_resumption=True,
        disable_stateful_session_resumption=True,
    )
    return base_pb2.TransportSocket(name=TLS, typed_config=any_of(context))


def in_every_domain(principal: str, peers: Peers) -> Iterable[str]:
    """An identity as it is called in the mesh's trust domain and in those that count as it."""
    domain, slash, path = principal.removeprefix(SPIFFE).partition("/")
    domains = peers.trust_domains if domain in peers.trust_domains else (domain,)
    return (f"{SPIFFE}{each}{slash}{path}" for each in domains)


def mutual_tls(names: list[Proto], trust: str = TRUST_BUNDLE) -> Proto:
    """TLS 1.3, and a certificate with one of these names, or of those that secret `trust` has."""
    common = tls_pb2.CommonTlsContext(
        tls_params=common_pb2.TlsParameters(
            tls_minimum_protocol_version=common_pb2.TlsParameters.TLSv1_3,
            tls_maximum_protocol_version=common_pb2.TlsParameters.TLSv1_3,
            ecdh_curves=CURVES,
        )
    )
    combined = common.combined_validation_context
    combined.default_validation_context.match_typed_subject_alt_names.extend(names)
    combined.validation_context_sds_secret_config.name = trust
    combined.validation_context_sds_secret_config.sds_config.CopyFrom(ADS)
    return common


def in_domains(peers: Peers, path: str) -> list[Proto]:
    """Names that begin with this path in the mesh's trust domain or one that counts as it."""
    return [uri_name(prefix=f"{SPIFFE}{each}{path}") for each in peers.trust_domains]


def caller_secrets(entrances: Iterable[Entrance], peers: Peers, bundle: str) -> list[Resource]:
    """Who may open connections of bytes, for each port where that is not everybody."""
    made = []
    for entrance in entrances:
        if not entrance.callers:
            continue
        every = (n for c in entrance.callers if c for n in in_every_domain(c, peers))
        names = [uri_name(exact=name) for name in every]
        names += in_domains(peers, "/node/") if "" in entrance.callers else []
        name = callers_secret(entrance.name)
        message = secret_pb2.Secret(name=name)
        message.validation_context.trusted_ca.inline_string = bundle
        message.validation_context.match_typed_subject_alt_names.extend(names)
        made.append(resource(SECRET, name, message))
    return made


def uri_name(exact: str = "", prefix: str = "") -> Proto:
    matcher = string_pb2.StringMatcher(prefix=prefix) if prefix else (
        string_pb2.StringMatcher(exact=exact)
    )  # fmt: skip
    return common_pb2.SubjectAltNameMatcher(
        san_type=common_pb2.SubjectAltNameMatcher.URI, matcher=matcher
    )

"""TLS: what gateways present, what the proxy checks when it originates TLS, and SDS secrets."""

from collections.abc import Iterable

from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from envoy.type.matcher.v3 import string_pb2

from weft.mesh.model import GatewayTls, UpstreamTls
from weft.xds.proto import ADS, Proto, any_of, resource
from weft.xds.resource import SECRET, Resource

TRANSPORT_SOCKET = "envoy.transport_sockets.tls"
SYSTEM_CA_FILE = "/etc/ssl/certs/ca-certificates.crt"
"""The certificate authorities of the machine, where Debian, Ubuntu, Alpine and Arch keep them."""
GATEWAY_ALPN = ("h2", "http/1.1")


def downstream_tls(tls: GatewayTls, http: bool) -> Proto:
    """What a gateway presents; the certificate comes by SDS when it is a Secret's."""
    common = tls_pb2.CommonTlsContext(alpn_protocols=GATEWAY_ALPN if http else ())
    if tls.certificate_pem:
        common.tls_certificate_sds_secret_configs.add(name=tls.secret, sds_config=ADS)
    else:
        common.tls_certificates.append(_files(tls.certificate_file, tls.key_file))
    context = tls_pb2.DownstreamTlsContext(common_tls_context=common)
    return base_pb2.TransportSocket(name=TRANSPORT_SOCKET, typed_config=any_of(context))


def usable(tls: GatewayTls) -> bool:
    """Whether there is a certificate at all; without, the server's port stays closed to it."""
    return bool((tls.certificate_pem and tls.secret) or tls.certificate_file)


def secrets(servers_tls: Iterable[GatewayTls]) -> list[Resource]:
    """The SDS secrets of gateways, one per name."""
    found = {tls.secret: tls for tls in servers_tls if tls.certificate_pem and tls.secret}
    return [_secret(tls) for tls in found.values()]


def upstream_tls(tls: UpstreamTls, alpn: tuple[str, ...]) -> Proto:
    """TLS towards the endpoints, verified unless the configuration says not to."""
    common = tls_pb2.CommonTlsContext(alpn_protocols=alpn)
    if tls.mode == "mutual" and tls.certificate_file:
        common.tls_certificates.append(_files(tls.certificate_file, tls.key_file))
    if not tls.insecure_skip_verify:
        names = tls.subject_alt_names or ((tls.sni,) if tls.sni else ())
        common.validation_context.trusted_ca.filename = tls.ca_file or SYSTEM_CA_FILE
        common.validation_context.match_typed_subject_alt_names.extend(
            _subject_alt_name(name) for name in names
        )
    context = tls_pb2.UpstreamTlsContext(common_tls_context=common, sni=tls.sni)
    return base_pb2.TransportSocket(name=TRANSPORT_SOCKET, typed_config=any_of(context))


def _secret(tls: GatewayTls) -> Resource:
    certificate = common_pb2.TlsCertificate(
        certificate_chain=base_pb2.DataSource(inline_string=tls.certificate_pem),
        private_key=base_pb2.DataSource(inline_string=tls.key_pem),
    )
    message = secret_pb2.Secret(name=tls.secret, tls_certificate=certificate)
    return resource(SECRET, tls.secret, message)


def _files(certificate: str, key: str) -> Proto:
    return common_pb2.TlsCertificate(
        certificate_chain=base_pb2.DataSource(filename=certificate),
        private_key=base_pb2.DataSource(filename=key),
    )


def _subject_alt_name(name: str) -> Proto:
    kind = (
        common_pb2.SubjectAltNameMatcher.URI
        if "://" in name
        else (common_pb2.SubjectAltNameMatcher.DNS)
    )
    return common_pb2.SubjectAltNameMatcher(
        san_type=kind, matcher=string_pb2.StringMatcher(exact=name)
    )

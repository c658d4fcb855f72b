"""TLS: what gateways present, what the proxy checks when it originates TLS, and SDS secrets."""

from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.quic.v3 import quic_transport_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from envoy.type.matcher.v3 import string_pb2
from google.protobuf.wrappers_pb2 import BoolValue

from weft.mesh.model import NodeModel
from weft.mesh.model.tls import ClientCertificates, GatewayTls, UpstreamTls
from weft.xds.proto import ADS, Proto, any_of, resource
from weft.xds.resource import SECRET, Resource

TRANSPORT_SOCKET = "envoy.transport_sockets.tls"
QUIC_TRANSPORT_SOCKET = "envoy.transport_sockets.quic"
SYSTEM_CA_FILE = "/etc/ssl/certs/ca-certificates.crt"
"""The certificate authorities of the machine, where Debian, Ubuntu, Alpine and Arch keep them."""
GATEWAY_ALPN = ("h2", "http/1.1")
Secrets = dict[str, tuple[str, str]]
"""Name in SDS -> (PEM, key); no key with authorities."""
_VERSIONS = {
    "1.0": common_pb2.TlsParameters.TLSv1_0,
    "1.1": common_pb2.TlsParameters.TLSv1_1,
    "1.2": common_pb2.TlsParameters.TLSv1_2,
    "1.3": common_pb2.TlsParameters.TLSv1_3,
}


def downstream_tls(tls: GatewayTls, http: bool) -> Proto:
    """What a gateway presents; the certificate comes by SDS when it is a Secret's."""
    common = tls_pb2.CommonTlsContext(alpn_protocols=GATEWAY_ALPN if http else ())
    if tls.certificate_pem:
        for name in (tls.secret, *(pair.secret for pair in tls.more)):
            common.tls_certificate_sds_secret_configs.add(name=name, sds_config=ADS)
    else:
        for pair in ((tls.certificate_file, tls.key_file), *tls.more_files):
            common.tls_certificates.append(_files(*pair))
    context = tls_pb2.DownstreamTlsContext()
    parameters = common.tls_params
    if tls.version_min:
        parameters.tls_minimum_protocol_version = _VERSIONS[tls.version_min]
    if tls.version_max:
        parameters.tls_maximum_protocol_version = _VERSIONS[tls.version_max]
    parameters.cipher_suites.extend(tls.ciphers)
    if tls.clients is not None:
        _ask_clients(common, tls.clients)
        context.require_client_certificate.CopyFrom(BoolValue(value=tls.clients.required))
    context.common_tls_context.CopyFrom(common)
    return base_pb2.TransportSocket(name=TRANSPORT_SOCKET, typed_config=any_of(context))


def quic_tls(tls: GatewayTls) -> Proto:
    """The same over QUIC, whose TLS is 1.3."""
    common = tls_pb2.CommonTlsContext(alpn_protocols=("h3",))
    if tls.certificate_pem:
        common.tls_certificate_sds_secret_configs.add(name=tls.secret, sds_config=ADS)
    else:
        common.tls_certificates.append(_files(tls.certificate_file, tls.key_file))
    quic = quic_transport_pb2.QuicDownstreamTransport(
        downstream_tls_context=tls_pb2.DownstreamTlsContext(common_tls_context=common)
    )
    return base_pb2.TransportSocket(name=QUIC_TRANSPORT_SOCKET, typed_config=any_of(quic))


def _ask_clients(common: Proto, clients: ClientCertificates) -> None:
    """Certificates must come from the authorities, and have one of the names or hashes if any."""
    rules = common_pb2.CertificateValidationContext(
        match_typed_subject_alt_names=[_subject_alt_name(n) for n in clients.subject_alt_names],
        verify_certificate_spki=clients.spki_hashes,
        verify_certificate_hash=clients.certificate_hashes,
    )
    if clients.untrusted:
        rules.trust_chain_verification = common_pb2.CertificateValidationContext.ACCEPT_UNTRUSTED
    if clients.crl_file:
        rules.crl.filename = clients.crl_file
    if clients.ca_pem:
        combined = common.combined_validation_context
        combined.default_validation_context.CopyFrom(rules)
        combined.validation_context_sds_secret_config.name = clients.ca_secret
        combined.validation_context_sds_secret_config.sds_config.CopyFrom(ADS)
    else:
        rules.trusted_ca.filename = clients.ca_file
        common.validation_context.CopyFrom(rules)


def usable(tls: GatewayTls) -> bool:
    """Whether there is a certificate at all; without, the server's port stays closed to it."""
    return bool((tls.certificate_pem and tls.secret) or tls.certificate_file or tls.mesh)


def secrets(model: NodeModel) -> Secrets:
    """What is served by SDS: the certificates of gateways and of calls that originate TLS."""
    found: Secrets = {}
    servers = [s.tls for gateway in model.gateways for s in gateway.servers]
    servers += [each.tls for workload in model.workloads for each in workload.ingress]
    for tls in (each for each in servers if each is not None):
        if tls.certificate_pem and tls.secret:
            found[tls.secret] = (tls.certificate_pem, tls.key_pem)
            found |= {p.secret: (p.certificate_pem, p.key_pem) for p in tls.more}
        if tls.clients is not None and tls.clients.ca_pem:
            found[tls.clients.ca_secret] = (tls.clients.ca_pem, "")
    for out in (d.tls for d in model.destinations if d.tls is not None):
        if out.certificate_pem and out.secret:
            found[out.secret] = (out.certificate_pem, out.key_pem)
        if out.ca_pem:
            found[out.ca_secret] = (out.ca_pem, "")
    return found


def secret_resource(name: str, content: str, key: str) -> Resource:
    """The SDS secret of a certificate, or of authorities when there is no key."""
    message = secret_pb2.Secret(name=name)
    if key:
        message.tls_certificate.certificate_chain.inline_string = content
        message.tls_certificate.private_key.inline_string = key
    else:
        message.validation_context.trusted_ca.inline_string = content
    return resource(SECRET, name, message)


def upstream_tls(tls: UpstreamTls, alpn: tuple[str, ...]) -> Proto:
    """TLS towards the endpoints, verified unless the configuration says not to."""
    common = tls_pb2.CommonTlsContext(alpn_protocols=alpn)
    if tls.mode == "mutual" and tls.certificate_pem:
        common.tls_certificate_sds_secret_configs.add(name=tls.secret, sds_config=ADS)
    elif tls.mode == "mutual" and tls.certificate_file:
        common.tls_certificates.append(_files(tls.certificate_file, tls.key_file))
    if not tls.insecure_skip_verify:
        names = tls.subject_alt_names or ((tls.sni,) if tls.sni else ())
        rules = common_pb2.CertificateValidationContext(
            match_typed_subject_alt_names=[_subject_alt_name(name) for name in names]
        )
        if tls.crl_file:
            rules.crl.filename = tls.crl_file
        if tls.ca_pem:
            combined = common.combined_validation_context
            combined.default_validation_context.CopyFrom(rules)
            combined.validation_context_sds_secret_config.name = tls.ca_secret
            combined.validation_context_sds_secret_config.sds_config.CopyFrom(ADS)
        else:
            rules.trusted_ca.filename = tls.ca_file or SYSTEM_CA_FILE
            common.validation_context.CopyFrom(rules)
    context = tls_pb2.UpstreamTlsContext(common_tls_context=common, sni=tls.sni)
    return base_pb2.TransportSocket(name=TRANSPORT_SOCKET, typed_config=any_of(context))


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

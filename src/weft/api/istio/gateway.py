"""Gateway: listeners at the mesh's edge. Fields after the public Istio reference."""

import ipaddress
from collections.abc import Mapping
from typing import Literal

from weft.api.istio.common import IstioStatus, Message, ServicePort
from weft.api.k8s.meta_v1 import ObjectMeta

TLSProtocol = Literal["", "TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"]


class TLSCertificate(Message, frozen=True):
    """A certificate with its key, as files."""

    server_certificate: str = ""
    """File of the certificate chain."""
    private_key: str = ""
    """File of the key."""
    ca_certificates: str = ""
    """File of the authorities for client certificates."""


class ServerTLSSettings(Message, frozen=True):
    """TLS of a server."""

    https_redirect: bool | None = None
    """Answer plain HTTP with a redirect to HTTPS."""
    mode: Literal[
        "",
        "PASSTHROUGH",
        "SIMPLE",
        "MUTUAL",
        "AUTO_PASSTHROUGH",
        "ISTIO_MUTUAL",
        "OPTIONAL_MUTUAL",
    ] = ""
    """Whether TLS ends here, and whether clients show certificates."""
    server_certificate: str = ""
    """File of the certificate chain."""
    private_key: str = ""
    """File of the key."""
    ca_certificates: str = ""
    """File of the authorities for client certificates."""
    ca_crl: str = ""
    """File of revoked client certificates."""
    tls_certificates: tuple[TLSCertificate, ...] = ()
    """Several certificates, e.g. RSA and ECDSA, instead of one."""
    credential_name: str = ""
    """Secret with certificate and key, instead of files."""
    credential_names: tuple[str, ...] = ()
    """Several Secrets, e.g. RSA and ECDSA."""
    ca_cert_credential_name: str = ""
    """Secret with the authorities for client certificates."""
    subject_alt_names: tuple[str, ...] = ()
    """Names of which a client's certificate must have one."""
    verify_certificate_spki: tuple[str, ...] = ()
    """Accepted client keys, as base64 SHA-256 of the SPKI."""
    verify_certificate_hash: tuple[str, ...] = ()
    """Accepted client certificates, as hex SHA-256."""
    min_protocol_version: TLSProtocol = ""
    """Lowest TLS version; 1.2 when absent."""
    max_protocol_version: TLSProtocol = ""
    """Highest TLS version."""
    cipher_suites: tuple[str, ...] = ()
    """Cipher suites for TLS up to 1.2."""


class Server(Message, frozen=True):
    """A port with hosts."""

    port: ServicePort | None = None
    """Port and protocol to listen on."""
    bind: str = ""
    """Address or Unix socket to listen on."""
    hosts: tuple[str, ...] = ()
    """Hosts served here, also `*`, `*.example.com` or `namespace/host`."""
    tls: ServerTLSSettings | None = None
    """TLS; needed for HTTPS and TLS."""
    default_endpoint: str = ""
    """Not implemented by any proxy."""
    name: str = ""
    """A name, unique within the object."""


class GatewaySpec(Message, frozen=True):
    """Servers of the workloads that the selector chooses."""

    servers: tuple[Server, ...] = ()
    """Ports to open."""
    selector: Mapping[str, str] = {}
    """Labels of the gateway's pods; weft's own gateway answers to `istio: ingressgateway`."""


EGRESS_MARK = "egress"
"""A Gateway whose selector has this in a label's value, as `istio: egressgateway` has, is one for
calls that leave the mesh: only the mesh can reach it."""


class Gateway(Message, frozen=True):
    """A load balancer at the edge of the mesh."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """Gateway."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: GatewaySpec = GatewaySpec()
    """What is wanted."""
    status: IstioStatus = IstioStatus()
    """What the mesh says about it."""


def bind_address(server: Server) -> str | None:
    """The one address that a server listens on; empty where it leaves the choice, None where
    `bind` is no IP address, such as a Unix socket."""
    try:
        address = ipaddress.ip_address(server.bind or "0.0.0.0")  # noqa: S104 - means any
    except ValueError:
        return None
    return "" if address.is_unspecified else str(address)


def is_egress(gateway: Gateway) -> bool:
    """Whether a Gateway is for calls that leave the mesh."""
    return any(EGRESS_MARK in value for value in gateway.spec.selector.values())

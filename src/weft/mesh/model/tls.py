"""TLS in the mesh model: what the proxy shows, and what it checks."""

from typing import Literal

from msgspec import Struct

TlsVersion = Literal["", "1.0", "1.1", "1.2", "1.3"]


class UpstreamTls(Struct, frozen=True, gc=False):
    """TLS that the proxy originates towards the endpoints."""

    mode: Literal["simple", "mutual", "mesh"]
    """`mesh`: as the calling workload, with its certificate; the server shows one of the mesh."""
    sni: str = ""
    subject_alt_names: tuple[str, ...] = ()
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    insecure_skip_verify: bool = False
    crl_file: str = ""
    """Revoked certificates (PEM)."""
    certificate_pem: str = ""
    key_pem: str = ""
    secret: str = ""
    """Name under which the certificate is served by SDS."""
    ca_pem: str = ""
    ca_secret: str = ""
    """Name under which the authorities are served by SDS."""

    def __repr__(self) -> str:
        return f"UpstreamTls(mode={self.mode!r}, sni={self.sni!r}, secret={self.secret!r})"


class ClientCertificates(Struct, frozen=True, gc=False):
    """What certificates clients of a gateway show. Authorities are PEM values or a file."""

    required: bool = True
    """False: a client may come without a certificate; one that it shows must be good."""
    untrusted: bool = False
    """True: also a certificate that is not good is taken; nothing may be concluded from it."""
    ca_pem: str = ""
    ca_secret: str = ""
    """Name under which the authorities are served by SDS."""
    ca_file: str = ""
    crl_file: str = ""
    subject_alt_names: tuple[str, ...] = ()
    spki_hashes: tuple[str, ...] = ()
    certificate_hashes: tuple[str, ...] = ()


class CertificatePair(Struct, frozen=True, gc=False):
    """A certificate (PEM) with its key, under the name by which SDS serves it."""

    certificate_pem: str
    key_pem: str
    secret: str

    def __repr__(self) -> str:
        return f"CertificatePair(secret={self.secret!r})"


class GatewayTls(Struct, frozen=True, gc=False):
    """Server side TLS of a gateway. Either PEM values (from a Secret) or files."""

    certificate_pem: str = ""
    key_pem: str = ""
    certificate_file: str = ""
    key_file: str = ""
    secret: str = ""
    """Name under which the certificate is served by SDS, e.g. `kubernetes://ns/name`."""
    more: tuple[CertificatePair, ...] = ()
    """Further certificates; the client gets the one that fits the name it asks for."""
    more_files: tuple[tuple[str, str], ...] = ()
    """(certificate, key) of further certificates in files."""
    clients: ClientCertificates | None = None
    """None asks for no certificates."""
    version_min: TlsVersion = ""
    """Empty is 1.2."""
    version_max: TlsVersion = ""
    """Empty is the highest there is."""
    ciphers: tuple[str, ...] = ()
    """Cipher suites for TLS up to 1.2; empty is Envoy's choice."""
    mesh: bool = False
    """The gateway's own certificate is shown, and clients must show one of the mesh."""

    def __repr__(self) -> str:
        return f"GatewayTls(secret={self.secret!r}, certificate_file={self.certificate_file!r})"

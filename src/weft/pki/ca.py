"""The certificate authority: keys and certificates, EC P-256, X.509 (cryptography).

A directory holds the root (`ca.crt`, `ca.key`). `ca.crt` may hold several certificates: the first
is the one that signs, all are trusted, so that a later root can overlap with this one.
"""

import datetime
import ipaddress
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificatePublicKeyTypes,
    PrivateKeyTypes,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct
from msgspec.structs import replace

from weft.lib.files import PRIVATE_DIRECTORY_MODE, replace_file
from weft.pki import identity
from weft.pki.identity import SpiffeId, Validity

CERTIFICATE_FILE = "ca.crt"
KEY_FILE = "ca.key"
NEXT_KEY_FILE = "ca.key.next"
"""The key of a root that is being put first: a crash may leave it to be taken over."""
CROSS_FILE = "ca-cross.crt"
"""The signing root's key as the one before it vouches for it."""
CERTIFICATE_MODE = 0o644
NAME_DIGITS = 16
ROOT_PATH_LENGTH = 1
"""Intermediates below the root."""

_SERVER = ExtendedKeyUsageOID.SERVER_AUTH
_CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH


class CaError(Exception):
    """The authority cannot be used: says what is wrong, where, and what to do."""


class Credential(Struct, frozen=True):
    """A private key with its certificate."""

    certificate: str
    """PEM: the certificate, then the intermediates up to, not including, the root."""
    key: str
    """PEM, PKCS #8, not encrypted."""
    validity: Validity


SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class Wanted(Struct, frozen=True):
    """What a certificate says about its holder."""

    subject: x509.Name
    alternatives: tuple[x509.GeneralName, ...]
    usages: tuple[x509.ObjectIdentifier, ...]
    """Extended key usages."""


class Authority:
    """Something that signs: the root, or an intermediate below it. Immutable."""

    def __init__(
        self,
        certificate: x509.Certificate,
        key: SigningKey,
        *,
        roots: str,
        chain: str = "",
        cross: str = "",
    ) -> None:
        self._certificate = certificate
        self._key = key
        self.roots = roots
        """PEM of every root to trust."""
        self._chain = chain
        self._cross = cross
        """PEM that leads servers' certificates to the root before, for those who trust only it."""
        self.validity = validity_of(certificate)

    @classmethod
    def create(
        cls, trust_domain: str, now: float, seconds: float = identity.ROOT_SECONDS_DEFAULT
    ) -> "Authority":
        """A new root in memory. Raises ValueError for what is no trust domain."""
        identity.check_trust_domain(trust_domain)
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(f"weft root {trust_domain}", ("weft",))
        valid = identity.validity(now, seconds)
        own_id = SpiffeId(trust_domain)
        builder = _ca_builder(key.public_key(), name, valid, own_id, ROOT_PATH_LENGTH)
        certificate = builder.issuer_name(name).sign(key, hashes.SHA256())
        return cls(certificate, key, roots=_pem(certificate))

    @classmethod
    def load_or_create(cls, directory: Path, trust_domain: str, now: float) -> "Authority":
        """The root kept in `directory`, made there (mode 0700, key 0600) when there is none.

        Raises CaError: unreadable, half missing, for another trust domain, or expired.
        """
        try:
            directory.mkdir(mode=PRIVATE_DIRECTORY_MODE, parents=True, exist_ok=True)
            certificate_file, key_file = directory / CERTIFICATE_FILE, directory / KEY_FILE
            if not certificate_file.exists():
                root = cls.create(trust_domain, now)
                replace_file(key_file, _key_pem(root._key).encode())
                replace_file(certificate_file, root.roots.encode(), CERTIFICATE_MODE)
                return root
            roots = certificate_file.read_text(encoding="ascii")
            certificate = x509.load_pem_x509_certificates(roots.encode())[0]
            key = _key_of(certificate, directory)
        except OSError as error:
            raise CaError(f"cannot use the CA in {directory}: {error}") from error
        except (ValueError, TypeError) as error:
            raise CaError(
                f"the CA in {directory} is damaged ({error}): restore it, or move the directory "
                "away to start with a new one (every certificate must then be issued again)"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or (
            key.public_key() != certificate.public_key()
        ):
            raise CaError(f"{key_file} is not the key of {CERTIFICATE_FILE} beside it")
        cross = _read_cross(directory / CROSS_FILE, certificate, now)
        root = cls(certificate, key, roots=roots, cross=cross)
        root._check(directory, trust_domain, now)
        return root

    @property
    def name(self) -> str:
        """Short and unique: the start of the certificate's SHA-256."""
        return name_of(self._certificate)

    @property
    def certificate_pem(self) -> str:
        return _pem(self._certificate)

    @property
    def key_pem(self) -> str:
        return _key_pem(self._key)

    def with_roots(self, roots: str) -> "Authority":
        """The same, with these authorities to trust."""
        return Authority(self._certificate, self._key, roots=roots, chain=self._chain)

    @property
    def names_of_roots(self) -> tuple[str, ...]:
        """All that are trusted, the one that signs first."""
        return tuple(map(name_of, x509.load_pem_x509_certificates(self.roots.encode())))

    def vouch_for(self, other: "Authority", now: float) -> str:
        """The other root as an intermediate of this one, PEM: whoever trusts this one alone
        believes what the other signs."""
        key = other._certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        valid = identity.validity(now, other.validity.not_after - now, self.validity)
        own_id = SpiffeId(trust_domain_of(self._certificate))
        return _pem(self._sign(_ca_builder(key, other._certificate.subject, valid, own_id, 0)))

    def _check(self, directory: Path, trust_domain: str, now: float) -> None:
        found = trust_domain_of(self._certificate)
        if found != trust_domain:
            raise CaError(
                f"the CA in {directory} is for trust domain `{found}`, not `{trust_domain}`: "
                "use that one, or another directory"
            )
        if not self.validity.covers(now):
            raise CaError(
                f"the CA in {directory} is valid from {self._certificate.not_valid_before_utc} to "
                f"{self._certificate.not_valid_after_utc}: check the clock, or move the directory "
                "away"
            )

    def intermediate(
        self, name: str, now: float, seconds: float = identity.INTERMEDIATE_SECONDS_DEFAULT
    ) -> "Authority":
        """An authority that issues in this one's place; its key stays in memory."""
        key = ec.generate_private_key(ec.SECP256R1())
        valid = identity.validity(now, seconds, self.validity)
        own_id = SpiffeId(trust_domain_of(self._certificate))
        builder = _ca_builder(key.public_key(), _name(name, ("weft",)), valid, own_id, 0)
        certificate = self._sign(builder)
        return Authority(certificate, key, roots=self.roots, chain=_pem(certificate) + self._chain)

    def server(
        self,
        names: Sequence[str],
        now: float,
        seconds: float = identity.SERVER_SECONDS_DEFAULT,
    ) -> Credential:
        """A server's credential for these DNS names and IP addresses. Raises ValueError."""
        alternatives = [alternative(n) for n in names]
        made = self._leaf(_name(names[0]), alternatives, [_SERVER], now, seconds)
        return replace(made, certificate=made.certificate + self._cross)

    def client(
        self,
        user: str,
        groups: Iterable[str],
        now: float,
        seconds: float = identity.CLIENT_SECONDS_DEFAULT,
    ) -> Credential:
        """A user's credential, as Kubernetes reads it: CN is the user, O its groups."""
        return self._leaf(_name(user, groups), [], [_CLIENT], now, seconds)

    def workload(
        self,
        spiffe_id: SpiffeId,
        now: float,
        seconds: float = identity.WORKLOAD_SECONDS_DEFAULT,
    ) -> Credential:
        """An X.509-SVID: the identity is the only URI name, the subject is empty."""
        alternative = x509.UniformResourceIdentifier(str(spiffe_id))
        return self._leaf(x509.Name([]), [alternative], [_SERVER, _CLIENT], now, seconds)

    def _leaf(
        self,
        subject: x509.Name,
        alternatives: Sequence[x509.GeneralName],
        usages: Sequence[x509.ObjectIdentifier],
        now: float,
        seconds: float,
    ) -> Credential:
        key = ec.generate_private_key(ec.SECP256R1())
        wanted = Wanted(subject, tuple(alternatives), tuple(usages))
        certificate = self.issue(key.public_key(), wanted, now, seconds)
        found = x509.load_pem_x509_certificates(certificate.encode())[0]
        return Credential(certificate, _key_pem(key), validity_of(found))

    def issue_workload(
        self, key: CertificatePublicKeyTypes, spiffe_id: str, now: float, seconds: float
    ) -> str:
        """An X.509-SVID for somebody's public key, PEM, with the intermediates."""
        names = (x509.UniformResourceIdentifier(spiffe_id),)
        return self.issue(key, Wanted(x509.Name([]), names, (_SERVER, _CLIENT)), now, seconds)

    def issue(
        self,
        key: CertificatePublicKeyTypes,
        wanted: "Wanted",
        now: float,
        seconds: float,
    ) -> str:
        """A certificate for somebody's public key, PEM, with the intermediates up to the root."""
        valid = identity.validity(now, seconds, self.validity)
        builder = (
            _builder(key, wanted.subject, valid)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(wanted.usages), critical=False)
        )
        if wanted.alternatives:
            # RFC 5280 4.2.1.6: critical when there is no subject to go by.
            names = x509.SubjectAlternativeName(wanted.alternatives)
            builder = builder.add_extension(names, critical=not list(wanted.subject))
        return _pem(self._sign(builder)) + self._chain

    def _sign(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        own = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own.value)
        builder = builder.issuer_name(self._certificate.subject)
        algorithm = None if isinstance(self._key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        return builder.add_extension(authority, critical=False).sign(self._key, algorithm)


def trust_domain_of(certificate: x509.Certificate) -> str:
    """The trust domain in a certificate's URI name; "" when it has none."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return identity.parse(
            names.get_values_for_type(x509.UniformResourceIdentifier)[0]
        ).trust_domain
    except (x509.ExtensionNotFound, IndexError, ValueError):
        return ""


def name_of(certificate: x509.Certificate) -> str:
    """Short and unique: the start of the certificate's SHA-256."""
    return certificate.fingerprint(hashes.SHA256()).hex()[:NAME_DIGITS]


def validity_of(certificate: x509.Certificate) -> Validity:
    return Validity(
        certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    )


def signed_by(certificate: bytes, roots: str) -> bool:
    """Whether one of these roots signed a certificate (DER) itself."""
    found = x509.load_der_x509_certificate(certificate)
    for root in x509.load_pem_x509_certificates(roots.encode()):
        try:
            found.verify_directly_issued_by(root)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False


def _key_of(certificate: x509.Certificate, directory: Path) -> PrivateKeyTypes:
    """The key of the first root. One that was not put into its place yet is put there. Raises
    OSError, ValueError, TypeError."""
    path, following = directory / KEY_FILE, directory / NEXT_KEY_FILE
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if key.public_key() != certificate.public_key() and following.exists():
        waiting = serialization.load_pem_private_key(following.read_bytes(), None)
        if waiting.public_key() == certificate.public_key():
            following.replace(path)
            return waiting
    return key


def _read_cross(path: Path, root: x509.Certificate, now: float) -> str:
    """What is there for this root; "" when it is for another, or over. Raises OSError,
    ValueError."""
    if not path.exists():
        return ""
    text = path.read_text(encoding="ascii")
    found = x509.load_pem_x509_certificates(text.encode())[0]
    fits = found.public_key() == root.public_key() and validity_of(found).covers(now)
    return text if fits else ""


def _ca_builder(
    key: ec.EllipticCurvePublicKey,
    name: x509.Name,
    valid: Validity,
    own_id: SpiffeId,
    path_length: int,
) -> x509.CertificateBuilder:
    return (
        _builder(key, name, valid)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(own_id))]),
            critical=False,
        )
    )


def _builder(
    key: CertificatePublicKeyTypes, subject: x509.Name, valid: Validity
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_utc(valid.not_before))
        .not_valid_after(_utc(valid.not_after))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str, organizations: Iterable[str] = ()) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def alternative(name: str) -> x509.GeneralName:
    """An IP address or a DNS name, as a certificate names it."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _utc(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(seconds), tz=datetime.UTC)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: SigningKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()

"""Self-signed certificates for tests."""

import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

VALID = datetime.timedelta(days=1)


def make_certificate(*names: str) -> tuple[str, str]:
    """(certificate, key) in PEM, for these DNS names."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, (names or ("test",))[0])])
    now = datetime.datetime.now(datetime.UTC)  # noqa: TID251
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - VALID)
        .not_valid_after(now + VALID)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names or ("test",)]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def write_certificate(directory: Path, *names: str) -> tuple[str, str]:
    """`tls.crt` and `tls.key` in a directory; returns their contents."""
    directory.mkdir(parents=True, exist_ok=True)
    certificate, key = make_certificate(*names)
    (directory / "tls.crt").write_text(certificate)
    (directory / "tls.key").write_text(key)
    return certificate, key


def write_revocable(directory: Path, name: str) -> None:
    """An authority (`ca.crt`), a certificate of it for `name` (`tls.crt`, `tls.key`), and two
    revocation lists of the authority: `none.crl`, and `revoked.crl`, on which that certificate is.
    """
    now = datetime.datetime.now(datetime.UTC)  # noqa: TID251
    authority, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "revoking authority")])
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip

    def certificate(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> Any:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - VALID)
            .not_valid_after(now + VALID)
        )

    root = certificate(issuer, authority)
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    root = root.add_extension(usage, True).sign(authority, hashes.SHA256())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    own = certificate(subject, leaf)
    own = own.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
    own = own.sign(authority, hashes.SHA256())
    lists = x509.CertificateRevocationListBuilder().issuer_name(issuer)
    lists = lists.last_update(now - VALID).next_update(now + VALID)
    entry = x509.RevokedCertificateBuilder().serial_number(own.serial_number)
    entry = entry.revocation_date(now - VALID)
    pem = serialization.Encoding.PEM
    files = {
        "ca.crt": root.public_bytes(pem),
        "tls.crt": own.public_bytes(pem),
        "tls.key": leaf.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        "none.crl": lists.sign(authority, hashes.SHA256()).public_bytes(pem),
        "revoked.crl": lists.add_revoked_certificate(entry.build())
        .sign(authority, hashes.SHA256())
        .public_bytes(pem),
    }
    for file, content in files.items():
        (directory / file).write_bytes(content)

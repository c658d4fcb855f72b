"""Self-signed certificates for tests."""

import datetime
from pathlib import Path

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

"""Whether a certificate and a key can be used together."""

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)


def pair_problem(certificate: str, key: str) -> str:
    """Why a proxy would refuse the pair (PEM, the leaf first), or ""."""
    try:
        chain = x509.load_pem_x509_certificates(certificate.encode())
    except ValueError:
        return "`tls.crt` is no certificate"
    try:
        private = load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError):
        return "`tls.key` is no private key, or has a password"
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if chain[0].public_key().public_bytes(*form) != private.public_key().public_bytes(*form):
        return "`tls.key` is not the key of the certificate in `tls.crt`"
    return ""

"""What a node asks a certificate with, and reads from the one it has. Pure."""

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from weft.pki.identity import Validity

NODES_GROUP = "system:nodes"
NODE_USER_PREFIX = "system:node:"


def request(node: str) -> tuple[str, str]:
    """A new private key and the request for its certificate, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, NODES_GROUP),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{NODE_USER_PREFIX}{node}"),
        ]
    )
    signed = (
        x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private.decode(), signed.public_bytes(serialization.Encoding.PEM).decode()


def node_of(pem: bytes) -> str:
    """The node that a certificate is for; "" for what is none. Whoever asks has verified it."""
    try:
        subject = x509.load_pem_x509_certificate(pem).subject
    except ValueError:
        return ""
    names = [str(a.value) for a in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = [str(a.value) for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    if groups != [NODES_GROUP] or len(names) != 1 or not names[0].startswith(NODE_USER_PREFIX):
        return ""
    return names[0].removeprefix(NODE_USER_PREFIX)


def validity_of(pem: bytes) -> Validity:
    """Of the first certificate. Raises ValueError for what is none."""
    found = x509.load_pem_x509_certificates(pem)[0]
    return Validity(found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp())


def is_for(pem: bytes, key: bytes, node: str) -> bool:
    """Whether a stored certificate and key belong together and to this node."""
    try:
        certificate = x509.load_pem_x509_certificates(pem)[0]
        private = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError):
        return False
    same = isinstance(private, ec.EllipticCurvePrivateKey) and (
        private.public_key() == certificate.public_key()
    )
    return same and node_of(pem) == node

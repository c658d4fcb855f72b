"""Which requests the signers sign, and which need no person."""

import base64
import ipaddress
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from weft.api.k8s.certificates_v1 import (
    CertificateSigningRequest,
    CertificateSigningRequestSpec,
)
from weft.pki import signing_requests as csr

CLIENT = ("digital signature", "client auth")
SERVING = ("digital signature", "server auth")
BOTH = ("digital signature", "client auth", "server auth")
NODE = "system:node:a"
KEY = ec.generate_private_key(ec.SECP256R1())


def pem(common_name: str = "", organizations: tuple[str, ...] = (), *names: Any) -> str:
    """A request as `spec.request` holds it."""
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    if common_name:
        parts.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(parts))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return base64.b64encode(signed).decode()


def request(
    signer: str, text: str, usages: tuple[str, ...], user: str = "", **more: Any
) -> CertificateSigningRequest:
    spec = CertificateSigningRequestSpec(
        request=text, signer_name=signer, usages=usages, username=user, **more
    )
    return CertificateSigningRequest(spec=spec)


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


GOOD = [
    (csr.API_CLIENT, pem("ann", ("team",)), CLIENT, "bob", ""),
    (csr.KUBELET_CLIENT, pem(NODE, ("system:nodes",)), CLIENT, "joiner", "nodeclient"),
    (csr.KUBELET_CLIENT, pem(NODE, ("system:nodes",)), CLIENT, NODE, "selfnodeclient"),
    (
        csr.KUBELET_SERVING,
        pem(NODE, ("system:nodes",), x509.IPAddress(ipaddress.ip_address("10.0.0.1"))),
        (*SERVING, "key encipherment"),
        NODE,
        "own-addresses",
    ),
    (
        csr.WORKLOAD,
        pem("", (), uri("spiffe://td/ns/shop/sa/cart")),
        BOTH,
        "system:serviceaccount:shop:cart",
        "always",
    ),
]


@pytest.mark.parametrize(("signer", "text", "usages", "user", "approved"), GOOD)
def test_signed(signer: str, text: str, usages: tuple[str, ...], user: str, approved: str) -> None:
    found = request(signer, text, usages, user)
    assert csr.problem(found, "td") == ""
    assert csr.approval(found) == approved


BAD = [
    (csr.API_CLIENT, pem("ann"), SERVING, "bob", "usages"),
    (csr.API_CLIENT, pem("", ("team",)), CLIENT, "bob", "common name"),
    (csr.API_CLIENT, pem("ann", (), uri("spiffe://td/ns/a/sa/b")), CLIENT, "bob", "URI"),
    (csr.KUBELET_CLIENT, pem("ann", ("system:nodes",)), CLIENT, "joiner", "subject"),
    (csr.KUBELET_CLIENT, pem(NODE, ("system:nodes", "x")), CLIENT, "joiner", "subject"),
    (csr.KUBELET_CLIENT, pem(NODE, ("system:masters",)), CLIENT, "joiner", "subject"),
    (csr.KUBELET_CLIENT, pem(NODE, ("system:nodes",), x509.DNSName("a")), CLIENT, NODE, "names"),
    (csr.KUBELET_CLIENT, pem(NODE, ("system:nodes",)), BOTH, "joiner", "usages"),
    (csr.KUBELET_SERVING, pem(NODE, ("system:nodes",)), SERVING, NODE, "needed"),
    (
        csr.KUBELET_SERVING, pem(NODE, ("system:nodes",), x509.DNSName("a")), SERVING,
        "system:node:b", "asking node",
    ),
    (
        csr.WORKLOAD, pem("", (), uri("spiffe://td/ns/shop/sa/other")), BOTH,
        "system:serviceaccount:shop:cart", "spiffe://td/ns/shop/sa/cart",
    ),
    (
        csr.WORKLOAD, pem("", (), uri("spiffe://other/ns/shop/sa/cart")), BOTH,
        "system:serviceaccount:shop:cart", "spiffe://td/ns/shop/sa/cart",
    ),
    (
        csr.WORKLOAD,
        pem("", (), uri("spiffe://td/ns/shop/sa/cart"), x509.DNSName("bank.example")), BOTH,
        "system:serviceaccount:shop:cart", "only subject alternative name",
    ),
    (csr.WORKLOAD, pem("", (), uri("spiffe://td/ns/shop/sa/cart")), BOTH, "ann", "accounts"),
    (csr.WORKLOAD, "bm90IGEgcmVxdWVzdA==", BOTH, "ann", "cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("signer", "text", "usages", "user", "why"), BAD)
def test_refused(signer: str, text: str, usages: tuple[str, ...], user: str, why: str) -> None:
    assert why in csr.problem(request(signer, text, usages, user), "td")


def test_signers_of_others_are_left_alone() -> None:
    found = request("example.com/own", pem("x"), ("any",))
    assert csr.problem(found, "td") == ""
    assert csr.approval(found) == ""


def test_names_of_a_node() -> None:
    text = pem(NODE, ("system:nodes",), x509.DNSName("a"), x509.DNSName("b"))
    found = request(csr.KUBELET_SERVING, text, SERVING, NODE)
    assert csr.of_node(found, ["a", "b", "10.0.0.1"])
    assert not csr.of_node(found, ["a"])


def test_life_is_the_shorter_one() -> None:
    found = request(csr.API_CLIENT, pem("x"), CLIENT, expiration_seconds=600)
    assert csr.seconds(found, 3600.0) == 600.0
    assert csr.seconds(request(csr.API_CLIENT, pem("x"), CLIENT), 3600.0) == 3600.0

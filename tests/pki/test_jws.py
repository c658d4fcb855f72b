"""Signed tokens: what is changed in any way is not believed."""

import base64
import json

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from weft.pki.jws import KeyRing

CLAIMS = {"sub": "somebody", "exp": 1}


def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_what_was_signed_is_believed_also_after_a_rotation() -> None:
    old, new = key(), key()
    token = KeyRing([old]).sign(CLAIMS)
    assert KeyRing([old]).claims(token) == CLAIMS
    assert KeyRing([new, old]).claims(token) == CLAIMS
    assert KeyRing([new]).claims(token) is None
    assert KeyRing([new, old]).sign(CLAIMS).split(".")[0] != token.split(".")[0]


def test_what_was_changed_is_not_believed() -> None:
    ring = KeyRing([key()])
    head, body, signature = ring.sign(CLAIMS).split(".")
    kid = json.loads(base64.urlsafe_b64decode(head + "=="))["kid"]
    none = part({"alg": "none", "kid": kid})
    symmetric = part({"alg": "HS256", "kid": kid})
    critical = part({"alg": "ES256", "kid": kid, "crit": ["x"]})
    for wrong in (
        f"{head}.{part({'sub': 'admin'})}.{signature}",
        f"{none}.{body}.",
        f"{none}.{body}.{signature}",
        f"{symmetric}.{body}.{signature}",
        f"{critical}.{body}.{signature}",
        f"{head}.{body}",
        f"{head}.{body}.{signature}x",
        f"{head}.{body}.{signature[:-4]}",
        "",
        "a.b.c",
        "é.b.c",
        "." * 100,
        "x" * 100_000,
    ):
        assert ring.claims(wrong) is None, wrong[:80]


def test_the_key_set_verifies_with_a_library() -> None:
    ring = KeyRing([key()])
    token = ring.sign({"sub": "somebody"})
    (found,) = jwt.PyJWKSet.from_json(ring.jwks().decode()).keys
    assert jwt.decode(token, found.key, algorithms=["ES256"]) == {"sub": "somebody"}

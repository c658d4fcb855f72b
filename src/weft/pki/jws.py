"""Signed JSON Web Tokens with ES256, as RFC 7515, 7517 and 7518 have them: no other algorithm, so
there is none to be talked into."""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

ALGORITHM = "ES256"
TOKEN_BYTES_MAX = 16 * 1024
_COORDINATE_BYTES = 32
_HASH = ec.ECDSA(hashes.SHA256())


class VerifyingKey:
    """The public half, and its name."""

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self._key = key
        encoded = key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.key_id = _encode(hashlib.sha256(encoded).digest())

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        if len(signature) != 2 * _COORDINATE_BYTES:
            return False
        halves = (signature[:_COORDINATE_BYTES], signature[_COORDINATE_BYTES:])
        r, s = (int.from_bytes(half, "big") for half in halves)
        try:
            self._key.verify(encode_dss_signature(r, s), signed, _HASH)
        except InvalidSignature:
            return False
        return True

    def jwk(self) -> dict[str, str]:
        """As key sets publish it."""
        numbers = self._key.public_numbers()
        x, y = (_encode(n.to_bytes(_COORDINATE_BYTES, "big")) for n in (numbers.x, numbers.y))
        named = {"use": "sig", "kty": "EC", "kid": self.key_id, "alg": ALGORITHM}
        return {**named, "crv": "P-256", "x": x, "y": y}


class KeyRing:
    """The first key signs; what any of them signed is believed. Immutable."""

    def __init__(self, keys: Sequence[ec.EllipticCurvePrivateKey]) -> None:
        """At least one key."""
        self._signer = keys[0]
        self._known = {key.key_id: key for key in (VerifyingKey(k.public_key()) for k in keys)}
        self._key_id = VerifyingKey(keys[0].public_key()).key_id

    def __len__(self) -> int:
        return len(self._known)

    def sign(self, claims: Mapping[str, Any]) -> str:
        head = msgspec.json.encode({"alg": ALGORITHM, "kid": self._key_id})
        signed = f"{_encode(head)}.{_encode(msgspec.json.encode(claims))}"
        r, s = decode_dss_signature(self._signer.sign(signed.encode(), _HASH))
        raw = r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")
        return f"{signed}.{_encode(raw)}"

    def claims(self, token: str) -> dict[str, Any] | None:
        """What a token says, when one of these keys signed it; times and audiences are the
        caller's to judge."""
        parts = token.split(".")
        if len(parts) != 3 or len(token) > TOKEN_BYTES_MAX or not token.isascii():
            return None
        try:
            head, body, signature = (_decode(part) for part in parts)
            named = msgspec.json.decode(head, type=dict[str, Any])
            key = self._known.get(str(named.get("kid")))
            signed = f"{parts[0]}.{parts[1]}".encode()
            if key is None or named.get("alg") != ALGORITHM or "crit" in named:
                return None
            if not key.verifies(signed, signature):
                return None
            return msgspec.json.decode(body, type=dict[str, Any])
        except (ValueError, binascii.Error, RecursionError):
            return None

    def jwks(self) -> bytes:
        """The key set (RFC 7517)."""
        return msgspec.json.encode({"keys": [key.jwk() for key in self._known.values()]})


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)

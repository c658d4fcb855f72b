"""An issuer of tokens (JWT), honest and otherwise."""

import base64
import hmac
import json
import time
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value: int) -> str:
    return encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Issuer:
    """Signs with a key of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = self._key.public_key().public_numbers()
        key = {"kty": "RSA", "kid": "one", "alg": "RS256", "use": "sig",
               "n": _number(public.n), "e": _number(public.e)}  # fmt: skip
        self.key_set = json.dumps({"keys": [key]})

    def token(self, **claims: Any) -> str:
        """A token that holds for five minutes unless `exp` says otherwise."""
        text = self._signed_text("RS256", claims)
        signature = self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{encoded(signature)}"

    def unsigned(self, **claims: Any) -> str:
        """Claims that no signature is needed."""
        return f"{self._signed_text('none', claims)}."

    def confused(self, **claims: Any) -> str:
        """Signed with the public key as if it were a shared secret (algorithm confusion)."""
        text = self._signed_text("HS256", claims)
        public = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return f"{text}.{encoded(hmac.digest(public, text.encode(), 'sha256'))}"

    def _signed_text(self, algorithm: str, claims: dict[str, Any]) -> str:
        header = {"alg": algorithm, "kid": "one", "typ": "JWT"}
        body = {"iss": self.name, "exp": int(time.time()) + 300} | claims
        return ".".join(encoded(json.dumps(part).encode()) for part in (header, body))

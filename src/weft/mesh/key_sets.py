"""JSON Web Key Sets (RFC 7517): the keys of a set with which a signature can be checked.

A proxy refuses its whole configuration of tokens for one set without a good key, so only sets of
good keys reach it. Symmetric keys (`oct`) are left out: whoever may read the policy could sign.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

RSA_BITS_MIN = 2048
KEYS_MAX = 100
_CURVES: Mapping[str, type[ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1,
    "P-384": ec.SECP384R1,
    "P-521": ec.SECP521R1,
}


def usable_keys(text: str) -> str:
    """The set with its good keys only, as JSON that is equal for equal keys; empty when it has
    none."""
    try:
        keys = json.loads(text).get("keys")
    except (ValueError, AttributeError, RecursionError):
        return ""
    if not isinstance(keys, list):
        return ""
    good = [key for key in keys[:KEYS_MAX] if isinstance(key, dict) and _good(key)]
    return json.dumps({"keys": good}, sort_keys=True) if good else ""


def _good(key: Mapping[str, Any]) -> bool:
    if any(not isinstance(key.get(name, ""), str) for name in ("kid", "alg", "use")):
        return False
    try:
        if key.get("kty") == "RSA":
            numbers = rsa.RSAPublicNumbers(_number(key["e"]), _number(key["n"]))
            return numbers.public_key().key_size >= RSA_BITS_MIN
        if key.get("kty") == "EC":
            curve = _CURVES[key["crv"]]()
            x, y = _number(key["x"]), _number(key["y"])
            ec.EllipticCurvePublicNumbers(x, y, curve).public_key()
            return True
        if key.get("kty") == "OKP" and key.get("crv") == "Ed25519":
            ed25519.Ed25519PublicKey.from_public_bytes(_bytes(key["x"]))
            return True
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error):
        return False
    return False


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _number(text: str) -> int:
    return int.from_bytes(_bytes(text))

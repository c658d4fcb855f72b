"""Only keys that a signature can be checked with reach the proxy."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from weft.mesh.key_sets import usable_keys


def text(value: int | bytes) -> str:
    data = value.to_bytes((value.bit_length() + 7) // 8) if isinstance(value, int) else value
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def rsa_key(bits: int) -> dict[str, str]:
    numbers = rsa.generate_private_key(65537, bits).public_key().public_numbers()
    return {"kty": "RSA", "n": text(numbers.n), "e": text(numbers.e), "kid": "r"}


def ec_key() -> dict[str, str]:
    numbers = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    return {"kty": "EC", "crv": "P-256", "x": text(numbers.x), "y": text(numbers.y)}


ED = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": text(ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()),
}


@pytest.mark.parametrize("key", [rsa_key(2048), ec_key(), ED], ids=["rsa", "ec", "ed25519"])
def test_good_keys_stay(key: dict[str, str]) -> None:
    assert json.loads(usable_keys(json.dumps({"keys": [{"kty": "?"}, key]}))) == {"keys": [key]}


@pytest.mark.parametrize(
    "key",
    [
        rsa_key(1024),
        {**ec_key(), "x": text(b"1" * 32)},
        {**ED, "x": text(b"short")},
        {**ED, "kid": 7},
        {"kty": "oct", "k": text(b"secret")},
        {"kty": "RSA", "n": "!", "e": "AQAB"},
        {},
        "key",
    ],
    ids=range(8),
)
def test_bad_keys_go(key: object) -> None:
    assert usable_keys(json.dumps({"keys": [key]})) == ""


@examples(100)
@given(st.one_of(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
    lambda value: json.dumps({"keys": value}))))  # fmt: skip
def test_no_text_raises(found: str) -> None:
    usable_keys(found)

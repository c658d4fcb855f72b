"""What an issuer says of itself is believed only as far as it goes."""

import json
import re

import pytest

from weft.mesh.issuer_keys import document_url, key_set_url

ISSUER = "https://login.example/realm/"


def known(host: str, port: int) -> str:
    return host if (host, port) == ("keys.example", 443) else ""


def answer(uri: object, issuer: str = ISSUER) -> bytes:
    return json.dumps({"issuer": issuer, "jwks_uri": uri}).encode()


def test_where_it_is_asked() -> None:
    """OpenID Connect Discovery 1.0, section 4.1: a slash at the end is taken off."""
    wanted = "https://login.example/realm/.well-known/openid-configuration"
    assert document_url(ISSUER) == document_url(ISSUER.rstrip("/")) == wanted


@pytest.mark.parametrize("uri", ["https://login.example/keys", "https://keys.example/certs?v=1"])
def test_keys_may_be_at_the_issuer_s_host_or_a_declared_one(uri: str) -> None:
    assert key_set_url(answer(uri), ISSUER, known) == uri


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"<html>", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[]", "names no `jwks_uri`"),
        (answer(7), "names no `jwks_uri`"),
        (answer("https://login.example/keys", "https://login.example/realm"), "another issuer"),
        (answer("http://login.example/keys"), "without TLS"),
        (answer("https://169.254.169.254/keys"), "no Service or ServiceEntry has 169.254.169.254"),
        (answer("https://login.example:8443/keys"), "has login.example port 8443"),
        (answer("https://[::bad/keys"), "no Service or ServiceEntry"),
        (answer("https://keys.example:99999/"), "no Service or ServiceEntry"),
    ],
)
def test_what_is_not_believed(document: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        key_set_url(document, ISSUER, known)

"""Who a bootstrap token makes of a machine."""

import base64
from typing import Any

import pytest

from weft.apiserver.bootstrap_tokens import user_of

GOOD = {
    "token-id": "abcdef",
    "token-secret": "0123456789abcdef",
    "usage-bootstrap-authentication": "true",
    "expiration": "2030-01-01T00:00:00Z",
    "auth-extra-groups": "system:bootstrappers:weft:x",
}
NOW = 1_800_000_000.0


def secret(kind: str = "bootstrap.kubernetes.io/token", **changes: str) -> dict[str, Any]:
    data = {k: base64.b64encode(v.encode()).decode() for k, v in (GOOD | changes).items()}
    return {"metadata": {"name": "bootstrap-token-abcdef"}, "type": kind, "data": data}


def test_a_good_token() -> None:
    found = user_of(secret(), "abcdef", "0123456789abcdef", NOW)
    assert found is not None
    assert found.name == "system:bootstrap:abcdef"
    assert found.groups[:2] == ("system:bootstrappers", "system:bootstrappers:weft:x")


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "Opaque"},
        {"token-secret": "0123456789abcdeX"},
        {"token-id": "ghijkl"},
        {"usage-bootstrap-authentication": "false"},
        {"expiration": "2020-01-01T00:00:00Z"},
        {"expiration": "soon"},
        {"auth-extra-groups": "system:masters"},
    ],
)
def test_a_bad_one_is_nobody(changes: dict[str, str]) -> None:
    assert user_of(secret(**changes), "abcdef", "0123456789abcdef", NOW) is None


def test_without_expiration_it_lasts() -> None:
    assert user_of(secret(expiration=""), "abcdef", "0123456789abcdef", NOW) is not None

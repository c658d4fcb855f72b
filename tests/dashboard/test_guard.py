"""Which requests are let in at all."""

import pytest

from weft.dashboard import guard

HERE = {"Host": "127.0.0.1:4000"}


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("GET", {}),
        ("GET", {"Host": "localhost:4000"}),
        ("POST", {"Origin": "http://127.0.0.1:4000"}),
        ("GET", {"Upgrade": "websocket", "Origin": "http://127.0.0.1:4000"}),
        ("GET", {"Sec-Fetch-Site": "none"}),
        ("POST", {"Authorization": "Bearer x"}),
    ],
)
def test_own_pages_and_the_command_line_are_let_in(method: str, head: dict[str, str]) -> None:
    assert guard.refusal(method, HERE | head, 4000) == ""


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("GET", {"Host": "evil.example:4000"}),
        ("GET", {"Host": "127.0.0.1:4001"}),
        ("GET", {"Host": ""}),
        ("POST", {}),
        ("POST", {"Origin": "http://127.0.0.1:8080"}),
        ("POST", {"Origin": "null"}),
        ("POST", {"Origin": "http://evil.example", "Authorization": "Bearer x"}),
        ("GET", {"Upgrade": "WebSocket"}),
        ("GET", {"Upgrade": "websocket", "Origin": "https://evil.example"}),
        ("GET", {"Sec-Fetch-Site": "same-site"}),
        ("GET", {"Sec-Fetch-Site": "cross-site"}),
    ],
)
def test_other_pages_and_names_are_not(method: str, head: dict[str, str]) -> None:
    assert guard.refusal(method, HERE | head, 4000) != ""


def test_what_is_the_apis() -> None:
    for path in ("/api/v1/pods", "/apis", "/weft/v1/status", "/version"):
        assert guard.is_api(path)
    for path in ("/", "/js/main.js", "/weft/v1/node/link", "/metrics", "/apix", "/healthz"):
        assert not guard.is_api(path)


def test_the_key_comes_as_a_header_or_as_a_subprotocol() -> None:
    assert guard.key_of({"X-Weft-Key": "k"}) == "k"
    assert guard.key_of({"Sec-WebSocket-Protocol": "weft.live, weft.key.k"}) == "k"
    assert guard.key_of({"Sec-WebSocket-Protocol": "weft.live"}) == ""


def test_the_policy_allows_nothing_from_elsewhere() -> None:
    policy = guard.headers("n")["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy

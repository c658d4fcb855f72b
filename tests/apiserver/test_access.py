"""Identities."""

import pytest

from weft.apiserver.access import (
    AUTHENTICATED,
    MASTERS,
    Attributes,
    User,
    forbidden_text,
    parse_tokens,
    user_of_certificate,
    user_of_token,
)


def test_token_files() -> None:
    tokens = parse_tokens('abc,alice,1,"system:masters,dev"\n# comment\n\nxyz,bob,2\n')
    assert user_of_token(tokens, "abc") == User("alice", (MASTERS, "dev", AUTHENTICATED), "1")
    assert user_of_token(tokens, "xyz") == User("bob", (AUTHENTICATED,), "2")
    assert user_of_token(tokens, "ab") is None
    assert user_of_token(tokens, "é") is None
    with pytest.raises(ValueError, match="line 1"):
        parse_tokens("only-a-token\n")


def test_certificates_name_user_and_groups() -> None:
    subject = ((("commonName", "bob"),), (("organizationName", MASTERS),))
    assert user_of_certificate({"subject": subject}) == User("bob", (MASTERS, AUTHENTICATED))
    assert user_of_certificate({"subject": ()}) is None


def test_a_token_that_is_no_utf_8_is_nobody_s() -> None:
    assert user_of_token(parse_tokens("secret,alice,1"), "\udcff\udcfe") is None


def test_refusals_are_worded_as_kubernetes_words_them() -> None:
    wanted = Attributes("get", resource="pods", group="", namespace="d", subresource="log")
    assert forbidden_text(User("b"), wanted, "") == (
        'User "b" cannot get resource "pods/log" in API group "" in the namespace "d"'
    )
    assert forbidden_text(User("b"), Attributes("get", path="/metrics"), "no") == (
        'User "b" cannot get path "/metrics": no'
    )

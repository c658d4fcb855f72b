"""Conditions of policies: what compiles has a value for every request; errors say where."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.api.cel.conditions import UNKNOWN, Condition, check, evaluate, problem

CLAIMS: dict[str, Any] = {"sub": "alice", "level": 3, "groups": ["a", 7], "ok": True}


def look(attribute: Condition) -> Any:
    """A request with a method, a path, one header, and a token that nobody has seen."""
    kind, *operands = attribute
    known = {"method": "GET", "path": "/users/alice", "principal": "spiffe://td/ns/a/sa/b"}
    if kind == "header":
        return "gold" if operands[0] == "x-tier" else ""
    if kind == "has_header":
        return operands[0] == "x-tier"
    return known.get(kind, UNKNOWN)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("request.method == 'GET' && request.headers['X-Tier'] in ['gold', 'silver']", True),
        ("has(request.headers.x) || 'x-tier' in request.headers", True),
        ("request.headers['absent'] == ''", True),
        ("request.path.startsWith('/users/' + request.headers['x-tier'])", False),
        ("source.principal.matches('/ns/a/')", True),
        ("size(request.headers['x-tier']) >= 4 ? !(1 == 2) : false", True),
        ("request.auth.claims.sub == 'alice'", UNKNOWN),
        ("request.auth.claims.sub == 'alice' || request.method == 'GET'", True),
        ("request.auth.claims.sub == 'alice' && request.method == 'PUT'", False),
        ("request.time.getHours() < 12", UNKNOWN),
    ],
)
def test_values(source: str, value: object) -> None:
    assert evaluate(check(source), look) is value


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("request.method = 'GET'", "character 16"),
        ("request.metod == 'GET'", "there is no attribute `request.metod`"),
        ("request.method == 'GET' && request.query == 'a'", "(character 28)"),
        ("request.method", "true or false is needed (character 1)"),
        ("request.method == 3", "a text and a number cannot be compared (character 16)"),
        ("int(request.headers.x) > 5", "`int` is not known here (character 1)"),
        ("request.path.matches(request.headers.x)", "must be written out (character 22)"),
        ("request.path.matches('(')", "invalid regular expression"),
        ("request.path.matches('(a{9}){99}')", "too large"),
        ("request.auth.claims.groups.exists(g, g == 'a')", "macros"),
        ("request.time.getHours('Europe/Berlin') < 9", "UTC"),
        ("request.headers.x[", "unexpected 'the end'"),
        ("request.auth.claims.a == size(request.path)", "written numbers"),
        ("request.method in [" + "'a'," * 300 + "]", "parts"),
        (" && ".join(["true"] * 30), "deep"),
        ("'" + "a" * 3000 + "' == ''", "characters"),
    ],
)
def test_errors_say_where(source: str, why: str) -> None:
    assert why in problem(source)


def test_claims_are_read_as_what_they_are_compared_with() -> None:
    assert check("'a' in request.auth.claims.groups")[-1] == ("claim", "list", "groups")
    assert check("request.auth.claims.x.y == 'a'")[2] == ("claim", "text", "x", "y")
    assert check("3 < request.auth.claims.n") == ("compare_claim", ">", 3, "n")
    assert check("request.auth.claims.admin") == ("claim", "truth", "admin")


@given(st.text(max_size=60))
def test_any_text_compiles_or_says_why(source: str) -> None:
    if not problem(source):
        assert evaluate(check(source), look) in (True, False, UNKNOWN)

"""Expressions over Envoy's attributes."""

import pytest

from weft.api.cel import attributes
from weft.api.cel.syntax import CelError


@pytest.mark.parametrize(
    "source",
    [
        "response.code >= 400",
        "request.headers['x-user'] == 'ann' || has(request.headers.debug)",
        "!request.path.startsWith('/healthz') && request.duration > duration('1s')",
        "response.code in [500, 503] ? true : size(request.path) > 3",
        "-1 < response.code - 5",
    ],
)
def test_what_envoy_compiles(source: str) -> None:
    attributes.check(source)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("reponse.code >= 400", "unknown name `reponse`"),
        ("request.path.lowerAscii() == 'a'", "no function `lowerAscii`"),
        ("quantity('1') == 1", "no function `quantity`"),
        ("[1].exists(x, x == 1)", "macros"),
        ("request.?path == 1", "optional"),
        ("response.code >=", "unexpected"),
        ("(" * 30 + "1" + ")" * 30 + "x" * 2000, "more than 1024 characters"),
        ("1 + " * 30 + "1 > 2", "more than 24 levels"),
    ],
)
def test_what_it_does_not(source: str, problem: str) -> None:
    with pytest.raises(CelError, match=problem):
        attributes.check(source)

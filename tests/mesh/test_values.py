"""Expressions and durations as users write them."""

import pytest

from weft.mesh.values import network, regex_problem, seconds


@pytest.mark.parametrize(
    "regex", ["/a/.*", "(?i)abc", "(?P<n>x)", r"\d+\.\d", "[[:alpha:]]+", r"\pL+", "a{2,3}", r"\\1"]
)
def test_what_re2_knows_passes(regex: str) -> None:
    assert regex_problem(regex) is None


@pytest.mark.parametrize(
    "regex", ["(", "a(?=b)", "(?<!a)b", r"(a)\1", "a++", "(?>a)", "[z-a]", "a" * 1025, "*"]
)
def test_what_re2_lacks_is_refused(regex: str) -> None:
    assert regex_problem(regex)


def test_durations_report_instead_of_raising() -> None:
    said: list[str] = []
    assert seconds("1m30s", None, said.append) == 90
    assert seconds("", 7.0, said.append) == 7.0
    assert not said
    assert seconds("soon", 7.0, said.append) == 7.0
    assert seconds("-1s", None, said.append) is None
    assert len(said) == 2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.1/32", "10.0.0.1"), ("10.0.0.1", "10.0.0.1"), ("10.1.2.3/8", "10.0.0.0/8"),
        ("fd00::0:1/128", "fd00::1"), ("nonsense", "nonsense"),
    ],
)  # fmt: skip
def test_what_means_the_same_network_is_the_same(text: str, found: str) -> None:
    assert network(text) == found

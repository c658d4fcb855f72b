"""Regular expressions are RE2's, as in the proxy."""

import pytest

from weft.mesh.explain import regex

pytest.importorskip("re2", reason="installed with weft")


@pytest.mark.parametrize(
    ("pattern", "text", "held"),
    [
        ("a.*", "abc", True),
        ("a", "abc", False),
        ("(?i)ABC", "abc", True),
        ("[[:digit:]]+", "12", True),
        (r"\pL+", "é", True),
        (r"\d", "٣", False),
        ("a(?=b)", "a", False),
    ],
)
def test_the_whole_text_must_match(pattern: str, text: str, held: bool) -> None:
    assert regex.holds(pattern, text) is held


def test_expressions_that_backtrack_take_no_time() -> None:
    assert not regex.holds("(a+)+b", "a" * 5000)


@pytest.mark.parametrize(
    ("pattern", "substitution", "text", "result"),
    [
        (r"/([a-z]+)", r"/\1\1", "/ab/c", "/abab/cc"),
        (r"^/items/(\d+)(.*)$", r"\2/i\1", "/items/7/x", "/x/i7"),
        ("b", r"[\0\\]", "abc", r"a[b\]c"),
        ("[a-z]*", "y", "/ab1", "y/y1y"),
        ("(?=a)", "y", "abc", "abc"),
    ],
)
def test_substitutions(pattern: str, substitution: str, text: str, result: str) -> None:
    assert regex.substituted(pattern, substitution, text) == result

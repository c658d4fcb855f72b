"""Quantities: exact where Kubernetes is, bounded where it bounds."""

from decimal import Decimal

import pytest

from weft.lib.quantity import AMOUNT_MAX, AMOUNT_MIN, format_quantity, parse_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("250m", Decimal("0.25")),
        ("1Gi", Decimal(2**30)),
        ("-1.5k", Decimal(-1500)),
        ("2e3", Decimal(2000)),
        ("0e999999999", Decimal(0)),
    ],
)
def test_amounts(text: str, value: Decimal) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize("text", ["1e999999", "1e999999999999", "9" * 2000, "100000Ei"])
def test_what_is_too_large_counts_as_the_largest(text: str) -> None:
    assert parse_quantity(text) == AMOUNT_MAX
    assert parse_quantity(f"-{text}") == -AMOUNT_MAX


@pytest.mark.parametrize("text", ["1e-999999", "1e-99999999999n", "0.1n"])
def test_what_is_too_small_counts_as_the_smallest(text: str) -> None:
    assert parse_quantity(text) == AMOUNT_MIN


@pytest.mark.parametrize("text", ["", "x", "1.2.3", "1Zi", "1e99999999999999999999999"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("amount", "binary", "text"),
    [
        ("0", False, "0"), ("1000", False, "1k"), ("1500", False, "1500"), ("0.5", False, "500m"),
        ("1048576", True, "1Mi"), ("1000", True, "1000"), ("0.0000001", False, "100n"),
        ("0.00000000001", False, "1n"), ("2500000", False, "2500k"),
    ],
)  # fmt: skip
def test_amounts_as_text(amount: str, binary: bool, text: str) -> None:
    assert format_quantity(Decimal(amount), binary=binary) == text

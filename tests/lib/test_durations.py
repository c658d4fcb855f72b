"""Go durations."""

import pytest

from weft.lib.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5), ("250ms", 0.25), ("1m30s", 90), ("1h", 3600), ("0", 0), ("0s", 0), ("1.5s", 1.5),
     ("-2s", -2), ("+1s", 1), (".5s", 0.5), ("100us", 1e-4), ("1h0m1s", 3601), ("10ns", 1e-8)],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "1d", "5S", "1m30", "--1s", "1.2.3s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)

"""Aligned text."""

import re

from weft.views.tables import COLOUR, bar, render


def test_columns_align_and_nothing_trails() -> None:
    lines = render(("Name", "Ready"), [("web", "1/1"), ("database", "0/1")])
    assert lines == ["NAME       READY", "web        1/1", "database   0/1"]


def test_colour_does_not_change_widths() -> None:
    plain = render(("Status", "Age"), [("Running", "1s"), ("CrashLoopBackOff", "2s")])
    coloured = render(("Status", "Age"), [("Running", "1s"), ("CrashLoopBackOff", "2s")], COLOUR)
    assert [re.sub(r"\x1b\[\d+m", "", line) for line in coloured] == plain
    assert COLOUR.good in coloured[1]
    assert COLOUR.bad in coloured[2]


def test_empty_table_keeps_its_header() -> None:
    assert render(("Name",), []) == ["NAME"]


def test_bar_is_bounded() -> None:
    assert bar(2.0, 4) == "████"
    assert bar(-1.0, 4) == "░░░░"
    assert bar(0.5, 4) == "██░░"

"""Findings as people read them."""

from weft.api.diagnostics import Diagnostic, render


def test_with_file_and_hint() -> None:
    found = Diagnostic("WEFT0105", "error", "wrong", path="a.b", hint="do", file="f.yaml", line=3)
    assert render(found) == "error[WEFT0105]: wrong\n  f.yaml:3  a.b\n\nhint: do\n"


def test_parts_that_are_absent_leave_no_trace() -> None:
    assert render(Diagnostic("WEFT1", "warning", "odd")) == "warning[WEFT1]: odd\n"
    assert render(Diagnostic("WEFT1", "info", "x", path="a")) == "info[WEFT1]: x\n  a\n"

"""The golden helper itself: it must fail when outputs differ, and see stale ones."""

import pytest
from msgspec import Struct

from tests import golden_support
from tests.golden_support import Golden, stale_files


def test_no_output_is_without_an_input() -> None:
    assert stale_files() == []


def test_a_difference_fails_and_update_records_it(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(golden_support, "GOLDEN", tmp_path)
    with pytest.raises(AssertionError, match="missing"):
        Golden(update=False).check("g", "case", "out", "a\n")
    Golden(update=True).check("g", "case", "out", "a\n")
    Golden(update=False).check("g", "case", "out", "a\n")
    with pytest.raises(AssertionError, match=r"\+b"):
        Golden(update=False).check("g", "case", "out", "b\n")
    assert [p.name for p in stale_files()] == ["case.out"]
    (tmp_path / "g" / "case.in.yaml").write_text("")
    assert stale_files() == []


def test_yaml_leaves_out_defaults() -> None:
    class Inner(Struct, frozen=True):
        x: int
        y: int = 2

    class Outer(Struct, frozen=True):
        inner: tuple[Inner, ...] = ()
        none: str = ""

    assert golden_support.to_yaml(Outer((Inner(1), Inner(1, 3)))) == (
        "inner:\n- x: 1\n- x: 1\n  y: 3\n"
    )

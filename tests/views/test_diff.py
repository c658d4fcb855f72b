"""What would change, for people."""

from weft.offline.differences import Difference, compared
from weft.views.diff import LINES_SHOWN_MAX, diff_lines
from weft.views.tables import COLOUR


def changed(name: str, about: str = "") -> Difference:
    found = compared("listeners", name, {"port": 1}, {"port": 2})
    assert found is not None
    return Difference(found.kind, found.name, found.change, found.lines, about)


def test_nothing_is_no_line() -> None:
    assert list(diff_lines((), {"a": ()})) == []
    assert compared("routes", "80", {"a": 1}, {"a": 1}) is None


def test_a_change_shows_its_lines() -> None:
    assert list(diff_lines((), {"a": (changed("x", "pod default/x"),)})) == [
        "Envoy of node a",
        "~ listeners x  pod default/x",
        "    @@ -1 +1 @@",
        "    -port: 1",
        "    +port: 2",
    ]


def test_equal_changes_are_shown_once() -> None:
    lines = list(diff_lines((), {"a": (changed("x"), changed("y"))}))
    assert lines[1:3] == ["~ listeners x", "~ listeners y"]
    assert lines.count("    -port: 1") == 1


def test_long_ones_end_somewhere() -> None:
    found = compared("routes", "80", None, {str(n): n for n in range(LINES_SHOWN_MAX + 50)})
    assert found is not None
    assert "more lines; -o json shows all" in list(diff_lines((), {"a": (found,)}))[-1]


def test_colours_are_for_terminals() -> None:
    text = "\n".join(diff_lines((), {"a": (changed("x"),)}, COLOUR))
    assert "\x1b[31m-port: 1" in text
    assert "\x1b" not in "\n".join(diff_lines((), {"a": (changed("x"),)}))

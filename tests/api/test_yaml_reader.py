"""YAML as kubectl reads it, lines, and the limits."""

import time
from itertools import pairwise

import pytest

from weft.api import yaml_reader
from weft.api.yaml_reader import Problem, read


def value(text: str) -> object:
    documents, problems = read(text)
    assert not problems
    return documents[0].value


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("yes", True), ("On", True), ("off", False), ("no", False), ("True", True), ("~", None),
        ("", None), ("null", None), ("y", "y"), ("'yes'", "yes"), ("!!str yes", "yes"),
        ("0644", 420), ("0o17", 15), ("0x1f", 31), ("08", 8), ("1_000", 1000), ("-3", -3),
        ("1.5", 1.5), ("1.0", 1), ("1e3", 1000), (".5", 0.5), ("1.2.3", "1.2.3"),
        ("22:22", "22:22"), ("2001-01-01", "2001-01-01"), ("250m", "250m"),
        ("10.0.0.1", "10.0.0.1"),
        ("99999999999999999999", 1e20), ("!!int '7'", 7), ("!!binary aGk=", "hi"),
    ],
)  # fmt: skip
def test_scalars(text: str, meant: object) -> None:
    assert value(f"a: {text}\n") == {"a": meant}


def test_keys_become_text() -> None:
    assert value("80: a\non: b\n1.5: c\n") == {"80": "a", "true": "b", "1.5": "c"}


def test_blocks_and_flows() -> None:
    assert value("a: |\n  x\n  y\nb: >-\n  x\n  y\nc: [1, {d: e}]\n") == {
        "a": "x\ny\n",
        "b": "x y",
        "c": [1, {"d": "e"}],
    }


def test_json_with_tabs_is_yaml() -> None:
    assert value('{\n\t"a": [1, 2],\n\t"b": "x"\n}') == {"a": [1, 2], "b": "x"}


def test_anchors_merge_and_are_copies() -> None:
    found = value("base: &b {x: [1], y: 2}\nm: {<<: *b, y: 3}\nn: *b\nk: {<<: [*b, {z: 1}]}\n")
    assert found["m"] == {"x": [1], "y": 3}
    assert found["k"] == {"x": [1], "y": 2, "z": 1}
    found["n"]["x"].append(2)
    assert found["base"]["x"] == [1]


def test_lines_of_fields_and_items() -> None:
    documents, _ = read("# c\na:\n  b:\n  - x\n  - y: 1\n---\nc: 2\n")
    assert documents[0].lines == {
        ("a",): 2,
        ("a", "b"): 3,
        ("a", "b", 0): 4,
        ("a", "b", 1): 5,
        ("a", "b", 1, "y"): 5,
    }
    assert documents[1].lines == {("c",): 7}
    assert documents[1].line == 7


def problem(text: str) -> Problem:
    (found,) = read(text)[1]
    return found


def test_tab() -> None:
    found = problem("a: 1\nb:\n\tc: 1\n")
    assert (found.line, found.message) == (3, "the line is indented with a tab")


def test_double_key_names_both_lines() -> None:
    found = problem("a: 1\nb: 2\na: 3\n")
    assert (found.line, found.path) == (3, ("a",))
    assert "first in line 1" in found.message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: b: c\n", 1), ("a: [1\n", 2), ("- a\nb: 1\n", 2), ("a: {x\n", 2), ("\x00", 1),
        ("a: !!set {x}\nb: !weird 1\n", 2), ("a: .inf\n", 1), ("? [x]\n: 1\n", 1),
        ("a: 1e999\n", 1),
    ],
)  # fmt: skip
def test_broken_text_names_its_line(text: str, line: int) -> None:
    assert problem(text).line == line


def test_documents_before_the_error_are_given() -> None:
    documents, problems = read("a: 1\n---\nb: [\n")
    assert [d.value for d in documents] == [{"a": 1}]
    assert len(problems) == 1


def test_an_alias_inside_its_own_anchor() -> None:
    assert "no anchor that is complete" in problem("a: &a [*a]\n").message


def test_alias_bomb_is_cut_early() -> None:
    names = "abcdefghijk"
    bomb = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{here}: &{here} [{','.join([f'*{before}'] * 10)}]\n" for before, here in pairwise(names)
    )
    start = time.process_time()
    assert f"more than {yaml_reader.VALUES_MAX} values" in problem(bomb).message
    assert time.process_time() - start < 5


def test_deep_nesting_is_refused() -> None:
    assert "deeper than" in problem("[" * 100_000).message
    assert "deeper than" in problem("{a: " * 5000).message

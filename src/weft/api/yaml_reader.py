"""YAML text to JSON values, with the line of every field. Reads YAML as kubectl does.

That is YAML 1.1 for words (`yes` and `on` are true) and octal numbers (`0644`), without base-60
numbers and dates; a number key becomes a string; a key that stands twice is an error. Built from
parser events on a stack of its own, so that depth and the growth by aliases have limits.
"""

import base64
import binascii
import copy
import math
import re
from collections.abc import Iterator
from typing import Any

import yaml
from msgspec import Struct

Path = tuple[str | int, ...]

DEPTH_MAX = 100
VALUES_MAX = 500_000
"""Values of one file, counting what aliases repeat."""
TEXT_CHARACTERS_MAX = 20_000_000

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
}
_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|0|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_INT64_MAX = 2**63 - 1
_TAG = "tag:yaml.org,2002:"


class Problem(Struct, frozen=True):
    """Something that is no readable YAML."""

    line: int
    message: str
    hint: str = ""
    path: Path = ()


class Parsed(Struct, frozen=True):
    """One document: its JSON value, its first line, and the line of every path in it."""

    value: Any
    line: int
    lines: dict[Path, int]
    sound: bool = True
    """Whether no key stands twice in it."""


class _Unreadable(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def read(text: str) -> tuple[list[Parsed], list[Problem]]:
    """The documents of a text, and what is wrong with it. A syntax error ends the reading;
    documents before it are given."""
    documents: list[Parsed] = []
    problems: list[Problem] = []
    if len(text) > TEXT_CHARACTERS_MAX:
        return [], [Problem(1, f"the text is longer than {TEXT_CHARACTERS_MAX} characters")]
    try:
        for parsed, found in _documents(text):
            problems += found
            if parsed is not None and parsed.value is not None:
                documents.append(parsed)
    except _Unreadable as error:
        problems.append(error.problem)
    except yaml.YAMLError as error:
        problems.append(_syntax(error, text))
    return documents, problems


def _documents(text: str) -> Iterator[tuple[Parsed | None, list[Problem]]]:
    total = 0
    builder: _Builder | None = None
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.DocumentStartEvent):
            builder = _Builder(total)
        elif isinstance(event, yaml.DocumentEndEvent) and builder is not None:
            total = builder.count
            yield builder.finish(), builder.problems
        elif builder is not None and not isinstance(event, yaml.StreamEndEvent):
            builder.take(event)


class _Frame:
    """A list or map that is being filled."""

    def __init__(self, value: Any, at: Path, anchor: str | None, line: int, before: int) -> None:
        self.value = value
        self.at = at
        self.anchor = anchor
        self.line = line
        self.before = before
        self.key: str | None = None
        self.merging = False
        self.merges: list[dict[str, Any]] = []
        self.key_lines: dict[str, int] = {}


class _Builder:
    def __init__(self, count: int) -> None:
        self.count = count
        self.problems: list[Problem] = []
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._lines: dict[Path, int] = {}
        self._root: Any = None
        self._root_line = 1

    def finish(self) -> Parsed:
        return Parsed(self._root, self._root_line, self._lines, not self.problems)

    def take(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, line)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event.anchor or "", line)
        elif isinstance(event, yaml.MappingStartEvent):
            self._open({}, event.anchor, line)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._open([], event.anchor, line)
        else:
            self._close()

    def _fail(self, line: int, message: str, hint: str = "") -> _Unreadable:
        return _Unreadable(Problem(line, message, hint, self._stack[-1].at if self._stack else ()))

    def _grow(self, amount: int, line: int) -> None:
        self.count += amount
        if self.count > VALUES_MAX:
            hint = "aliases (`*name`) repeat all that their anchor holds"
            raise self._fail(line, f"the text has more than {VALUES_MAX} values", hint)

    def _place(self, line: int) -> Path:
        """Where the next value goes; remembers its line."""
        if not self._stack:
            self._root_line = line
            return ()
        top = self._stack[-1]
        if isinstance(top.value, list):
            at = (*top.at, len(top.value))
            self._lines[at] = line
            return at
        return top.at if top.merging or top.key is None else (*top.at, top.key)

    def _open(self, value: Any, anchor: str | None, line: int) -> None:
        if len(self._stack) >= DEPTH_MAX:
            raise self._fail(line, f"values are nested deeper than {DEPTH_MAX} levels")
        top = self._stack[-1] if self._stack else None
        if top and isinstance(top.value, dict) and top.key is None and not top.merging:
            raise self._fail(line, "a key must be plain text, not a list or a map")
        self._grow(1, line)
        if anchor:
            self._anchors.pop(anchor, None)
        self._stack.append(_Frame(value, self._place(line), anchor, line, self.count))

    def _close(self) -> None:
        frame = self._stack.pop()
        for merged in frame.merges:
            for key, value in merged.items():
                frame.value.setdefault(key, value)
        if frame.anchor:
            self._anchors[frame.anchor] = (frame.value, self.count - frame.before + 1)
        self._add(frame.value, frame.line)

    def _alias(self, name: str, line: int) -> None:
        if name not in self._anchors:
            text = f"the alias `*{name}` names no anchor that is complete before it"
            raise self._fail(line, text, f"write `&{name}` before the value it shall repeat")
        value, size = self._anchors[name]
        self._grow(size, line)
        top = self._stack[-1] if self._stack else None
        if top and isinstance(top.value, dict) and top.key is None and not top.merging:
            self._key(value if isinstance(value, str) else _key_text(value), line)
            return
        self._place(line)
        self._add(copy.deepcopy(value), line)

    def _scalar(self, event: Any, line: int) -> None:
        self._grow(1, line)
        plain = bool(event.implicit[0])
        top = self._stack[-1] if self._stack else None
        if top and isinstance(top.value, dict) and top.key is None and not top.merging:
            if plain and event.value == "<<":
                top.merging = True
            else:
                value = self._value(event, plain, line)
                self._key(value if isinstance(value, str) else _key_text(value), line)
            return
        value = self._value(event, plain, line)
        self._place(line)
        if event.anchor:
            self._anchors[event.anchor] = (value, 1)
        self._add(value, line)

    def _key(self, key: str, line: int) -> None:
        top = self._stack[-1]
        earlier = top.key_lines.get(key)
        if earlier is not None:
            message = f"`{key}` stands twice, first in line {earlier}"
            hint = "keep one of the two; YAML allows each key once"
            self.problems.append(Problem(line, message, hint, (*top.at, key)))
        top.key_lines[key] = line
        self._lines[(*top.at, key)] = line
        top.key = key

    def _add(self, value: Any, line: int) -> None:
        if not self._stack:
            self._root = value
            return
        top = self._stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.merging:
            maps = value if isinstance(value, list) else [value]
            if not all(isinstance(item, dict) for item in maps):
                raise self._fail(line, "`<<` needs a map, or a list of maps, to merge")
            top.merges += maps
            top.merging = False
        elif top.key is not None:
            top.value[top.key] = value
            top.key = None

    def _value(self, event: Any, plain: bool, line: int) -> Any:
        tag = event.tag or ""
        if tag in ("", "!") or tag == f"{_TAG}str":
            if not plain or tag:
                return event.value
        elif tag == f"{_TAG}binary":
            return self._binary(event.value, line)
        elif tag.removeprefix(_TAG) not in ("int", "float", "bool", "null"):
            raise self._fail(line, f"the tag `{tag}` has no meaning here", "leave the tag out")
        try:
            return scalar(event.value)
        except ValueError as error:
            raise self._fail(line, str(error)) from error

    def _binary(self, text: str, line: int) -> str:
        try:
            return base64.b64decode(text).decode()
        except (binascii.Error, ValueError) as error:
            raise self._fail(line, "`!!binary` needs base64 of UTF-8 text") from error


def scalar(text: str) -> Any:
    """What an unquoted word means. Raises ValueError for infinity and not-a-number."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        number = _integer(text.replace("_", ""))
        return number if abs(number) <= _INT64_MAX else float(number)
    if _NO_NUMBER.fullmatch(text):
        raise ValueError(f"`{text}` is no number that JSON knows")
    if _FLOAT.fullmatch(text):
        value = float(text)
        if math.isinf(value):
            raise ValueError(f"`{text}` is too large a number")
        whole = value.is_integer() and abs(value) <= _INT64_MAX
        return int(value) if whole else value
    return text


def _integer(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567"
    return sign * (int(digits, 8) if octal else int(digits, 0))


def _key_text(value: Any) -> str:
    """A key as JSON must have it: text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def _syntax(error: yaml.YAMLError, text: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        position = int(getattr(error, "position", 0) or 0)
        line = text[:position].count("\n") + 1
        return Problem(line, "the text has a character that YAML does not allow")
    line = mark.line + 1
    rows = text.split("\n")
    row = rows[mark.line] if mark.line < len(rows) else ""
    if "\t" in row[: len(row) - len(row.lstrip())]:
        return Problem(line, "the line is indented with a tab", "YAML indents with spaces only")
    message = getattr(error, "problem", None) or getattr(error, "context", None) or str(error)
    hint = _syntax_hint(str(message))
    return Problem(line, f"this is no valid YAML: {message}", hint)


def _syntax_hint(message: str) -> str:
    if "mapping values are not allowed" in message:
        return "a value that contains `: ` needs quotes; or the indentation is wrong"
    if "did not find expected '-' indicator" in message or "did not find expected key" in message:
        return "look at the indentation of this line and of the one before"
    if "expected ',' or" in message:
        return "a bracket is not closed"
    return ""

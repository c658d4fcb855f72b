"""What the command prints and how: colour, errors, JSON and YAML."""

import json
import os
import shutil
import sys
from collections.abc import Iterable
from typing import Any, NoReturn

import yaml

from weft.views.tables import COLOUR, PLAIN, Style

PIPE_COLUMNS = 1000


def style(stream: Any = None) -> Style:
    """Colour only for terminals and never with NO_COLOR (no-color.org) or TERM=dumb."""
    stream = stream or sys.stdout
    off = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    if os.environ.get("FORCE_COLOR"):
        return COLOUR
    return COLOUR if stream.isatty() and not off else PLAIN


def lines(text: Iterable[str]) -> None:
    for line in text:
        print(line)


def columns() -> int:
    """Of the terminal."""
    return shutil.get_terminal_size().columns


def width() -> int:
    """The columns that tables may have: the terminal's, all they like in a pipe or a file."""
    return columns() if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_COLUMNS


def note(text: str) -> None:
    """Progress and hints go to stderr, so that pipes see only data."""
    print(text, file=sys.stderr, flush=True)


def error(message: str) -> None:
    """Say what is wrong."""
    colours = style(sys.stderr)
    print(f"{colours.bad}error:{colours.reset} {message}", file=sys.stderr)


def fail(message: str, hint: str = "", code: int = 1) -> NoReturn:
    """End the command with an error that says what is wrong and what to do."""
    error(message)
    if hint:
        colours = style(sys.stderr)
        print(f"{colours.bold}hint:{colours.reset} {hint}", file=sys.stderr)
    sys.exit(code)


def structured(value: Any, form: str) -> None:
    """Print as `json` or `yaml`; who owns which field is left out, as kubectl does."""
    for obj in (value, *(value.get("items") or ())) if isinstance(value, dict) else ():
        (obj.get("metadata") or {}).pop("managedFields", None)
    if form == "json":
        print(json.dumps(value, indent=4, ensure_ascii=False))
    else:
        print(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), end="")

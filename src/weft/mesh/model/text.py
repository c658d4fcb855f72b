"""Matches on texts."""

from typing import Literal

from msgspec import Struct


class StringMatch(Struct, frozen=True, gc=False):
    """`regex` is RE2 and must match the whole value; `present` ignores `value`. A
    `template` is a path with the operators `{*}` (one segment) and `{**}` (any number)."""

    kind: Literal["exact", "prefix", "suffix", "regex", "template", "present"]
    value: str = ""

"""Paths as the proxy reads them: normalised on arrival, taken apart for matches.

Source: Envoy's `normalize_path` (RFC 3986, section 6) and its reading of query strings.
"""

import re

_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def normalised(path: str) -> str:
    """A request's path as routes see it: no fragment, no dot segments, nothing escaped that need
    not be."""
    path = path.partition("#")[0]
    bare, mark, query = path.partition("?")
    bare = _ESCAPE.sub(_unescaped, bare).replace("\\", "/")
    return _without_dots(bare) + mark + query


def _unescaped(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return character if character in _UNRESERVED else found[0]


def _without_dots(path: str) -> str:
    """RFC 3986, section 5.2.4. Empty segments stay."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if segment not in (".", ".."):
            kept.append(segment)
            continue
        if segment == ".." and kept:
            kept.pop()
        if last:
            kept.append("")
    return "/" + "/".join(kept)


def without_query(path: str) -> str:
    """What conditions on paths look at."""
    return path.partition("?")[0]


def query_parameters(path: str) -> dict[str, str]:
    """Name -> first value, as they are written."""
    found: dict[str, str] = {}
    for part in path.partition("?")[2].split("&"):
        name, _, value = part.partition("=")
        if part:
            found.setdefault(name, value)
    return found

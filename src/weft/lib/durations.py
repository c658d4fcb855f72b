"""Go durations ("1h30m", "250ms") as seconds. Source: the syntax of Go's time.ParseDuration."""

import re

_UNITS = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3,
    "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_WHOLE = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+")


def parse_duration(text: str) -> float:
    """Seconds. Raises ValueError naming the text. `0` alone needs no unit."""
    word = text.strip()
    if word in ("0", "+0", "-0"):
        return 0.0
    if not _WHOLE.fullmatch(word):
        raise ValueError(f"`{text}` is not a duration (examples: 5s, 250ms, 1m30s)")
    total = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(word))
    return -total if word.startswith("-") else total

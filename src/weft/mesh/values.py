"""Values as users write them, read with a finding instead of an exception."""

import ipaddress
import math
import re
from collections.abc import Callable

from weft.lib.durations import parse_duration

# RE2 is what the proxy runs: linear time, so no look-around and no back references, which Python's
# re would accept.
_NOT_RE2 = (
    (re.compile(r"(?<!\\)(?:\\\\)*\(\?(?:[=!>]|<[=!])"), "look-around is not supported"),
    (re.compile(r"(?<!\\)(?:\\\\)*\\[1-9]"), "back references are not supported"),
    (re.compile(r"(?<!\\)(?:\\\\)*\(\?\("), "conditionals are not supported"),
    (re.compile(r"(?<!\\)(?:\\\\)*[*+?}]\+"), "possessive quantifiers are not supported"),
)
# RE2 spellings that Python's re lacks, by something that is equally valid in both.
_RE2_ONLY = (
    (re.compile(r"\[:\^?[a-z]+:\]"), "a"),
    (re.compile(r"\\[pP](?:\{\^?\w+\}|[A-Z])"), "a"),
    (re.compile(r"\\[zCQE]"), ""),
    (re.compile(r"\(\?[imsU]+(?:-[imsU]+)?\)"), ""),
    (re.compile(r"\(\?[imsU]*(?:-[imsU]+)?:"), "(?:"),
)
REGEX_LENGTH_MAX = 1024
"""Characters; Istio's limit for expressions in routes."""


def regex_problem(regex: str) -> str | None:
    """Why an expression is no valid RE2 one, or None. Sound expressions that mix rare features may
    be refused; what passes is accepted by Envoy, which would refuse a whole table otherwise."""
    if not regex:
        return "it is empty"
    if len(regex) > REGEX_LENGTH_MAX:
        return f"longer than {REGEX_LENGTH_MAX} characters"
    for pattern, problem in _NOT_RE2:
        if pattern.search(regex):
            return problem
    for pattern, instead in _RE2_ONLY:
        regex = pattern.sub(instead, regex)
    try:
        re.compile(regex)
    except (re.error, OverflowError, RecursionError) as error:
        return str(error)
    return None


def seconds(
    text: str, default: float | None, problem: Callable[[str], None], least: float = 0.0
) -> float | None:
    """A duration; `default` when it is empty, or unreadable, or too small, which is reported."""
    if not text:
        return default
    try:
        value = parse_duration(text)
    except ValueError as error:
        problem(str(error))
        return default
    if value < least:
        problem(f"`{text}` is less than the least value, {least:g}s")
        return default
    return value


GRPC_STATUSES = (
    "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
    "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
"""Names of the gRPC statuses from 1 on."""


def grpc_status(text: str) -> int | None:
    """The number of a gRPC status given by name or number, 1 to 16; None for anything else."""
    if text.isascii() and text.isdigit():
        number = int(text)
        return number if 1 <= number <= len(GRPC_STATUSES) else None
    name = text.upper()
    return GRPC_STATUSES.index(name) + 1 if name in GRPC_STATUSES else None


def is_prime(number: int) -> bool:
    """Whether a number is a prime."""
    return number > 1 and all(number % d for d in range(2, math.isqrt(number) + 1))


def is_ip(text: str) -> bool:
    """Whether a text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_network(text: str) -> bool:
    """Whether a text is an address or a CIDR block."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def network(text: str) -> str:
    """The one way in which an address or a CIDR block is written here, so that two that mean the
    same are the same: `10.0.0.1` for `10.0.0.1/32`, `10.0.0.0/8` for `10.1.2.3/8`."""
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return text  # refused elsewhere
    return str(found.network_address if found.num_addresses == 1 else found)

"""The string formats of OpenAPI schemas that are checked; unknown ones are not. Pure."""

import datetime
import ipaddress
import re
from collections.abc import Callable, Mapping

from weft.lib.durations import parse_duration

_HOST = re.compile(r"([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.?)+")
_UUID = re.compile(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_BYTE = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_HOST_CHARACTERS_MAX = 255


def _reads(function: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            function(text)
        except ValueError:
            return False
        return True

    return check


def _date_time(text: str) -> bool:
    return bool(_TIME.fullmatch(text)) and _reads(datetime.datetime.fromisoformat)(text)


def _uri(text: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+|/\S*", text))


def _email(text: str) -> bool:
    return bool(re.fullmatch(r"[^@\s]+@[^@\s]+", text))


FORMATS: Mapping[str, Callable[[str], bool]] = {
    "date-time": _date_time,
    "date": _reads(datetime.date.fromisoformat),
    "duration": _reads(parse_duration),
    "byte": lambda text: bool(_BYTE.fullmatch(text)),
    "email": _email,
    "hostname": lambda text: len(text) <= _HOST_CHARACTERS_MAX and bool(_HOST.fullmatch(text)),
    "ipv4": _reads(ipaddress.IPv4Address),
    "ipv6": _reads(ipaddress.IPv6Address),
    "cidr": lambda text: "/" in text and _reads(ipaddress.ip_interface)(text),
    "mac": lambda text: bool(re.fullmatch(r"([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}", text)),
    "uri": _uri,
    "uuid": lambda text: bool(_UUID.fullmatch(text)),
}

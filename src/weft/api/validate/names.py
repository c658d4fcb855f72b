"""Syntax of names, labels, ports and quantities, with Kubernetes' messages."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

from weft.api.field_errors import FieldError, Location, duplicate, invalid, required
from weft.lib.quantity import parse_quantity

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS1123_LABEL = re.compile(_LABEL)
_DNS1123_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_DNS1035_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_PORT_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")

LABEL_LENGTH_MAX = 63
SUBDOMAIN_LENGTH_MAX = 253
PORT_NAME_LENGTH_MAX = 15
PORT_MAX = 65535

_ALNUM_ENDS = "and must start and end with an alphanumeric character"
TEXT_LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    f"{_ALNUM_ENDS} (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
TEXT_SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    f"'.', {_ALNUM_ENDS} (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
TEXT_1035 = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
    "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
TEXT_LABEL_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    f"{_ALNUM_ENDS} (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
TEXT_QUALIFIED = (
    f"name part must consist of alphanumeric characters, '-', '_' or '.', {_ALNUM_ENDS} (e.g. "
    "'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
TEXT_CONFIG_KEY = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name', "
    " or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
TEXT_PORT = "must be between 1 and 65535, inclusive"
TEXT_NOT_NEGATIVE = "must be greater than or equal to 0"


def _problem(text: str, pattern: re.Pattern[str], longest: int, message: str) -> str:
    if len(text) > longest:
        return f"must be no more than {longest} characters"
    return "" if pattern.fullmatch(text) else message


def label_problem(text: str) -> str:
    """What is wrong with a DNS-1123 label; "" when it is one."""
    return _problem(text, _DNS1123_LABEL, LABEL_LENGTH_MAX, TEXT_LABEL)


def subdomain_problem(text: str) -> str:
    return _problem(text, _DNS1123_SUBDOMAIN, SUBDOMAIN_LENGTH_MAX, TEXT_SUBDOMAIN)


def label_1035_problem(text: str) -> str:
    return _problem(text, _DNS1035_LABEL, LABEL_LENGTH_MAX, TEXT_1035)


def label_value_problem(text: str) -> str:
    return _problem(text, _LABEL_VALUE, LABEL_LENGTH_MAX, TEXT_LABEL_VALUE)


def config_key_problem(text: str) -> str:
    if text in (".", ".."):
        return f"must not be '{text}'"
    return _problem(text, _CONFIG_KEY, SUBDOMAIN_LENGTH_MAX, TEXT_CONFIG_KEY)


def qualified_name_problem(text: str) -> str:
    """`name` or `prefix/name`, as in label keys."""
    prefix, slash, name = text.rpartition("/")
    if slash and (problem := subdomain_problem(prefix)):
        return f"prefix part {problem}"
    if not name:
        return "name part must be non-empty"
    return _problem(name, _QUALIFIED, LABEL_LENGTH_MAX, TEXT_QUALIFIED)


def port_name_problem(text: str) -> str:
    if len(text) > PORT_NAME_LENGTH_MAX:
        return f"must be no more than {PORT_NAME_LENGTH_MAX} characters"
    if not re.fullmatch(r"[-a-z0-9]+", text):
        return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
    if not re.search(r"[a-z]", text):
        return "must contain at least one letter (a-z)"
    if "--" in text:
        return "must not contain consecutive hyphens"
    return "" if _PORT_NAME.fullmatch(text) else "must not begin or end with a hyphen"


def port_number(value: Any, at: Location) -> list[FieldError]:
    if not isinstance(value, int):
        return []
    return [] if 1 <= value <= PORT_MAX else [invalid(at, value, TEXT_PORT)]


def port_number_or_name(value: Any, at: Location) -> list[FieldError]:
    if isinstance(value, int):
        return port_number(value, at)
    problem = port_name_problem(str(value))
    return [invalid(at, value, problem)] if problem else []


def not_negative(obj: Mapping[str, Any], at: Location, *keys: str) -> list[FieldError]:
    return [
        invalid((*at, key), obj[key], TEXT_NOT_NEGATIVE)
        for key in keys
        if isinstance(obj.get(key), int) and obj[key] < 0
    ]


def named(text: Any, at: Location, problem: str) -> list[FieldError]:
    """Required, else the problem that its syntax has."""
    if not text:
        return [required(at)]
    return [invalid(at, text, problem)] if problem else []


def labels(values: Mapping[str, Any] | None, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    for key, value in (values or {}).items():
        if problem := qualified_name_problem(key):
            errors.append(invalid(at, key, problem))
        if problem := label_value_problem(value or ""):
            errors.append(invalid(at, value, problem))
    return errors


def label_selector(selector: Mapping[str, Any] | None, at: Location) -> list[FieldError]:
    found = selector or {}
    errors = labels(found.get("matchLabels"), (*at, "matchLabels"))
    for index, need in enumerate(found.get("matchExpressions") or ()):
        here = (*at, "matchExpressions", index)
        operator, values = need.get("operator"), need.get("values") or ()
        if operator in ("In", "NotIn"):
            if not values:
                text = "must be specified when `operator` is 'In' or 'NotIn'"
                errors.append(required((*here, "values"), text))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                errors.append(invalid((*here, "values"), list(values), text))
        else:
            errors.append(invalid((*here, "operator"), operator, "not a valid selector operator"))
        if problem := qualified_name_problem(need.get("key") or ""):
            errors.append(invalid((*here, "key"), need.get("key"), problem))
    return errors


def unique(values: Iterable[tuple[Location, Any]]) -> list[FieldError]:
    """An error for every value that came before."""
    seen: set[Any] = set()
    errors: list[FieldError] = []
    for at, value in values:
        if value in seen:
            errors.append(duplicate(at, value if not isinstance(value, tuple) else list(value)))
        seen.add(value)
    return errors


def quantity(value: Any, at: Location) -> list[FieldError]:
    try:
        amount = parse_quantity(value)
    except ValueError:
        text = (
            "quantities must match the regular expression "
            "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        )
        return [invalid(at, value, text, "examples: 250m, 1.5, 128Mi")]
    return [invalid(at, str(value), TEXT_NOT_NEGATIVE)] if amount < 0 else []


def ip_problem(text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
    return ""


def cidr_problem(text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
    return ""

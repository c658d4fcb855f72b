"""What Kubernetes adds to CEL: quantities, URLs, addresses, versions, named formats. Pure."""

import ipaddress
import urllib.parse
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from weft.api.cel.strings import compiled
from weft.api.cel.syntax import CelError
from weft.api.cel.values import NONE, Opaque, OptionalOf, no_overload
from weft.lib.quantity import parse_quantity

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _text(function: str, value: Any) -> str:
    if not isinstance(value, str):
        raise no_overload(function, value)
    return value


def _succeeds(function: Callable[[Any], Any], name: str) -> Callable[[Any], bool]:
    def run(value: Any) -> bool:
        _text(name, value)
        try:
            function(value)
        except CelError:
            return False
        return True

    return run


class Quantity(Opaque):
    type_name = "kubernetes.Quantity"

    def __init__(self, number: Decimal) -> None:
        self.number = number

    def same(self, other: Opaque) -> bool:
        return isinstance(other, Quantity) and self.number == other.number


def _quantity(value: Any) -> Quantity:
    try:
        return Quantity(parse_quantity(_text("quantity", value)))
    except ValueError as error:
        raise CelError(
            "quantities must match the regular expression "
            "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        ) from error


def _amount(name: str, value: Any) -> Decimal:
    if isinstance(value, Quantity):
        return value.number
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    raise no_overload(name, value)


class Url(Opaque):
    type_name = "kubernetes.URL"

    def __init__(self, parts: urllib.parse.SplitResult) -> None:
        self.parts = parts

    def same(self, other: Opaque) -> bool:
        return isinstance(other, Url) and self.parts == other.parts


def _url(value: Any) -> Url:
    text = _text("url", value)
    try:
        parts = urllib.parse.urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise CelError(f"URL parse error during conversion from string: {error}") from error
    if not (parts.scheme and (parts.netloc or parts.path)) and not text.startswith("/"):
        raise CelError(f'URL parse error during conversion from string: parse "{text}": '
                       "invalid URI for request")  # fmt: skip
    return Url(parts)


def _of_url(name: str, read: Callable[[urllib.parse.SplitResult], Any]) -> Callable[[Any], Any]:
    def run(value: Any) -> Any:
        if not isinstance(value, Url):
            raise no_overload(name, value)
        return read(value.parts)

    return run


def _host_name(parts: urllib.parse.SplitResult) -> str:
    host = parts.netloc.rpartition("@")[2]
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


class Ip(Opaque):
    type_name = "net.IP"

    def __init__(self, address: Address) -> None:
        self.address = address

    def same(self, other: Opaque) -> bool:
        return isinstance(other, Ip) and self.address == other.address

    def __str__(self) -> str:
        return str(self.address)


def _ip(value: Any) -> Ip:
    if isinstance(value, Cidr):
        return Ip(value.interface.ip)
    text = _text("ip", value)
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise CelError(f'IP Address "{text}" parse error during conversion from string') from error
    if "%" in text or (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped):
        raise CelError(f'IP Address "{text}" with zone or mapped IPv4 is not allowed')
    return Ip(address)


def _of_ip(name: str, read: Callable[[Address], Any]) -> Callable[[Any], Any]:
    def run(value: Any) -> Any:
        if not isinstance(value, Ip):
            raise no_overload(name, value)
        return read(value.address)

    return run


def _is_canonical(value: Any) -> bool:
    return bool(str(_ip(_text("ip.isCanonical", value)).address) == value)


def _is_global(address: Address) -> bool:
    special = address.is_unspecified or address.is_loopback or address.is_multicast
    broadcast = str(address) == "255.255.255.255"
    return not (special or address.is_link_local or broadcast)


class Cidr(Opaque):
    type_name = "net.CIDR"

    def __init__(self, interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> None:
        self.interface = interface

    def same(self, other: Opaque) -> bool:
        return isinstance(other, Cidr) and self.interface == other.interface

    def contains(self, other: Any) -> bool:
        raise no_overload("contains", self, other)

    def __str__(self) -> str:
        return str(self.interface)


def _cidr(value: Any) -> Cidr:
    text = _text("cidr", value)
    try:
        if "/" not in text:
            raise ValueError("no prefix")
        return Cidr(ipaddress.ip_interface(text))
    except ValueError as error:
        message = f'network address parse error during conversion from string "{text}": {error}'
        raise CelError(message) from error


def _network(name: str, value: Any) -> Any:
    if not isinstance(value, Cidr):
        raise no_overload(name, value)
    return value.interface.network


def _contains_ip(value: Any, other: Any) -> bool:
    address = other if isinstance(other, Ip) else _ip(other)
    return bool(address.address in _network("containsIP", value))


def _contains_cidr(value: Any, other: Any) -> bool:
    outer = _network("containsCIDR", value)
    inner = _network("containsCIDR", other if isinstance(other, Cidr) else _cidr(other))
    return bool(inner.version == outer.version and inner.subnet_of(outer))


SEMVER_CHARACTERS_MAX = 1024


class Semver(Opaque):
    type_name = "kubernetes.Semver"

    def __init__(self, text: str) -> None:
        found = compiled(
            r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
            r"(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$"
        ).search(text)
        if found is None or len(text) > SEMVER_CHARACTERS_MAX:
            raise CelError(f"no valid semantic version: {text[:100]!r}")
        self.numbers = tuple(int(found[at]) for at in (1, 2, 3))
        self.order = (self.numbers, _prerelease(found[4]))

    def same(self, other: Opaque) -> bool:
        return isinstance(other, Semver) and bool(self.order == other.order)


def _prerelease(text: str | None) -> tuple[Any, ...]:
    """A version without one comes after all that have one."""
    if text is None:
        return (1,)
    parts = [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in text.split(".")]
    return (0, *parts)


def _semver(value: Any) -> Semver:
    return Semver(_text("semver", value))


def _compared(name: str, left: Any, right: Any) -> int:
    if isinstance(left, Semver) and isinstance(right, Semver):
        return (left.order > right.order) - (left.order < right.order)
    before, after = _amount(name, left), _amount(name, right)
    return (before > after) - (before < after)


def _version_part(name: str, at: int) -> Callable[[Any], int]:
    def run(value: Any) -> int:
        if not isinstance(value, Semver):
            raise no_overload(name, value)
        return value.numbers[at]

    return run


# ------------------------------------------------------------------ named formats

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_FORMATS: Mapping[str, tuple[str, int]] = {
    "dns1123Label": (f"^{_LABEL}$", 63),
    "dns1123Subdomain": (rf"^{_LABEL}(\.{_LABEL})*$", 253),
    "dns1035Label": ("^[a-z]([-a-z0-9]*[a-z0-9])?$", 63),
    "dns1123LabelPrefix": (f"^{_LABEL}-?$", 63),
    "dns1123SubdomainPrefix": (rf"^{_LABEL}(\.{_LABEL})*[-.]?$", 253),
    "dns1035LabelPrefix": ("^[a-z]([-a-z0-9]*[a-z0-9])?-?$", 63),
    "qualifiedName": (rf"^({_LABEL}(\.{_LABEL})*/)?{_QUALIFIED}$", 317),
    "labelValue": (f"^({_QUALIFIED})?$", 63),
    "uuid": ("^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$", 36),
    "byte": ("^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$", 1 << 20),
    "date": (r"^\d{4}-\d{2}-\d{2}$", 10),
    "datetime": (r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$", 64),
    "uri": (r"^[A-Za-z][A-Za-z0-9+.-]*:\S+$|^/\S*$", 1 << 20),
}


class Format(Opaque):
    type_name = "kubernetes.NamedFormat"

    def __init__(self, name: str) -> None:
        self.name = name

    def same(self, other: Opaque) -> bool:
        return isinstance(other, Format) and self.name == other.name


def _validate(form: Any, value: Any) -> OptionalOf:
    if not isinstance(form, Format):
        raise no_overload("validate", form, value)
    pattern, longest = _FORMATS[form.name]
    if len(_text("validate", value)) > longest:
        return OptionalOf(True, [f"must be no more than {longest} characters"])
    if compiled(pattern).search(value) is None:
        return OptionalOf(True, [f"does not match the format {form.name}: {pattern}"])
    return NONE


def _named(value: Any) -> OptionalOf:
    name = _text("format.named", value)
    return OptionalOf(True, Format(name)) if name in _FORMATS else NONE


def _format(name: str) -> Callable[[], Format]:
    return lambda: Format(name)


# ------------------------------------------------------------------ the tables


def _sign(value: Any) -> int:
    number = _amount("sign", value)
    return (number > 0) - (number < 0)


def _as_integer(value: Any) -> int:
    number = _amount("asInteger", value)
    if number != int(number) or not -(2**63) <= number < 2**63:
        raise CelError("cannot convert value to integer")
    return int(number)


def _is_integer(value: Any) -> bool:
    number = _amount("isInteger", value)
    return bool(number == int(number) and -(2**63) <= number < 2**63)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "quantity": _quantity,
    "isQuantity": _succeeds(_quantity, "isQuantity"),
    "url": _url,
    "isURL": _succeeds(_url, "isURL"),
    "ip": _ip,
    "isIP": _succeeds(_ip, "isIP"),
    "ip.isCanonical": _is_canonical,
    "cidr": _cidr,
    "isCIDR": _succeeds(_cidr, "isCIDR"),
    "semver": _semver,
    "isSemver": _succeeds(_semver, "isSemver"),
    "format.named": _named,
    **{f"format.{name}": _format(name) for name in _FORMATS},
}
METHODS: Mapping[str, Callable[..., Any]] = {
    "isGreaterThan": lambda a, b: _compared("isGreaterThan", a, b) > 0,
    "isLessThan": lambda a, b: _compared("isLessThan", a, b) < 0,
    "compareTo": lambda a, b: _compared("compareTo", a, b),
    "add": lambda a, b: Quantity(_amount("add", a) + _amount("add", b)),
    "sub": lambda a, b: Quantity(_amount("sub", a) - _amount("sub", b)),
    "sign": _sign,
    "asInteger": _as_integer,
    "isInteger": _is_integer,
    "asApproximateFloat": lambda value: float(_amount("asApproximateFloat", value)),
    "getScheme": _of_url("getScheme", lambda p: p.scheme),
    "getHost": _of_url("getHost", lambda p: p.netloc.rpartition("@")[2]),
    "getHostname": _of_url("getHostname", _host_name),
    "getPort": _of_url("getPort", lambda p: str(p.port) if p.port is not None else ""),
    "getEscapedPath": _of_url("getEscapedPath", lambda p: p.path),
    "getQuery": _of_url("getQuery", lambda p: urllib.parse.parse_qs(p.query, True)),
    "family": _of_ip("family", lambda a: a.version),
    "isUnspecified": _of_ip("isUnspecified", lambda a: a.is_unspecified),
    "isLoopback": _of_ip("isLoopback", lambda a: a.is_loopback),
    "isLinkLocalUnicast": _of_ip("isLinkLocalUnicast", lambda a: a.is_link_local),
    "isLinkLocalMulticast": _of_ip(
        "isLinkLocalMulticast", lambda a: str(a).startswith(("224.0.0.", "ff02:"))
    ),
    "isGlobalUnicast": _of_ip("isGlobalUnicast", _is_global),
    "containsIP": _contains_ip,
    "containsCIDR": _contains_cidr,
    "ip": _ip,
    "masked": lambda value: Cidr(ipaddress.ip_interface(str(_network("masked", value)))),
    "prefixLength": lambda value: _network("prefixLength", value).prefixlen,
    "major": _version_part("major", 0),
    "minor": _version_part("minor", 1),
    "patch": _version_part("patch", 2),
    "validate": _validate,
}

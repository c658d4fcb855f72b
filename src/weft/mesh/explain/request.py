"""The request or connection that is asked about."""

from collections.abc import Iterable, Mapping
from typing import Literal, get_args
from urllib.parse import urlsplit

from msgspec import Struct

from weft.mesh.values import is_ip

Scheme = Literal["http", "https", "grpc", "tcp", "tls", "udp"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
DEFAULT_PORTS = {"http": 80, "https": 443, "tls": 443, "grpc": 80}
"""Ports that clients leave out; those of HTTP are left out of Host as well."""
IN_HOST = {"http": 80, "https": 443}
PORT_MAX = 65535


class RequestError(ValueError):
    """What was asked for is no request; the text says why."""


class Request(Struct, frozen=True):
    """A request as its caller makes it, or a connection (`tcp`, `tls`, `udp`)."""

    host: str
    """A name or an address, without the port; of `tls` and `https` also the server name."""
    port: int = 80
    method: str = "GET"
    path: str = "/"
    """With the query, if any."""
    headers: Mapping[str, str] = {}
    scheme: Scheme = "http"
    address: str = ""
    """What the caller's resolver makes of the host; empty when the mesh does not know it."""

    @property
    def target(self) -> str:
        """The address that the connection is made to; empty when unknown."""
        return self.address or (self.host if is_ip(self.host) else "")

    @property
    def authority(self) -> str:
        """The Host header, as clients write it; a final dot of the name is taken off on arrival."""
        for name, value in self.headers.items():
            if name.lower() in ("host", ":authority"):
                host, colon, port = value.partition(":")
                return host.removesuffix(".") + colon + port
        bare = self.port == IN_HOST.get(self.scheme)
        host = self.host.removesuffix(".")
        return host if bare else f"{host}:{self.port}"

    @property
    def speaks_http(self) -> bool:
        """Whether the proxy of the mesh sees a request in it: not inside of TLS."""
        return self.scheme in ("http", "grpc")

    @property
    def speaks_tls(self) -> bool:
        return self.scheme in ("https", "tls")

    @property
    def text(self) -> str:
        """As one writes it."""
        shown = f"{self.scheme}://{self.host}"
        if self.port != DEFAULT_PORTS.get(self.scheme):
            shown += f":{self.port}"
        if self.scheme in ("http", "https", "grpc"):
            return f"{self.method} {shown}{self.path}"
        return shown


def read_request(method: str, url: str, headers: Iterable[tuple[str, str]] = ()) -> Request:
    """A request from what people type. Raises RequestError."""
    scheme, _, rest = url.rpartition("://")
    found = next((s for s in SCHEMES if s == (scheme or "http").lower()), None)
    if found is None:
        raise RequestError(f"`{scheme}` is none of {', '.join(SCHEMES)}")
    try:
        parts = urlsplit(f"//{rest}")
        port = parts.port
    except ValueError as error:
        raise RequestError(f"`{url}` is no URL: {error}") from error
    if not parts.hostname:
        raise RequestError(f"`{url}` names no host")
    if port is None:
        port = DEFAULT_PORTS.get(found)
    if port is None:
        raise RequestError(f"`{url}` names no port: write `{found}://{parts.hostname}:PORT`")
    if not 1 <= port <= PORT_MAX:
        raise RequestError(f"{port} is no port")
    merged: dict[str, str] = {}
    for name, value in headers:
        key = next((k for k in merged if k.lower() == name.lower()), name)
        merged[key] = f"{merged[key]},{value}" if key in merged else value
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Request(
        host=parts.hostname,
        port=port,
        method=method.upper() if found in ("http", "https", "grpc") else "",
        path=path,
        headers=merged,
        scheme=found,
    )


def read_header(text: str) -> tuple[str, str]:
    """`name: value` as curl takes it. Raises RequestError."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise RequestError(f"`{text}` is no header: write `NAME: VALUE`")
    return name.strip(), value.strip()

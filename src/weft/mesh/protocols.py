"""Which protocol a port speaks: declared by appProtocol or the port's name, else found out."""

from weft.mesh.model import AppProtocol

_BY_WORD: dict[str, AppProtocol] = {
    "http": "http",
    "http2": "http2",
    "grpc": "grpc",
    "grpc-web": "grpc",
    "https": "tls",
    "tls": "tls",
    "tcp": "tcp",
    "mongo": "tcp",
    "mysql": "tcp",
    "postgres": "tcp",
    "redis": "tcp",
}
_BY_APP_PROTOCOL: dict[str, AppProtocol] = {
    "kubernetes.io/h2c": "http2",
    "kubernetes.io/ws": "http",
    "kubernetes.io/wss": "tls",
    "ws": "http",
    "wss": "tls",
}
WORDS = (*_BY_WORD, *_BY_APP_PROTOCOL)
"""What a port may declare."""
TCP_PORTS = frozenset(
    {21, 22, 25, 53, 110, 143, 587, 2181, 3306, 5432, 5672, 6379, 9092, 11211, 27017}
)
"""Ports of well-known protocols that are not HTTP (most have the server speak first, so waiting
for the client's bytes would only delay them): never looked into unless declared otherwise."""

HTTP: frozenset[AppProtocol] = frozenset({"http", "http2", "grpc", "auto"})
"""Protocols whose requests are routed one by one."""
BYTES: frozenset[AppProtocol] = frozenset({"tcp", "tls", "auto"})
"""Protocols whose connections may be routed as a whole."""


def declared(name: str, app_protocol: str) -> AppProtocol | None:
    """The protocol a port declares, or None. `name` is the prefix up to the first dash, as Istio
    reads port names; grpc-web is the one word with a dash."""
    if app_protocol:
        word = app_protocol.lower()
        found = _BY_APP_PROTOCOL.get(word) or _BY_WORD.get(word)
        if found:
            return found
    name = name.lower()
    if name == "grpc-web" or name.startswith("grpc-web-"):
        return _BY_WORD["grpc-web"]
    return _BY_WORD.get(name.partition("-")[0])


def of_port(name: str, app_protocol: str, transport: str, number: int) -> AppProtocol | None:
    """The protocol of a Kubernetes service port. `transport` is TCP, UDP or SCTP ("" is TCP);
    None when the mesh does not carry it."""
    if transport == "UDP":
        return "udp"
    if transport not in ("", "TCP"):
        return None
    return declared(name, app_protocol) or ("tcp" if number in TCP_PORTS else "auto")


def undeclared(name: str, app_protocol: str, transport: str, number: int) -> bool:
    """Whether a Kubernetes service port leaves its protocol open."""
    return of_port(name, app_protocol, transport, number) == "auto"


def of_istio(protocol: str, number: int) -> AppProtocol:
    """The protocol of a port of an Istio object (HTTP, HTTPS, GRPC, GRPC-WEB, ...)."""
    return _BY_WORD.get(protocol.lower()) or ("tcp" if number in TCP_PORTS else "auto")

"""Random requests to the small world, as values and as bytes."""

import ssl
from random import Random
from typing import Literal

from msgspec import Struct

from tests.mesh.agreement.configurations import (
    CALLERS,
    DATAGRAMS,
    EXTERNAL_ADDRESS,
    HEADERS,
    PATHS,
    QUERIES,
    SERVICES,
    VALUES,
    Json,
    node_ports,
)
from weft.mesh.explain import Request

OUTSIDE = -1
GATEWAY_ADDRESS = "10.244.9.1"
ODD_PATHS = (
    "/a/../api", "/api/./v1", "/%61pi", "/api%2Fv1", "//api", "/api//v1", "/items/12?", "/..",
    "/api/..", "/items/%31%32", "/%7Ex", "/api/.", "/%2e%2e/api", "/api;v=1", "/x+y",
    "/items%2f..%2fapi", "/API/", "/items/12;a",
)  # fmt: skip
STRANGERS = ("nowhere", "example.org", "a.wild.example.com", "b.a.wild.example.com",
             "www.example.com", "a.example.com", "wild.example.com", "10.96.0.10")  # fmt: skip
BYTE_PLACES = (
    (("db", "db.default"), "10.96.0.13", 5432),
    (("sec", "sec.default"), "10.96.0.15", 443),
    (("sec.default.svc.cluster.local",), "10.96.0.15", 3306),
    (("mixed",), "10.96.0.14", 80),
    (("mixed",), "10.96.0.14", 8080),
    (("api",), "10.96.0.11", 7777),
    (("ext.example.com",), EXTERNAL_ADDRESS, 443),
    (("a.wild.example.com",), "10.96.0.99", 443),
)
"""Names, address, port of services whose connections are passed on as bytes."""


class Asked(Struct):
    """A request, who makes it, where its connection goes."""

    caller: int
    request: Request
    address: str
    port: int
    """On the wire; a Gateway's port may be bound elsewhere."""
    data: bytes
    id: str = ""


class Asking:
    """Makes requests, most of them for hosts that the objects route."""

    def __init__(self, random: Random, objects: list[Json], gateway_ports: dict[int, int]) -> None:
        self.random = random
        self.gateway_ports = gateway_ports
        self.routed = _routed(objects, "mesh") or [("web", "default")]
        self.served = [host for host, _ in _routed(objects, "edge")] or ["web"]

    def one(self, number: int) -> Asked:
        """A request with this number in its id."""
        random, kind = self.random, self.random.random()
        if kind < 0.35:
            return self._from_outside(number)
        caller = random.randrange(len(CALLERS))
        if kind < 0.85:
            host, port, address = self._place(caller)
            return _asked(random, caller, host, address, port, port, number)
        return self._bytes(caller)

    def _place(self, caller: int) -> tuple[str, int, str]:
        """A host, a port and an address, which belong together most of the time."""
        random = self.random
        if random.random() < 0.55:
            host, namespace = random.choice(self.routed)
            name, _, rest = host.partition(".")
            service = SERVICES.get((rest.partition(".")[0] or namespace, name))
            if service is None:
                return host.replace("*", "a"), 80, random.choice((EXTERNAL_ADDRESS, "10.96.0.99"))
            own = CALLERS[caller][0] == (rest.partition(".")[0] or namespace)
            shown = host if rest or own else f"{host}.{namespace}"
            port = random.choice(service[1])[1]
            return _host(random, (shown,), port), port, _address(random, service[0])
        names, address, port = _place(random)
        return _host(random, names, port), port, address

    def _at_the_node(self, number: int) -> Asked:
        """Somebody outside, at a port of the node for a Service."""
        random = self.random
        port, (_, wanted, transport) = random.choice(list(node_ports().items()))
        if transport == "udp":
            request = Request("n", port, scheme="udp", method="", address=GATEWAY_ADDRESS)
            return Asked(OUTSIDE, request, GATEWAY_ADDRESS, port, b"hello")
        kind = random.random() + (0.5 if wanted in (5432, 3306, 443) else 0)
        if kind < 0.75:
            host = random.choice((f"{GATEWAY_ADDRESS}:{port}", "www.example.com", "web"))
            return _asked(random, OUTSIDE, host, GATEWAY_ADDRESS, port, port, number)
        scheme: Literal["tcp", "tls"] = "tcp" if kind < 1 else "tls"
        data = b"hello\r\n\r\n" if scheme == "tcp" else client_hello("www.example.com")
        name = "www.example.com"
        request = Request(name, port, scheme=scheme, method="", address=GATEWAY_ADDRESS)
        return Asked(OUTSIDE, request, GATEWAY_ADDRESS, port, data)

    def _from_outside(self, number: int) -> Asked:
        random = self.random
        if random.random() < 0.4:
            return self._at_the_node(number)
        port = random.choice((80, 80, 80, *self.gateway_ports))
        wire = self.gateway_ports[port]
        if port in (443, 9443) or random.random() < 0.05:
            name = random.choice(STRANGERS[:-1])
            request = Request(
                host=name, port=port, scheme="tls", method="", address=GATEWAY_ADDRESS
            )
            return Asked(OUTSIDE, request, GATEWAY_ADDRESS, wire, client_hello(name))
        host = random.choice(self.served) if random.random() < 0.6 else random.choice(STRANGERS)
        if "." not in host and random.random() < 0.8:
            host = f"{host}.default.svc.cluster.local"
        if random.random() < 0.2:
            host += f":{wire}"
        host = host.replace("*", "a")
        return _asked(random, OUTSIDE, host, GATEWAY_ADDRESS, port, wire, number)

    def _bytes(self, caller: int) -> Asked:
        random = self.random
        if random.random() < 0.15:
            address, port = DATAGRAMS
            request = Request(host="talk", port=port, scheme="udp", method="", address=address)
            return Asked(caller, request, address, port, b"hello")
        names, address, port = _place(random)
        if random.random() < 0.4:
            names, address, port = random.choice(BYTE_PLACES)
        if random.random() < 0.5:
            request = Request(host=names[0], port=port, scheme="tcp", method="", address=address)
            return Asked(caller, request, address, port, b"hello\r\n\r\n")
        name = random.choice((*names, *STRANGERS[:-1]))
        request = Request(host=name, port=port, scheme="tls", method="", address=address)
        return Asked(caller, request, address, port, client_hello(name))


def _routed(objects: list[Json], gateway: str) -> list[tuple[str, str]]:
    """(host, namespace) of every VirtualService that is for a gateway, or for the mesh."""
    return [
        (host, each["metadata"]["namespace"])
        for each in objects
        if each["kind"] == "VirtualService"
        and any(gateway in g for g in each["spec"].get("gateways") or ["mesh"])
        for host in each["spec"]["hosts"]
    ]


def _address(random: Random, address: str) -> str:
    return address if address != "None" else f"10.245.7.{random.randint(1, 3)}"


def _names(namespace: str, name: str) -> tuple[str, ...]:
    full = f"{name}.{namespace}.svc.cluster.local"
    return (name, f"{name}.{namespace}", f"{name}.{namespace}.svc", full)


def _place(random: Random) -> tuple[tuple[str, ...], str, int]:
    """Names that may stand in Host, an address, a port."""
    if random.random() < 0.15:
        port = random.choice((80, 80, 443, 8080, 5432))
        return STRANGERS, random.choice((EXTERNAL_ADDRESS, "10.96.0.99", "10.245.1.1")), port
    (namespace, name), (address, ports) = random.choice(list(SERVICES.items()))
    address = _address(random, address)
    port = random.choice(ports)[1]
    if random.random() < 0.1:
        port = random.choice((80, 8080))
    return _names(namespace, name), address, port


def _host(random: Random, names: tuple[str, ...], port: int) -> str:
    host = random.choice(names if random.random() < 0.9 else STRANGERS)
    shape = random.random()
    if shape < 0.06:
        host = host.upper()
    elif shape < 0.12 and not host[-1].isdigit():
        host += "."
    if port != 80 or random.random() < 0.1:
        wanted = port if random.random() < 0.9 else 81
        return f"{host}:{wanted}" if random.random() < 0.8 else host
    return host


def _asked(
    random: Random, caller: int, host: str, address: str, port: int, wire: int, number: int
) -> Asked:
    path = random.choice(PATHS if random.random() < 0.85 else ODD_PATHS)
    if random.random() < 0.4:
        pairs = [
            f"{random.choice(QUERIES)}{random.choice(('=7', '=jason', '=', '', '=%37'))}"
            for _ in range(random.randint(1, 2))
        ]
        path += ("" if "?" in path else "?") + "&".join(pairs)
    headers = {"host": host}
    for name in random.sample(HEADERS, random.randint(0, len(HEADERS))):
        headers[name.upper() if random.random() < 0.2 else name] = random.choice(VALUES)
    method = random.choice(("GET", "GET", "GET", "POST", "HEAD", "OPTIONS"))
    if method == "OPTIONS" and random.random() < 0.8:
        headers["Origin"] = random.choice(("http://a.example", "http://b.example"))
        headers["Access-Control-Request-Method"] = "GET"
    request_id = f"id-{number}"
    lines = [f"{method} {path} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items())]
    lines += [f"x-request-id: {request_id}", "connection: close"]
    lines += ["content-length: 0"] if method == "POST" else []
    data = "\r\n".join([*lines, "", ""]).encode()
    request = Request(
        host=host.partition(":")[0], port=port, method=method, path=path, headers=headers,
        address=address,
    )  # fmt: skip
    return Asked(caller, request, address, wire, data, request_id)


_CLIENT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_CLIENT.set_alpn_protocols(["h2", "http/1.1"])


def client_hello(name: str) -> bytes:
    """The first bytes of a TLS connection, as a browser would send them."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = _CLIENT.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake without a server")

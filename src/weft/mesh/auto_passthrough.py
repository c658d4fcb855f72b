"""Servers of mode AUTO_PASSTHROUGH: TLS connections whose server name says port, subset and host
go there as bytes, without any VirtualService."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from msgspec.structs import replace

from weft.api.istio import networking_v1 as istio
from weft.mesh.destinations import named
from weft.mesh.hosts import Host
from weft.mesh.istio_policies import HostRule, Rules
from weft.mesh.model import GatewayServer, TcpRoute, WeightedDestination
from weft.mesh.names import covers

MODE = "AUTO_PASSTHROUGH"
PASSED = "*/passthrough"
"""Marks the destinations that such servers lead to."""
Patterns = tuple[tuple[str, str], ...]
"""(namespace or "", host pattern)."""


class _Server(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def gateway_name(self) -> str: ...
    @property
    def hosts(self) -> Patterns: ...


def server_name(host: str, port: int, subset: str) -> str:
    """What a client asks for, as Istio's proxies do."""
    return f"outbound_.{port}_.{subset}_.{host}"


def passed(host: Host, patterns: Patterns) -> bool:
    """Whether a server with these hosts leads to a host: one of the mesh itself."""
    return (
        not (host.external or host.host.startswith("*"))
        and bool(host.ports)
        and any(ns in ("", host.namespace) and covers(p, host.host) for ns, p in patterns)
    )


def passing_servers(
    server: _Server, hosts: Iterable[Host], rules: Rules, claimed: set[str]
) -> Iterator[GatewayServer]:
    """A server for each port and subset of the hosts."""
    for host in hosts:
        if not passed(host, server.hosts):
            continue
        rule = rules.find(host)
        subsets = ("", *(s.name for s in rule.subsets)) if rule else ("",)
        for port in host.ports:
            for subset in subsets:
                sni = server_name(host.host, port.number, subset)
                if sni in claimed:
                    continue
                claimed.add(sni)
                target = named(host.host, port.number, subset, PASSED)
                route = TcpRoute(
                    addresses=(),
                    port=server.port,
                    destinations=(WeightedDestination(target),),
                    sni_hosts=(sni,),
                    source=f"Gateway {server.gateway_name}",
                )
                yield GatewayServer(f"{server.name}/{sni}", (sni,), "", tcp=route)


def passed_rules(
    hosts: Iterable[Host], gateways: Iterable[istio.Gateway], rules: Rules
) -> Iterator[tuple[str, HostRule]]:
    """The rules for the destinations that such servers lead to, by host."""
    patterns = tuple(
        server_host(host, g.metadata.namespace)
        for g in gateways
        for s in g.spec.servers
        if s.tls is not None and s.tls.mode == MODE
        for host in s.hosts
    )
    for host in hosts if patterns else ():
        if passed(host, patterns):
            yield host.host, replace(rules.find(host) or HostRule(), as_bytes=True)


def server_host(written: str, namespace: str) -> tuple[str, str]:
    """A host of a server: `host`, or `namespace/host` with `.` for the Gateway's own."""
    left, slash, right = written.lower().rpartition("/")
    if not slash:
        return "", written.lower()
    wanted = {".": namespace, "*": ""}.get(left, left)
    return wanted, right

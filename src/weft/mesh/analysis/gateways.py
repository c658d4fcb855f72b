"""Istio Gateways: hosts and certificates that several servers share, certificates of no use."""

from collections.abc import Iterator

from msgspec import Struct

from weft.api.istio import networking_v1 as istio
from weft.api.k8s.core_v1 import Secret
from weft.mesh import findings as f
from weft.mesh.analysis import catalogue as c
from weft.mesh.analysis.certificates import pair_problem
from weft.mesh.analysis.world import World, oldest_first
from weft.mesh.findings import Findings
from weft.mesh.secrets import CERTIFICATE_KEYS, KEY_KEYS, pem, places, plain_name

TLS_PROTOCOLS = ("HTTPS", "TLS")


class _Server(Struct, frozen=True):
    gateway: istio.Gateway
    index: int
    server: istio.Server

    @property
    def port(self) -> int:
        return (self.server.port or istio.ServicePort()).number or 0

    @property
    def bind(self) -> str:
        return istio.bind_address(self.server) or ""

    @property
    def name(self) -> str:
        own = self.gateway.metadata
        return f"Gateway {own.namespace}/{own.name}"

    @property
    def path(self) -> str:
        return f"spec.servers[{self.index}]"


def _servers(world: World) -> Iterator[_Server]:
    for gateway in oldest_first(world.list(istio.Gateway)):
        for index, server in enumerate(gateway.spec.servers):
            if server.port is not None:
                yield _Server(gateway, index, server)


def shared_hosts(world: World, report: Findings) -> None:
    """Hosts that several plain HTTP servers claim on one port."""
    claimed: dict[tuple[str, int, str, str], istio.Gateway] = {}
    for each in _servers(world):
        if each.server.port is None or each.server.port.protocol.upper() != "HTTP":
            continue
        for host in each.server.hosts:
            scope, _, name = host.rpartition("/")
            owner = claimed.setdefault((each.bind, each.port, scope, name), each.gateway)
            if owner is not each.gateway:
                report.add(
                    f.GATEWAY_HOST_SHARED,
                    each.gateway,
                    f"{each.path}.hosts",
                    host=host,
                    port=each.port,
                    other=f"Gateway {owner.metadata.namespace}/{owner.metadata.name}",
                )


def shared_certificates(world: World, report: Findings) -> None:
    """One certificate at several servers of a port: connections are used for the hosts of both."""
    first: dict[tuple[str, int, str, str], _Server] = {}
    for each in _servers(world):
        if (name := plain_name(_credential(each))) == "":
            continue
        key = (each.bind, each.port, each.gateway.metadata.namespace, name)
        owner = first.setdefault(key, each)
        if owner is not each:
            report.add(
                c.CERTIFICATE_SHARED,
                each.gateway,
                f"{each.path}.tls.credentialName",
                secret=name,
                others=f"{owner.name} ({f.quoted(owner.server.hosts)})",
                port=each.port,
            )


def certificates(world: World, report: Findings) -> None:
    """Secrets with a certificate and a key that a proxy would refuse."""
    for each in _servers(world):
        if not (name := _credential(each)):
            continue
        plain = plain_name(name)
        allowed = places(name, each.gateway.metadata.namespace)
        found = (world.snapshot.get(Secret, plain, place) for place in allowed)
        secret = next((s for s in found if s is not None), None)
        if secret is None:
            continue
        certificate, key = pem(secret, CERTIFICATE_KEYS), pem(secret, KEY_KEYS)
        if certificate and key and (problem := pair_problem(certificate, key)):
            path = f"{each.path}.tls.credentialName"
            report.add(c.CERTIFICATE_UNUSABLE, each.gateway, path, secret=plain, problem=problem)


def _credential(each: _Server) -> str:
    """The Secret of a server that ends TLS, or ""."""
    port, tls = each.server.port, each.server.tls
    if port is None or tls is None or port.protocol.upper() not in TLS_PROTOCOLS:
        return ""
    if tls.mode in ("PASSTHROUGH", "AUTO_PASSTHROUGH"):
        return ""
    return tls.credential_name


CHECKS = (shared_hosts, shared_certificates, certificates)

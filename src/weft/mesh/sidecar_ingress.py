"""What Sidecars say on calls to workloads: where the program listens, limits, TLS that ends at the
workload's proxy.

The proxy listens in the workload's own network, at the port that callers know. Where the program
itself has that port, it listens at another one, and endpoints say so.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from weft.api.istio import networking_v1 as istio
from weft.mesh import findings as f
from weft.mesh.istio_policies import read_pool
from weft.mesh.model import (
    AppProtocol,
    ConnectionPool,
    Destination,
    Endpoint,
    InboundPort,
    IngressListener,
    Workload,
)
from weft.mesh.protocols import of_istio
from weft.mesh.secrets import Place
from weft.mesh.server_certificates import Certificates, server_tls

INSTANCE = ("0.0.0.0", "[::]")  # noqa: S104 - Istio's word for the workload's own address
LOOPBACK = {"127.0.0.1": "127.0.0.1", "[::1]": "::1"}
TLS_MODES = ("SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL")
SHADOWS = (0x4000, 0x8000, 0xC000)
"""What turns a port that the program has into the proxy's."""


class Ingress(Struct, frozen=True):
    """What a Sidecar says on calls to its workloads."""

    listeners: tuple[IngressListener, ...] = ()
    """`bound` is 0 where the program may have the port itself."""
    pool: ConnectionPool | None = None
    """Of the ports that no listener is for."""

    def __bool__(self) -> bool:
        return bool(self.listeners) or self.pool is not None


def read_ingress(sidecar: istio.Sidecar, certificates: Certificates) -> Ingress:
    """`ingress` and `inboundConnectionPool` of a Sidecar; what cannot be is reported."""
    spec, report = sidecar.spec, certificates.report
    pool = spec.inbound_connection_pool
    general = read_pool(sidecar, pool, "spec.inboundConnectionPool", report) if pool else None
    made: dict[int, IngressListener] = {}
    for index, each in enumerate(spec.ingress):
        path = f"spec.ingress[{index}]"
        found = _listener(sidecar, each, path, general, certificates)
        if found is None:
            continue
        if found.port in made:
            report.add(f.PORT_DEFINED_TWICE, sidecar, f"{path}.port", port=found.port)
            continue
        made[found.port] = found
    return Ingress(tuple(made.values()), general)


def _listener(
    sidecar: istio.Sidecar,
    wanted: istio.IstioIngressListener,
    path: str,
    general: ConnectionPool | None,
    certificates: Certificates,
) -> IngressListener | None:
    report = certificates.report
    port = wanted.port.number if wanted.port else None
    if not port or wanted.port is None:
        report.add(f.PORT_MISSING, sidecar, f"{path}.port")
        return None
    if wanted.bind and wanted.bind not in ("0.0.0.0", "::"):  # noqa: S104
        report.add(
            f.SIDECAR_PART, sidecar, f"{path}.bind", field="bind",
            consequence="a workload is called at its own address",
        )  # fmt: skip
    host, _, number = (wanted.default_endpoint or f"{INSTANCE[0]}:{port}").rpartition(":")
    if host not in (*INSTANCE, *LOOPBACK) or not number.isdigit() or not 0 < int(number) < 65536:
        report.add(
            f.ENDPOINT_UNREACHABLE, sidecar, f"{path}.defaultEndpoint",
            endpoint=wanted.default_endpoint,
        )  # fmt: skip
        return None
    tls = None
    if wanted.tls is not None:
        if (wanted.tls.mode or "SIMPLE") not in TLS_MODES:
            report.add(
                f.VALUE_INVALID, sidecar, f"{path}.tls.mode", f"one of {', '.join(TLS_MODES)}",
                problem=f"{wanted.tls.mode} has no meaning at a workload", part="listener",
            )  # fmt: skip
            return None
        namespace = sidecar.metadata.namespace
        place = Place(sidecar, namespace, f"{path}.tls", "this server is closed")
        tls = server_tls(place, wanted.tls, certificates)
        if tls is None:
            return None
    given = wanted.connection_pool
    pool = read_pool(sidecar, given, f"{path}.connectionPool", report) if given else general
    return IngressListener(
        port=port,
        bound=0 if int(number) == port else port,
        protocol=_protocol(wanted.port, tls is not None),
        target=LOOPBACK.get(host, ""),
        target_port=int(number),
        pool=pool or ConnectionPool(),
        tls=tls,
    )


def _protocol(port: istio.ServicePort, ends_tls: bool) -> AppProtocol:
    """What the program speaks."""
    if ends_tls and port.protocol.upper() in ("HTTPS", "TLS"):
        return "http" if port.protocol.upper() == "HTTPS" else "tcp"
    return of_istio(port.protocol, port.number or 0)


def ingress_listeners(
    wanted: Ingress, ports: tuple[InboundPort, ...]
) -> tuple[IngressListener, ...]:
    """The listeners of a workload that serves these ports."""
    if not wanted:
        return ()
    named = {each.port for each in wanted.listeners}
    every = list(wanted.listeners)
    if wanted.pool is not None:
        every += [
            IngressListener(p.port, 0, p.protocol, p.port, pool=wanted.pool)
            for p in ports
            if p.port not in named
        ]
    used = {p.port for p in ports} | named | {each.target_port for each in every}
    made = []
    for each in sorted(every, key=lambda e: e.port):
        idle = each.tls is None and each.pool == ConnectionPool() and not each.target
        if each.bound:
            made.append(each)
        elif not idle:
            shadow = next((s for m in SHADOWS if (s := each.port ^ m) and s not in used), 0)
            used.add(shadow)
            made.append(replace(each, bound=shadow))
    return tuple(each for each in made if each.bound)


def through_ingress(
    destinations: tuple[Destination, ...], workloads: Iterable[Workload]
) -> tuple[Destination, ...]:
    """Destinations whose endpoints are where the proxies listen for their programs."""
    moved = {
        (w.uid, each.port): each.bound
        for w in workloads
        for each in w.ingress
        if each.bound != each.port
    }
    if not moved:
        return destinations

    def endpoint(one: Endpoint) -> Endpoint:
        bound = moved.get((one.pod_uid, one.port)) if one.pod_uid else None
        return one if bound is None else replace(one, port=bound, own_port=one.port)

    return tuple(
        replace(d, endpoints=tuple(map(endpoint, d.endpoints)))
        if d.protocol != "udp" and any((e.pod_uid, e.port) in moved for e in d.endpoints)
        else d
        for d in destinations
    )

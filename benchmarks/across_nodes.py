"""Two nodes of the mesh: a pod of one calls a pod of the other, proxy to proxy over mutual TLS."""

import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Mapping

from msgspec import Struct
from msgspec.structs import replace
from tests.xds.support import service, table, to, virtual_host
from tests.xds.two_nodes import TwoNodes, spiffe

from benchmarks.harness import Process
from benchmarks.instance import answering
from benchmarks.peers import GRPC, HTTP1, HTTP2, TCP
from weft.lib.envoy_binary import envoy_path
from weft.mesh.model import Endpoint, InboundPort, OutboundPort, TcpRoute, WeightedDestination

PORTS: Mapping[str, tuple[int, str, str]] = {
    HTTP1: (8080, "http", "10.96.0.10"),
    HTTP2: (8081, "http2", "10.96.0.11"),
    GRPC: (8082, "grpc", "10.96.0.12"),
    TCP: (8083, "tcp", "10.96.0.13"),
}
"""Where each protocol is served, as what, and at which service's address."""


class Across(Struct, frozen=True):
    network: str
    """The calling pod's network namespace."""
    proxies: tuple[Process, ...]
    urls: Mapping[str, str]
    """By protocol."""


@contextlib.asynccontextmanager
async def across_nodes() -> AsyncIterator[Across]:
    """Needs root."""
    nodes = TwoNodes()
    back_end: subprocess.Popen[bytes] | None = None
    try:
        nodes.a.pod(1)
        nodes.b.pod(1)
        await nodes.start()
        back_end = _serve(nodes)
        await _apply(nodes)
        envoys = tuple(Process(n.envoy.pid) for n in (nodes.a, nodes.b) if n.envoy is not None)
        urls = {name: f"http://{address}/" for name, (_, _, address) in PORTS.items()}
        yield Across(f"/run/netns/{nodes.a.netns(1)}", envoys, urls)
    finally:
        if back_end is not None:
            back_end.terminate()
            back_end.wait(10)
        await nodes.close()


def _serve(nodes: TwoNodes) -> "subprocess.Popen[bytes]":
    config = nodes.b.directory / "answer.json"
    config.write_text(json.dumps(answering("ok", [port for port, _, _ in PORTS.values()])))
    options = ("--concurrency", "1", "--disable-hot-restart", "-l", "error")
    return subprocess.Popen([*nodes.b.inside(1), str(envoy_path()), "-c", str(config), *options])


async def _apply(nodes: TwoNodes) -> None:
    inbound = tuple(InboundPort(port, protocol) for port, protocol, _ in PORTS.values())
    far = nodes.b.workload(1, "web", inbound=inbound)
    destinations, hosts, routes = [], [], []
    for port, protocol, address in PORTS.values():
        end = Endpoint(
            f"{nodes.b.network}.11", port, node=nodes.b.tag, pod_uid="b-1",
            principal=spiffe("web"),
        )  # fmt: skip
        found = service(f"far-{protocol}", (end,), protocol=protocol)
        destinations.append(found)
        if protocol == "tcp":
            routes.append(TcpRoute((address,), 80, (WeightedDestination(found.name),)))
        else:
            hosts.append(virtual_host(f"far-{protocol}", to(found), addresses=(address,)))
    near = nodes.a.workload(
        1, "app", inbound=(InboundPort(8080, "http"),), outbound=(OutboundPort(80, "80"),),
        tcp=tuple(routes),
    )  # fmt: skip
    await nodes.apply(
        workloads=(replace(near, uid="a-1"), replace(far, uid="b-1")),
        destinations=tuple(destinations),
        route_tables=(table(*hosts),),
    )

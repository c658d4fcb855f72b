"""What mutual TLS between nodes costs: the same two proxies, with it and in the clear."""

import asyncio
import os
import shutil
from collections.abc import Iterable

from msgspec.structs import replace
from tests.xds.support import run_async, service, table, to, virtual_host
from tests.xds.two_nodes import TwoNodes, spiffe

from benchmarks.harness import Benchmark, Process, Row, Skipped
from benchmarks.one_hop import Result, parse
from weft.mesh.model import (
    Endpoint,
    InboundPort,
    MeshModel,
    OutboundPort,
    Peers,
    RouteTable,
    Workload,
)
from weft.mesh.scope import scope

SECONDS = 2
ROUNDS = 5
"""In turn, so that all ways see the same machine."""
CONNECTIONS = 16
ADDRESSES = {
    "mutual TLS": "10.96.0.10",
    "in the clear": "10.96.0.10",
    "within a node": "10.96.0.11",
}
PORT = 8080


def mesh(nodes: TwoNodes) -> MeshModel:
    """A caller and a server on A, a server on B."""

    def pod(node: int, number: int, name: str) -> Workload:
        at = (nodes.a, nodes.b)[node]
        found = at.workload(
            number, name, inbound=(InboundPort(PORT, "http"),), outbound=(OutboundPort(80, "80"),)
        )
        return replace(found, uid=f"{node}-{number}")

    def end(node: int, number: int) -> Endpoint:
        at = (nodes.a, nodes.b)[node]
        return Endpoint(
            f"{at.network}.{10 + number}", PORT, node=at.tag, pod_uid=f"{node}-{number}",
            principal=spiffe("web"),
        )  # fmt: skip

    far, near = service("far", (end(1, 1),)), service("near", (end(0, 2),))
    tables: tuple[RouteTable, ...] = (
        table(
            virtual_host("far", to(far), addresses=("10.96.0.10",)),
            virtual_host("near", to(near), addresses=("10.96.0.11",)),
        ),
    )
    workloads = (pod(0, 1, "app"), pod(0, 2, "web"), pod(1, 1, "web"))
    return MeshModel(workloads=workloads, destinations=(far, near), route_tables=tables)


async def in_the_clear(nodes: TwoNodes) -> None:
    """The same calls without certificates, through the callee's own listener."""
    for node in (nodes.a, nodes.b):
        model = scope(nodes.mesh, node.node)
        plain = tuple(
            replace(
                d, endpoints=tuple(replace(e, gate="") for e in d.endpoints),
                through_inbound=d.service == "far",
            )
            for d in model.destinations
        )  # fmt: skip
        alone = replace(model.node, peers=Peers())
        model = replace(model, destinations=plain, entrances=(), node=alone)
        node.server.update(node.tag, node.translator.translate(model))
        await node.until(lambda server, tag=node.tag: server.in_sync(tag))  # type: ignore[misc]


async def load(nodes: TwoNodes, address: str, envoys: list[Process]) -> Result:
    before = sum(each.cpu_seconds() for each in envoys)
    command = ("wrk", "--latency", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", f"http://{address}/")
    text = await run_async(*nodes.a.inside(1), *command)
    return parse(text, sum(each.cpu_seconds() for each in envoys) - before)


async def measure() -> list[Row]:
    nodes = TwoNodes()
    results: dict[str, list[Result]] = {name: [] for name in ADDRESSES}
    try:
        for node, number in ((nodes.a, 1), (nodes.a, 2), (nodes.b, 1)):
            node.pod(number)
        await nodes.start()
        nodes.a.serve(2, "near", PORT)
        nodes.b.serve(1, "far", PORT)
        envoys = [Process(n.envoy.pid) for n in (nodes.a, nodes.b) if n.envoy is not None]
        whole = mesh(nodes)
        fields = {f: getattr(whole, f) for f in ("workloads", "destinations", "route_tables")}
        for _ in range(ROUNDS):
            for name, address in ADDRESSES.items():
                if name == "in the clear":
                    await in_the_clear(nodes)
                else:
                    await nodes.apply(**fields)
                results[name].append(await load(nodes, address, envoys))
    finally:
        await nodes.close()
    return list(rows(results))


def rows(results: dict[str, list[Result]]) -> Iterable[Row]:
    base = "in the clear: CPU of both Envoys for one request"
    for name in ("in the clear", "mutual TLS", "within a node"):
        what = f"{name}: CPU of both Envoys for one request"
        yield Row(what, "µs", tuple(r.envoy for r in results[name]), base)
    base = "in the clear: p50"
    for name in ("in the clear", "mutual TLS", "within a node"):
        yield Row(f"{name}: p50", "ms", tuple(r.p50 for r in results[name]), base)


def run() -> Iterable[Row]:
    needed = ("wrk", "nsenter", "ip", "nft")
    if os.geteuid() != 0 or not all(map(shutil.which, needed)):
        raise Skipped(f"needs root, {', '.join(needed)}")
    return asyncio.run(measure())


BENCHMARK = Benchmark(
    "node_mtls",
    "wrk in a pod calls a pod of another node: proxy to proxy over mutual TLS, the same in the "
    "clear, and for comparison a pod of its own node (one proxy). The back end is a small program "
    "in Python, which limits the rate; what the proxies take for a request is compared.",
    run,
)

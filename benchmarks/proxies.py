"""weft's one hop beside other proxies, in one run: nginx, HAProxy, and a pair of sidecars."""

import asyncio
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import h2load
from benchmarks.harness import Benchmark, Process, Row, Skipped, median
from benchmarks.instance import envoy_back_end, pod, service, weft
from benchmarks.one_hop import Result, load_of
from benchmarks.peers import PEERS, Peer, running
from benchmarks.plot import bars

CONNECTIONS = (1, 16, 256)
ROUNDS = 3
PLOT = Path(__file__).parent / "proxies.svg"
DIRECT, HTTP2 = "direct", "weft, HTTP/2"
RATE, CLIENTS = 1000, 20
AT_RATE = ("--h1", f"-c{CLIENTS}", f"--rps={RATE // CLIENTS}")
OVER_HTTP2 = ("-c1", "-m16")
QUIET = {
    "apiVersion": "telemetry.istio.io/v1",
    "kind": "Telemetry",
    "metadata": {"name": "quiet"},
    "spec": {
        "selector": {"matchLabels": {"app": "quiet"}},
        "metrics": [{"overrides": [{"disabled": True}]}],
    },
}
"""No metrics for the calls of one of the clients."""


class Way:
    """How the client reaches the back end: from which process' network, where, through whom."""

    def __init__(self, pid: int, url: str, proxies: Sequence[Process]) -> None:
        self.pid, self.url, self.proxies = pid, url, proxies


def of_port(name: str, protocol: str) -> dict[str, Any]:
    """The same pods, declared as another protocol."""
    ports = [{"name": protocol, "port": 80, "targetPort": "http"}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": "answer"}, "ports": ports}}  # fmt: skip


async def measure() -> list[Row]:
    async with weft() as instance:
        if instance.isolation != "netns":
            raise Skipped("pods have no network namespaces here")
        envoy_back_end(instance)
        instance.image("sleep:1", instance.directory, "sleep", "3600")
        await instance.apply(
            *(QUIET, service("answer"), of_port("bytes", "tcp"), of_port("h2", "http2"))
        )
        await instance.apply(
            pod("answer", "answer:1", {"app": "answer"}, port=8080),
            pod("client", "sleep:1", {"app": "client"}),
            pod("quiet", "sleep:1", {"app": "quiet"}),
        )
        await instance.ready("", 3)
        address = next(p["address"] for p in await instance.pod_rows() if p["name"] == "answer")
        envoy = (await instance.processes())["Envoy"]
        target = f"{address}:8080"
        urls = {name: await _service_url(instance, name) for name in ("answer", "bytes", "h2")}
        clients = {name: await instance.pod_pid(name) for name in ("client", "quiet")}
        with running(target) as peers:
            ways = {
                DIRECT: Way(os.getpid(), f"http://{target}/", ()),
                "weft": Way(clients["client"], urls["answer"], (envoy,)),
                "weft, metrics off": Way(clients["quiet"], urls["answer"], (envoy,)),
                "weft, as bytes": Way(clients["client"], urls["bytes"], (envoy,)),
                HTTP2: Way(clients["client"], urls["h2"], (envoy,)),
                **{name: _way(peer) for name, peer in peers.items()},
            }
            return await asyncio.to_thread(compared, ways)


async def _service_url(instance: Any, name: str) -> str:
    path = f"/api/v1/namespaces/default/services/{name}"
    found = await instance.connection.json("GET", path)
    return f"http://{found['spec']['clusterIP']}/"


def _way(peer: Peer) -> Way:
    return Way(os.getpid(), f"http://127.0.0.1:{peer.port}/", peer.processes())


def compared(ways: Mapping[str, Way]) -> list[Row]:
    """All ways in turn, several times: they see the same machine."""
    rows: list[Row] = []
    over_http1 = {name: way for name, way in ways.items() if name != HTTP2}
    for connections in CONNECTIONS:
        results: dict[str, list[Result]] = {name: [] for name in over_http1}
        for _ in range(ROUNDS):
            for name, way in over_http1.items():
                try:
                    found = load_of(way.pid, way.url, connections, way.proxies)
                except ValueError as failed:
                    raise ValueError(f"{name}, {connections} connections: {failed}") from failed
                results[name].append(found)
        rows += told(f"{connections} connection{'s' if connections > 1 else ''}", results)
    if shutil.which("h2load") is not None:
        rows += by_h2load(ways)
    for name, way in over_http1.items():
        if way.proxies and name in (*PEERS, "weft"):
            memory = sum(process.rss() for process in way.proxies)
            rows.append(Row(f"{name}: resident memory after it", "MB", (memory,)))
    PLOT.write_text(plot(rows))
    return rows


def by_h2load(ways: Mapping[str, Way]) -> Iterable[Row]:
    """At a fixed rate, and over HTTP/2."""
    for suffix, options, names in (
        (f"at {RATE}/s", AT_RATE, [name for name in ways if name != HTTP2]),
        ("HTTP/2, 16 streams", OVER_HTTP2, [DIRECT, HTTP2]),
    ):
        results: dict[str, list[Result]] = {name: [] for name in names}
        for _ in range(ROUNDS):
            for name in names:
                way = ways[name]
                results[name].append(h2load.load(way.pid, way.url, options, way.proxies))
        yield from told(suffix, results)


def told(suffix: str, results: Mapping[str, Sequence[Result]]) -> Iterable[Row]:
    for what, unit, field in (
        ("requests per second", "1/s", "rate"),
        ("p50", "ms", "p50"),
        ("p99", "ms", "p99"),
    ):
        base = f"{DIRECT}: {what}, {suffix}"
        for name, found in results.items():
            values = tuple(getattr(result, field) for result in found)
            yield Row(f"{name}: {what}, {suffix}", unit, values, "" if name == DIRECT else base)
    base = f"weft: CPU for one request, {suffix}" if "weft" in results else ""
    for name, found in results.items():
        if name != DIRECT:
            values = tuple(result.envoy for result in found)
            baseline = "" if name == "weft" else base
            yield Row(f"{name}: CPU for one request, {suffix}", "µs", values, baseline)


def plot(rows: Sequence[Row]) -> str:
    """CPU of one request and median latency at 16 connections."""
    chosen = []
    for what, unit in (("CPU for one request", "µs"), ("p50", "ms")):
        suffix = f": {what}, 16 connections"
        found = {r.what.removesuffix(suffix): median(r) for r in rows if r.what.endswith(suffix)}
        chosen.append((f"{what}, {unit} (16 connections)", found))
    return bars(chosen)


def run() -> Iterable[Row]:
    if os.geteuid() != 0 or not shutil.which("wrk") or not shutil.which("nsenter"):
        raise Skipped("needs root, wrk and nsenter")
    return asyncio.run(measure())


BENCHMARK = Benchmark(
    "proxies",
    "HTTP/1.1 by wrk to one back end (an Envoy that answers at once): directly, through weft's "
    "node proxy, and through nginx, HAProxy and a pair of Envoys with the filters and metrics of "
    "Istio's sidecars and mutual TLS between them. Client, proxies and back end share the cores. "
    "Writes benchmarks/proxies.svg.",
    run,
)

"""weft's one hop beside other proxies, in one run: nginx, HAProxy, and a pair of sidecars."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from msgspec import Struct

from benchmarks import h2load
from benchmarks.across_nodes import across_nodes
from benchmarks.harness import Benchmark, Process, Row, Skipped, machine, number
from benchmarks.instance import Weft, envoy_back_end, pod, service, weft
from benchmarks.one_hop import Result, load_of, network_of
from benchmarks.peers import GRPC, HTTP1, HTTP2, TCP, Peer, running
from benchmarks.plot import bars

CONNECTIONS = (1, 16, 256)
SECONDS, SECONDS_MANY = 1, 3
"""Of one measurement; of one with so many connections that their handshakes take time."""
MANY = 100
ROUNDS = 2
RATES = (200, 1000)
CLIENTS = 20
MORE_PODS = 20
"""Started to see what each costs the proxy."""
FOLDER = Path(__file__).parent
DIRECT, WEFT, QUIET, ACROSS = "direct", "weft", "weft, metrics off", "weft, two nodes (mutual TLS)"
SIDECARS = "sidecars"
QUIET_OBJECT = {
    "apiVersion": "telemetry.istio.io/v1",
    "kind": "Telemetry",
    "metadata": {"name": "quiet"},
    "spec": {
        "selector": {"matchLabels": {"app": "quiet"}},
        "metrics": [{"overrides": [{"disabled": True}]}],
    },
}
"""No metrics for the calls of one of the clients."""
PORTS = {HTTP1: "http", HTTP2: "http2", GRPC: "grpc", TCP: "tcp"}
"""The protocol that a Service's port declares."""


class Way(Struct, frozen=True):
    """How the client reaches the back end: from which network, where, through whom."""

    network: str
    proxies: tuple[Process, ...]
    urls: Mapping[str, str]
    """By protocol; those that it does not carry are not there."""


class Load(Struct, frozen=True):
    """One column of the table."""

    protocol: str
    name: str
    run: Callable[[Way], Result]


def declared(protocol: str) -> dict[str, Any]:
    """A Service for the same pods, by another protocol."""
    ports = [{"name": protocol, "port": 80, "targetPort": "http"}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"answer-{protocol}"},
            "spec": {"selector": {"app": "answer"}, "ports": ports}}  # fmt: skip


async def measure() -> list[Row]:
    async with weft() as instance, across_nodes() as across:
        if instance.isolation != "netns":
            raise Skipped("pods have no network namespaces here")
        envoy_back_end(instance)
        instance.image("sleep:1", instance.directory, "sleep", "3600")
        await instance.apply(QUIET_OBJECT, service("answer"), *map(declared, PORTS.values()))
        await instance.apply(
            pod("answer", "answer:1", {"app": "answer"}, port=8080),
            pod("client", "sleep:1", {"app": "client"}),
            pod("quiet", "sleep:1", {"app": "quiet"}),
        )
        await instance.ready("", 3)
        address = next(p["address"] for p in await instance.pod_rows() if p["name"] == "answer")
        envoy = (await instance.processes())["Envoy"]
        target = f"{address}:8080"
        own = network_of(os.getpid())
        urls = {name: await _service_url(instance, f"answer-{p}") for name, p in PORTS.items()}
        networks = {n: network_of(await instance.pod_pid(n)) for n in ("client", "quiet")}
        with running(target) as peers:
            ways = {
                DIRECT: Way(own, (), dict.fromkeys(PORTS, f"http://{target}/")),
                WEFT: Way(networks["client"], (envoy,), urls),
                QUIET: Way(networks["quiet"], (envoy,), urls),
                ACROSS: Way(across.network, across.proxies, across.urls),
                **{name: _way(peer) for name, peer in peers.items()},
            }
            found = await asyncio.to_thread(compared, ways)
            memory = {name: _memory(way) for name, way in ways.items() if way.proxies}
            for_pod = {WEFT: await _for_each_pod(instance, envoy)}
            if SIDECARS in ways:
                for_pod[SIDECARS] = _own(ways[SIDECARS]) / len(ways[SIDECARS].proxies)
    (FOLDER / "proxies.md").write_text(table(found, memory, for_pod))
    (FOLDER / "proxies.svg").write_text(plot(found))
    return list(rows(found, memory, for_pod))


async def _service_url(instance: Weft, name: str) -> str:
    path = f"/api/v1/namespaces/default/services/{name}"
    found = await instance.connection.json("GET", path)
    return f"http://{found['spec']['clusterIP']}/"


def _way(peer: Peer) -> Way:
    urls = {name: f"http://127.0.0.1:{port}/" for name, port in peer.ports.items()}
    return Way(network_of(os.getpid()), tuple(peer.processes()), urls)


def _memory(way: Way) -> float:
    return sum(process.rss() for process in way.proxies)


def _own(way: Way) -> float:
    """MB that belong to the processes alone, without the program's own pages."""
    return sum(process.memory()[0] for process in way.proxies)


async def _for_each_pod(instance: Weft, envoy: Process) -> float:
    """MB that the node's proxy grows by with each pod."""
    before = envoy.memory()[0]
    names = [f"more-{number}" for number in range(MORE_PODS)]
    await instance.apply(*(pod(name, "sleep:1", {"app": "more"}) for name in names))
    await instance.ready("app=more", MORE_PODS)
    return (envoy.memory()[0] - before) / MORE_PODS


# --- loads

Found = Mapping[Load, Mapping[str, Sequence[Result]]]


def loads(message: Path) -> Iterable[Load]:
    """Each protocol at each number of connections, one request at a time on each of them."""
    kinds: dict[str, Sequence[str]] = {
        HTTP2: (),
        GRPC: (f"-d{message}", "-Hcontent-type: application/grpc", "-Hte: trailers"),
    }
    with_h2load = shutil.which("h2load") is not None
    for protocol in PORTS:
        if protocol in kinds and not with_h2load:
            continue
        for count in CONNECTIONS:
            name = f"{count} connection{'s' if count > 1 else ''}"
            if protocol in kinds:
                options = (*kinds[protocol], f"-c{count}", "-m1")
                yield _by_h2load(protocol, name, options, count)
            else:
                yield _by_wrk(protocol, name, count)
        if protocol in kinds:
            options = (*kinds[protocol], "-c1", "-m16")
            yield _by_h2load(protocol, "1 connection, 16 streams", options)
        if protocol == HTTP1 and with_h2load:
            for rate in RATES:
                options = ("--h1", f"-c{CLIENTS}", f"--rps={rate // CLIENTS}")
                yield _by_h2load(protocol, f"{rate}/s on {CLIENTS} connections", options)


def _seconds(connections: int) -> int:
    return SECONDS_MANY if connections >= MANY else SECONDS


def _by_wrk(protocol: str, name: str, connections: int) -> Load:
    def run(way: Way) -> Result:
        seconds = _seconds(connections)
        return load_of(way.network, way.urls[protocol], connections, way.proxies, seconds)

    return Load(protocol, name, run)


def _by_h2load(protocol: str, name: str, options: Sequence[str], connections: int = 1) -> Load:
    def run(way: Way) -> Result:
        seconds = _seconds(connections)
        return h2load.load(way.network, way.urls[protocol], options, way.proxies, seconds)

    return Load(protocol, name, run)


def compared(ways: Mapping[str, Way]) -> Found:
    """All ways in turn, several times: they see the same machine."""
    with tempfile.NamedTemporaryFile() as message:
        # A gRPC message of 16 bytes: not compressed, its length, itself.
        message.write(b"\0" + (16).to_bytes(4, "big") + b"x" * 16)
        message.flush()
        found: dict[Load, dict[str, list[Result]]] = {}
        for load in loads(Path(message.name)):
            results: dict[str, list[Result]] = {}
            for _ in range(ROUNDS):
                for name, way in ways.items():
                    if load.protocol not in way.urls:
                        continue
                    results.setdefault(name, []).extend(_tried(load, name, way))
            found[load] = {name: measured for name, measured in results.items() if measured}
        return found


def _tried(load: Load, name: str, way: Way) -> Iterable[Result]:
    """Twice, for on a crowded machine many handshakes may take as long as the measurement; nothing
    when both fail, which is said and shows as a gap."""
    for trial in range(2):
        try:
            return (load.run(way),)
        except (ValueError, Skipped, subprocess.TimeoutExpired) as failed:
            where = f"{name}, {load.protocol}, {load.name}"
            print(f"{where}: {failed}, {'again' if not trial else 'left out'}", file=sys.stderr)
    return ()


# --- what is shown


def rows(found: Found, memory: Mapping[str, float], for_pod: Mapping[str, float]) -> Iterable[Row]:
    """What is most telling; proxies.md has it all."""
    for load, results in found.items():
        if load.name != "16 connections":
            continue
        suffix = f"{load.protocol}, {load.name}"
        for what, unit, field in (
            ("requests per second", "1/s", "rate"),
            ("CPU for one request", "µs", "envoy"),
        ):
            base = DIRECT if field == "rate" else WEFT
            for name, measured in results.items():
                if name == DIRECT and field == "envoy":
                    continue
                values = tuple(getattr(result, field) for result in measured)
                baseline = "" if name == base else f"{base}: {what}, {suffix}"
                yield Row(f"{name}: {what}, {suffix}", unit, values, baseline)
    for name, size in memory.items():
        if name != QUIET:
            yield Row(f"{name}: resident memory after it", "MB", (size,))
    for name, size in for_pod.items():
        yield Row(f"{name}: memory for one more pod", "MB", (size,))


def table(found: Found, memory: Mapping[str, float], for_pod: Mapping[str, float]) -> str:
    """Everything as Markdown: requests per second, p50, p99, CPU for one request."""
    names = [DIRECT, *memory]
    rounds = f"{ROUNDS} rounds of {SECONDS} to {SECONDS_MANY} s"
    lines = [
        f"`python -m benchmarks proxies`, {machine()}. Medians of {rounds}: "
        "requests per second / p50, p99 in ms / CPU of the proxies for one request in µs.\n",
        "| load | " + " | ".join(names) + " |",
        "| --- |" + " --- |" * len(names),
    ]
    for load, results in found.items():
        told = [_cell(results[name]) if name in results else "–" for name in names]
        lines.append(f"| {load.protocol}, {load.name} | " + " | ".join(told) + " |")
    sizes = [number(memory[name]) + " MB" if name in memory else "" for name in names]
    lines.append("| resident memory after it | " + " | ".join(sizes) + " |")
    grown = [f"{for_pod[name]:.2f} MB" if name in for_pod else "" for name in names]
    lines.append("| memory for one more pod | " + " | ".join(grown) + " |")
    return "\n".join(lines) + "\n"


def _cell(results: Sequence[Result]) -> str:
    rate, p50, p99, cpu = (
        number(median(getattr(result, field) for result in results))
        for field in ("rate", "p50", "p99", "envoy")
    )
    return f"{rate} / {p50}, {p99}" + (f" / {cpu}" if cpu != number(0) else "")


def plot(found: Found) -> str:
    """Throughput and CPU of one request at 16 connections, for each protocol."""
    chosen = []
    for load, results in found.items():
        if load.name != "16 connections":
            continue
        for what, field in (("requests per second", "rate"), ("CPU for one request, µs", "envoy")):
            values = {n: median(getattr(r, field) for r in each) for n, each in results.items()}
            if field == "envoy":
                values.pop(DIRECT, None)
            chosen.append((f"{load.protocol}: {what} (16 connections)", values))
    return bars(chosen)


def run() -> Iterable[Row]:
    needed = ("wrk", "nsenter", "ip", "nft")
    if os.geteuid() != 0 or not all(map(shutil.which, needed)):
        raise Skipped(f"needs root, {', '.join(needed)}")
    return asyncio.run(measure())


BENCHMARK = Benchmark(
    "proxies",
    "HTTP/1.1, HTTP/2, gRPC and bytes to one back end (an Envoy that answers at once): directly, "
    "through weft's node proxy, through two nodes with mutual TLS between them, and through nginx, "
    "HAProxy and a pair of Envoys with the filters and metrics of Istio's sidecars and mutual TLS "
    "between them. Client, proxies and back end share the cores. wrk and h2load, each request "
    "after the answer to the last on its connection. Writes benchmarks/proxies.md and .svg.",
    run,
)

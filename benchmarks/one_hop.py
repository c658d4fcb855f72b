"""What the one proxy hop costs: a pod calls a service, against the same client calling directly."""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence

from msgspec import Struct

from benchmarks.harness import Benchmark, Process, Row, Skipped
from benchmarks.instance import envoy_back_end, pod, service, weft

SECONDS = 2
"""Of one measurement."""
ROUNDS = 3
"""Direct and through the mesh in turn, so that both see the same machine."""
CONNECTIONS = (1, 16)
UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class Result(Struct, frozen=True):
    rate: float
    """Requests per second."""
    p50: float
    """Milliseconds."""
    p99: float
    envoy: float
    """CPU microseconds of the node's Envoy for each request."""


def parse(text: str, cpu_seconds: float) -> Result:
    """What wrk prints. Raises ValueError when requests failed."""
    if failed := re.search(r"Non-2xx.*|Socket errors.*", text):
        raise ValueError(failed[0])
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])  # type: ignore[index]
    count = int(re.search(r"(\d+) requests in", text)[1])  # type: ignore[index]
    if not count:
        raise ValueError("no request was answered")
    found = dict(re.findall(r"(50|99)%\s+([\d.]+(?:us|ms|s))", text))
    p50, p99 = (_milliseconds(found[name]) for name in ("50", "99"))
    return Result(rate, p50, p99, cpu_seconds / count * 1e6)


def _milliseconds(text: str) -> float:
    value, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(value) * UNITS[unit]


def load(pid: int, url: str, connections: int, envoy: Process) -> Result:
    """wrk in the network namespace of a process."""
    return load_of(network_of(pid), url, connections, (envoy,), SECONDS)


def network_of(pid: int) -> str:
    """The network namespace that a process lives in."""
    return f"/proc/{pid}/ns/net"


def load_of(
    network: str, url: str, connections: int, proxies: Sequence[Process], seconds: int
) -> Result:
    """The same from any network, through several proxies: the CPU is that of all together."""
    before = sum(proxy.cpu_seconds() for proxy in proxies)
    done = subprocess.run(
        ["nsenter", f"--net={network}", "wrk", "--latency", "-t1", f"-c{connections}",
         f"-d{seconds}s", url],
        capture_output=True, text=True, check=False, timeout=seconds + 20,
    )  # fmt: skip
    if done.returncode:
        raise Skipped(f"wrk: {done.stderr}")
    return parse(done.stdout, sum(proxy.cpu_seconds() for proxy in proxies) - before)


def rows(connections: int, direct: list[Result], meshed: list[Result]) -> Iterable[Row]:
    suffix = f"{connections} connections" if connections > 1 else "1 connection"
    for what, unit, field in (
        ("requests per second", "1/s", "rate"),
        ("p50", "ms", "p50"),
        ("p99", "ms", "p99"),
    ):
        base = f"direct: {what}, {suffix}"
        yield Row(base, unit, tuple(getattr(r, field) for r in direct))
        meshed_values = tuple(getattr(r, field) for r in meshed)
        yield Row(f"through the mesh: {what}, {suffix}", unit, meshed_values, base)
    yield Row(f"CPU of Envoy for one request, {suffix}", "µs", tuple(r.envoy for r in meshed))


async def measure() -> list[Row]:
    measured: list[Row] = []
    async with weft() as instance:
        if instance.isolation != "netns":
            raise Skipped("pods have no network namespaces here")
        envoy_back_end(instance)
        instance.image("sleep:1", instance.directory, "sleep", "3600")
        await instance.apply(
            service("answer"),
            pod("answer", "answer:1", {"app": "answer"}, port=8080),
            pod("client", "sleep:1", {"app": "client"}),
        )
        await instance.ready("", 2)
        address = next(p["address"] for p in await instance.pod_rows() if p["name"] == "answer")
        cluster_ip = await instance.connection.json(
            "GET", "/api/v1/namespaces/default/services/answer"
        )
        envoy = (await instance.processes())["Envoy"]
        client = await instance.pod_pid("client")
        ways = {
            # From the node to the pod: the node is trusted, nothing stands between.
            "direct": (os.getpid(), f"http://{address}:8080/"),
            "meshed": (client, f"http://{cluster_ip['spec']['clusterIP']}/"),
        }
        for connections in CONNECTIONS:
            results: dict[str, list[Result]] = {name: [] for name in ways}
            for _ in range(ROUNDS):
                for name, (pid, url) in ways.items():
                    result = await asyncio.to_thread(load, pid, url, connections, envoy)
                    results[name].append(result)
            assert max(r.envoy for r in results["direct"]) < 5, "the direct way met a proxy"
            measured += rows(connections, results["direct"], results["meshed"])
    return measured


def run() -> Iterable[Row]:
    if os.geteuid() != 0 or not shutil.which("wrk") or not shutil.which("nsenter"):
        raise Skipped("needs root, wrk and nsenter")
    return asyncio.run(measure())


BENCHMARK = Benchmark(
    "one_hop",
    "wrk in a pod calls a service through the node's Envoy; baseline: wrk on the node calls the "
    "pod itself. The back end is another Envoy that answers at once; client, proxy and back end "
    "share the cores.",
    run,
)

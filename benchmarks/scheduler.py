"""Pods that the scheduler places per second of CPU time on 5,000 simulated nodes."""

import gc
import time
from collections.abc import Iterable

from benchmarks.harness import Benchmark, Row
from weft.api.snapshot import ObjectSnapshot
from weft.daemon.instance import GC_THRESHOLD
from weft.offline import simulation
from weft.offline.simulation import Shape
from weft.scheduler.cycle import schedule

NODES = 5000
ZONES = 3
ROUNDS = 3
SIZES: dict[Shape, int] = {
    "basic": 50_000, "node-affinity": 10_000, "affinity": 10_000, "anti-affinity": 5000,
    "spread": 10_000, "spread-hosts": 10_000, "preferred": 10_000,
}  # fmt: skip
PUBLISHED: dict[Shape, int] = {
    "basic": 810, "node-affinity": 220, "affinity": 35, "anti-affinity": 60, "spread": 85,
    "spread-hosts": 85, "preferred": 90,
}  # fmt: skip
"""Thresholds of kube-scheduler's own benchmark (scheduler_perf), pods per second."""


def run() -> Iterable[Row]:
    gc.set_threshold(GC_THRESHOLD)
    nodes = simulation.nodes(NODES, ZONES, "4", "32Gi")
    for shape, count in SIZES.items():
        pods = simulation.pods(count, shape, "10m", "10Mi")
        snapshot = ObjectSnapshot([*nodes, *pods])
        snapshot.list(type(pods[0]))
        samples = []
        for _ in range(ROUNDS):
            began = time.process_time()
            plan = schedule(snapshot, 0.0)
            samples.append(time.process_time() - began)
            assert simulation.outcome(plan, nodes, count).waiting == 0
        what = f"{count:,} pods, {shape} (published: {PUBLISHED[shape]} pods/s)"
        yield Row(what, "pods/s", tuple(count / s for s in samples))


BENCHMARK = Benchmark("scheduler", "pods placed per second of CPU time on 5,000 nodes", run)

"""`python -m benchmarks [NAME...]`: run benchmarks, print what they measured as Markdown."""

import argparse
import importlib
import os
import sys
import traceback

from benchmarks.harness import Benchmark, machine, report

MODULES = (
    "startup",
    "idle",
    "propagation",
    "many_routes",
    "series",
    "one_hop",
    "proxies",
    "node_mtls",
    "policies",
    "slow_replica",
    "pods",
    "rollouts",
    "scale_from_zero",
    "containers",
    "api",
    "api_scale",
    "commands",
    "mesh_build",
    "scheduler",
    "xds_translate",
    "store",
    "incidents",
)


def load(name: str) -> Benchmark:
    """Modules are imported one by one: what one imports must not weigh on another's figures."""
    found: Benchmark = importlib.import_module(f"benchmarks.{name}").BENCHMARK
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument(
        "--kubeconfig",
        metavar="FILE",
        help="of the API server that api and api_scale ask, instead of weft",
    )
    parser.add_argument(
        "--rollouts", metavar="N", type=int, help="versions that the benchmark rollouts changes"
    )
    options = parser.parse_args()
    if options.rollouts:
        os.environ["WEFT_BENCH_ROLLOUTS"] = str(options.rollouts)
    if options.kubeconfig:
        os.environ["WEFT_BENCH_KUBECONFIG"] = options.kubeconfig
    if options.list:
        for name in MODULES:
            print(f"{name:<14} {load(name).measures}")
        return 0
    unknown = [name for name in options.names if name not in MODULES]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(MODULES)}")
    print(f"# Benchmarks of weft\n\n{machine()}\n", flush=True)
    failed = False
    for name in options.names or MODULES:
        try:
            print(report(load(name)), flush=True)
        except Exception:
            failed = True
            print(f"## {name}\n\nFailed:\n\n{traceback.format_exc()}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

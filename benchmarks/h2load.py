"""h2load (of nghttp2): HTTP/2, and HTTP/1.1 at a fixed rate, with the time of every request."""

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Process, Skipped
from benchmarks.one_hop import Result

MICROSECONDS = 1000.0


def load(
    network: str, url: str, options: Sequence[str], proxies: Sequence[Process], seconds: int
) -> Result:
    """Run it in a network namespace. Skipped when it fails, ValueError when requests do."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        before = sum(proxy.cpu_seconds() for proxy in proxies)
        command = ["nsenter", f"--net={network}", "h2load", f"-D{seconds}", *options]
        done = subprocess.run(
            [*command, f"--log-file={log}", url],
            capture_output=True, text=True, check=False, timeout=seconds + 20,
        )  # fmt: skip
        cpu = sum(proxy.cpu_seconds() for proxy in proxies) - before
        if done.returncode:
            raise Skipped(f"h2load: {done.stderr or done.stdout}")
        return told(log.read_text(), cpu, seconds)


def told(log: str, cpu_seconds: float, seconds: int) -> Result:
    """Of its log: start, status and microseconds of each request."""
    rows = [line.split("\t") for line in log.splitlines()]
    failed = sorted({status for _, status, _ in rows if not status.startswith("2")})
    if failed or not rows:
        raise ValueError(f"statuses {', '.join(failed)}" if rows else "no request was made")
    times = sorted(int(elapsed) / MICROSECONDS for _, _, elapsed in rows)
    at = [times[min(len(times) - 1, round(len(times) * share))] for share in (0.5, 0.99)]
    return Result(len(rows) / seconds, at[0], at[1], cpu_seconds / len(rows) * 1e6)

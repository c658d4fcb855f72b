"""What all benchmarks share: samples in, one table with medians, spreads and ratios out."""

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from msgspec import Struct

HEAD = ("measured", "median", "least", "most", "n", "ratio", "goal")
NUMERIC_FROM = 1
"""Columns from here on are aligned to the right."""


class Row(Struct, frozen=True):
    """One thing measured, several times where that is cheap."""

    what: str
    unit: str
    samples: tuple[float, ...]
    baseline: str = ""
    """The `what` of the row of this run that the ratio is taken to."""
    goal: float | None = None
    """The median shall be at most this."""


class Skipped(Exception):
    """This machine cannot run the benchmark; the text says what is missing."""


class Benchmark(Struct, frozen=True):
    """`run` measures and gives its rows; it may raise Skipped."""

    name: str
    measures: str
    run: Callable[[], Iterable[Row]]


def median(row: Row) -> float:
    return statistics.median(row.samples)


def number(value: float) -> str:
    """Three digits that matter, thousands separated."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cells(row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    """The row as text; its ratio is to the median of the row that it names."""
    base = next((r for r in rows if r.what == row.baseline), None)
    ratio = f"{median(row) / median(base):.2f}" if base is not None and median(base) else ""
    goal = ""
    if row.goal is not None:
        goal = f"{'met' if median(row) <= row.goal else 'MISSED'} (≤ {number(row.goal)})"
    return (
        f"{row.what}, {row.unit}",
        number(median(row)),
        number(min(row.samples)),
        number(max(row.samples)),
        str(len(row.samples)),
        f"{ratio} × {row.baseline}" if ratio else "",
        goal,
    )


def table(rows: Sequence[Row]) -> str:
    """Aligned columns that are a Markdown table as well."""
    body = [cells(row, rows) for row in rows]
    widths = [max(len(line[i]) for line in (HEAD, *body)) for i in range(len(HEAD))]
    lines = [_line(HEAD, widths)]
    lines.append("| " + " | ".join("-" * width for width in widths) + " |")
    lines += [_line(line, widths) for line in body]
    return "\n".join(lines)


def _line(line: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        text.rjust(width) if NUMERIC_FROM <= i <= 4 else text.ljust(width)
        for i, (text, width) in enumerate(zip(line, widths, strict=True))
    )
    return "| " + " | ".join(padded) + " |"


def report(benchmark: Benchmark) -> str:
    """Run one; its part of the report."""
    started, load = time.monotonic(), os.getloadavg()[0]
    head = f"## {benchmark.name}\n\n{benchmark.measures}\n"
    try:
        rows = list(benchmark.run())
    except Skipped as reason:
        return f"{head}\nSkipped: {reason}\n"
    seconds = time.monotonic() - started
    return f"{head}\n{table(rows)}\n\n{seconds:.0f} s, load average at its start {load:.1f}\n"


def machine() -> str:
    """What the figures depend on besides the code."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        check=False,
    ).stdout.strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{time.strftime('%Y-%m-%d %H:%M')} UTC, commit {commit or 'unknown'}, {_processor()}, "
        f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, load average "
        + " ".join(f"{load:.1f}" for load in os.getloadavg())
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


# --- measuring


def milliseconds(work: Callable[[], object], rounds: int = 1) -> tuple[float, ...]:
    """CPU time of this process for each call: what else the machine does counts little."""
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        taken.append((time.process_time() - start) * 1000)
    return tuple(taken)


class Process:
    """A process seen through /proc."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._path = Path(f"/proc/{pid}")

    def cpu_seconds(self) -> float:
        """User and system time of all its threads so far."""
        fields = (self._path / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss(self) -> float:
        """Resident memory in MB (2**20 bytes), shared pages included."""
        own, files = self.memory()
        return own + sum(files.values())

    def memory(self) -> tuple[float, dict[str, float]]:
        """MB that belong to this process alone, and MB of each file it has mapped."""
        own, files, path, resident = 0.0, dict[str, float](), "", 0.0
        for line in (self._path / "smaps").read_text().splitlines():
            first, *rest = line.split(maxsplit=5)
            if not first.endswith(":"):
                path = rest[4] if len(rest) == 5 else ""
            elif first == "Rss:":
                resident = int(rest[0]) / 1024
            elif first == "Anonymous:":
                anonymous = int(rest[0]) / 1024
                own += anonymous
                files[path] = files.get(path, 0.0) + resident - anonymous
        return own, files

    def command(self) -> str:
        return (self._path / "cmdline").read_bytes().replace(b"\0", b" ").decode()


def memory_together(processes: Iterable[Process]) -> float:
    """MB that these processes take on a machine that runs nothing else: what belongs to each, and
    every mapped file once. (PSS would depend on who else happens to have a file mapped.)"""
    total, shared = 0.0, dict[str, float]()
    for process in processes:
        own, files = process.memory()
        total += own
        for path, resident in files.items():
            shared[path] = max(shared.get(path, 0.0), resident)
    return total + sum(shared.values())

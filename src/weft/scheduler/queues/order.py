"""Who is next in a queue."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from weft.scheduler.queues.model import Queue, Workload
from weft.scheduler.queues.quotas import Ledger


def in_order(queue: Queue, waiting: Iterable[Workload]) -> list[Workload]:
    """By the queue's policy; for FairShare within each namespace."""
    if queue.policy == "ShortestJobFirst":
        return sorted(waiting, key=lambda w: (_seconds(w), *_age(w)))
    if queue.policy == "Priority":
        return sorted(waiting, key=lambda w: (-w.priority, *_age(w)))
    return sorted(waiting, key=_age)


def _age(workload: Workload) -> tuple[str, str, str]:
    return workload.age


def _seconds(workload: Workload) -> float:
    """Those of unknown length come last."""
    return float("inf") if workload.seconds is None else workload.seconds


class Line:
    """Those who wait in one queue. `head` may change with what was admitted."""

    def __init__(
        self, queue: Queue, waiting: Iterable[Workload], admitted: Iterable[Workload]
    ) -> None:
        self._queue = queue
        self._fair = queue.policy == "FairShare"
        self._lines: dict[str, list[Workload]] = {}
        for workload in in_order(queue, waiting):
            self._lines.setdefault(self._group(workload), []).append(workload)
        self._used: dict[str, dict[str, int]] = {}
        for workload in admitted:
            self.count(workload)

    def _group(self, workload: Workload) -> str:
        return workload.namespace if self._fair else ""

    def count(self, workload: Workload) -> None:
        """It runs, and counts for its namespace."""
        used = self._used.setdefault(self._group(workload), {})
        for name, much in workload.needs.items():
            used[name] = used.get(name, 0) + much

    def head(self, ledger: Ledger) -> Workload | None:
        """The next one: of the namespace that uses least, when that matters."""
        lines = [line for line in self._lines.values() if line]
        if not lines:
            return None
        return min((line[0] for line in lines), key=lambda w: (self._share(w, ledger), *_age(w)))

    def _share(self, workload: Workload, ledger: Ledger) -> float:
        if not self._fair:
            return 0.0
        return ledger.share_of(self._queue, self._used.get(workload.namespace, {}))

    def drop(self, workload: Workload) -> None:
        self._lines[self._group(workload)].remove(workload)

    def rest(self, ledger: Ledger) -> Iterator[Workload]:
        """All that wait, in order."""
        lines = sorted(
            (line for line in self._lines.values() if line),
            key=lambda line: (self._share(line[0], ledger), *_age(line[0])),
        )
        for line in lines:
            yield from list(line)


def by_queue(workloads: Iterable[Workload]) -> Mapping[str, Sequence[Workload]]:
    found: dict[str, list[Workload]] = {}
    for workload in workloads:
        found.setdefault(workload.queue, []).append(workload)
    return found

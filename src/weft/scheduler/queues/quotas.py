"""What queues may use, what they use, and what is left: by queue, by cohort, of the nodes."""

from collections.abc import Iterable, Mapping

from weft.scheduler.queues.model import Amounts, Queue, Workload


class Ledger:
    """Counts what admitted workloads use. Changes while a decision is made."""

    def __init__(
        self, queues: Mapping[str, Queue], admitted: Iterable[Workload], capacity: Amounts
    ) -> None:
        """`capacity` is what the nodes have for workloads of queues."""
        self._queues = queues
        self._capacity = capacity
        self._used: dict[str, dict[str, int]] = {}
        self._all: dict[str, int] = {}
        for workload in admitted:
            self.add(workload)

    def copy(self) -> "Ledger":
        made = Ledger(self._queues, (), self._capacity)
        made._used = {name: dict(used) for name, used in self._used.items()}
        made._all = dict(self._all)
        return made

    def add(self, workload: Workload, sign: int = 1) -> None:
        used = self._used.setdefault(workload.queue, {})
        for name, much in workload.needs.items():
            used[name] = used.get(name, 0) + sign * much
            self._all[name] = self._all.get(name, 0) + sign * much

    def remove(self, workload: Workload) -> None:
        self.add(workload, -1)

    def used(self, queue: str) -> Amounts:
        return self._used.get(queue, {})

    def cohort(self, queue: Queue) -> tuple[Queue, ...]:
        """The queues that lend to one another, itself among them."""
        if not queue.cohort:
            return (queue,)
        return tuple(q for q in self._queues.values() if q.cohort == queue.cohort)

    def room(self, queue: Queue, name: str, *, borrow: bool = True) -> int | None:
        """How much more the queue may use; None: it is not limited."""
        limits = []
        if name in queue.quota:
            mine = self.used(queue.name).get(name, 0)
            if not queue.cohort or not borrow:
                limits.append(queue.quota[name] - mine)
            else:
                others = self.cohort(queue)
                total = sum(q.quota.get(name, 0) for q in others)
                taken = sum(self.used(q.name).get(name, 0) for q in others if name in q.quota)
                limits.append(total - taken)
                if name in queue.borrowing:
                    limits.append(queue.quota[name] + queue.borrowing[name] - mine)
        if name in self._capacity:
            limits.append(self._capacity[name] - self._all.get(name, 0))
        return min(limits, default=None)

    def lacking(self, queue: Queue, needs: Amounts, *, borrow: bool = True) -> dict[str, int]:
        """By how much each resource is too little; empty when there is room."""
        found = {}
        for name, need in needs.items():
            room = self.room(queue, name, borrow=borrow)
            if room is not None and need > 0 and need > room:
                found[name] = need - max(room, 0)
        return found

    def most(self, queue: Queue, name: str) -> int | None:
        """What the queue may use when nothing else runs."""
        return Ledger(self._queues, (), self._capacity).room(queue, name)

    def is_own(self, queue: Queue, needs: Amounts) -> bool:
        """Whether the queue's own quota would be enough."""
        mine = self.used(queue.name)
        return all(
            mine.get(name, 0) + need <= queue.quota[name]
            for name, need in needs.items()
            if name in queue.quota
        )

    def borrows(self, queue: Queue, names: Iterable[str]) -> bool:
        """Whether it uses more than its own of one of these."""
        mine = self.used(queue.name)
        return any(mine.get(n, 0) > queue.quota.get(n, 0) for n in names if n in queue.quota)

    def share(self, queue: Queue) -> float:
        """Of the resource that it uses most of, how much, by its weight: who has least is next."""
        return self._dominant(self.used(queue.name), queue) / queue.weight

    def share_of(self, queue: Queue, used: Amounts) -> float:
        """The same of a part of its users."""
        return self._dominant(used, queue)

    def _dominant(self, used: Amounts, queue: Queue) -> float:
        shares = [0.0]
        for name, much in used.items():
            of = queue.quota.get(name) or self._capacity.get(name)
            if of:
                shares.append(much / of)
        return max(shares)

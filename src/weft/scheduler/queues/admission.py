"""Who is admitted now, who makes room, and who waits for what. Pure.

Queues take turns: the one with the smallest share of what it may use is next. The head of a queue
that finds no room gets a reservation: the time at which what runs will have left enough. Others
pass it only if they delay none (EASY back-fill: they end before, or leave enough anyway). While a
head waits for what is its queue's own, nobody borrows of the cohort.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from weft.scheduler.queues import words
from weft.scheduler.queues.model import Amounts, Decision, Queue, Reservation, Workload
from weft.scheduler.queues.order import Line, by_queue
from weft.scheduler.queues.quotas import Ledger

Placing = Callable[[Workload], str]
"""Finds nodes for all of a workload and keeps them for it; why there are none, otherwise."""


def anywhere(_: Workload) -> str:
    return ""


class _Reserved(Struct):
    """A reservation, and whom it concerns."""

    queue: Queue
    at: float | None
    lacking: dict[str, int]
    spare: dict[str, int]
    everybody: bool
    """Not the queue alone: the head waits for what is its own, or for the nodes."""


def decide(
    queues: Mapping[str, Queue],
    workloads: Sequence[Workload],
    capacity: Amounts,
    now: float,
    places: Placing = anywhere,
) -> Decision:
    """One look at everything. `capacity`: what the nodes have for workloads of queues."""
    return _Round(queues, workloads, capacity, now, places).run()


class _Round:
    def __init__(
        self,
        queues: Mapping[str, Queue],
        workloads: Sequence[Workload],
        capacity: Amounts,
        now: float,
        places: Placing,
    ) -> None:
        self.queues, self.now, self.places = queues, now, places
        self.running = [w for w in workloads if w.started is not None]
        self.ledger = Ledger(queues, self.running, capacity)
        self.waits: dict[str, str] = {}
        self.admitted: list[str] = []
        self.evicted: list[tuple[str, str]] = []
        self.reserved: list[_Reserved] = []
        self.shown: dict[str, Reservation] = {}
        self.order: dict[str, tuple[str, ...]] = {}
        waiting = by_queue(w for w in workloads if w.started is None)
        running = by_queue(self.running)
        self.lines: dict[str, Line] = {}
        for name, mine in waiting.items():
            queue = queues.get(name)
            able = [w for w in mine if self._may_ever(queue, w)]
            if queue is not None:
                self.lines[name] = Line(queue, able, running.get(name, ()))

    def run(self) -> Decision:
        open_ = dict(self.lines)
        blocked: list[tuple[Queue, Line, Workload]] = []
        while open_:
            name, head = self._next(open_)
            if head is None:
                del open_[name]
            elif self._admit(self.queues[name], open_[name], head):
                continue
            else:
                blocked.append((self.queues[name], open_.pop(name), head))
                self._head_waits(self.queues[name], head)
        for queue, line, head in blocked:
            self._pass(queue, line, head)
        for name, line in self.lines.items():
            self.order[name] = tuple(w.key for w in line.rest(self.ledger))
        return Decision(
            tuple(self.admitted), tuple(self.evicted), self.waits, self.shown, self.order
        )

    def _next(self, lines: Mapping[str, Line]) -> tuple[str, Workload | None]:
        heads = [(name, line.head(self.ledger)) for name, line in lines.items()]
        empty = next(((name, None) for name, head in heads if head is None), None)
        if empty is not None:
            return empty
        return min(heads, key=lambda pair: self._turn(*pair))

    def _turn(self, name: str, head: Workload | None) -> tuple[float, str, str]:
        assert head is not None
        return self.ledger.share(self.queues[name]), head.created, head.key

    def _may_ever(self, queue: Queue | None, workload: Workload) -> bool:
        """Whether there is a queue, and it could be large enough; the reason otherwise."""
        if queue is None:
            self.waits[workload.key] = (
                f"there is no queue {workload.queue}; it runs once somebody creates it"
            )
            return False
        if workload.problem or queue.suspended:
            held = f"queue {queue.name} is suspended"
            self.waits[workload.key] = workload.problem or held
            return False
        most = {}
        for name, need in workload.needs.items():
            limit = self.ledger.most(queue, name)
            if limit is not None and need > max(limit, 0):
                most[name] = max(limit, 0)
        if most:
            self.waits[workload.key] = words.never(queue, most, workload.needs)
        return not most

    # --- admitting

    def _admit(self, queue: Queue, line: Line, workload: Workload) -> bool:
        """Admit it, if there is room, nobody is delayed, and nodes are found."""
        if self.ledger.lacking(queue, workload.needs) or not self._delays_nobody(queue, workload):
            return False
        if self.places(workload):
            return False
        self.ledger.add(workload)
        line.drop(workload)
        line.count(workload)
        self.admitted.append(workload.key)
        self.running.append(_started(workload, self.now))
        for found in self.reserved:
            if not self._ends_before(workload, found):
                for name, much in workload.needs.items():
                    if name in found.spare:
                        found.spare[name] -= much
        return True

    def _delays_nobody(self, queue: Queue, workload: Workload) -> bool:
        return all(
            self._ends_before(workload, found) or self._leaves_enough(workload, found)
            for found in self.reserved
            if found.queue is queue or (found.everybody and self._meet(queue, found))
        )

    def _meet(self, queue: Queue, found: _Reserved) -> bool:
        """Whether the queue takes of what the reservation is about."""
        if queue.cohort and queue.cohort == found.queue.cohort:
            return True
        # Of other queues only the nodes are shared, which limit those without a quota.
        return any(name not in found.queue.quota for name in found.lacking)

    def _ends_before(self, workload: Workload, found: _Reserved) -> bool:
        if found.at is None or workload.seconds is None:
            return False
        return self.now + workload.seconds <= found.at

    @staticmethod
    def _leaves_enough(workload: Workload, found: _Reserved) -> bool:
        needs = workload.needs
        return all(needs.get(name, 0) <= max(much, 0) for name, much in found.spare.items())

    # --- waiting

    def _pass(self, queue: Queue, line: Line, head: Workload) -> None:
        """Whoever may pass the head does; the others say that they wait for their turn."""
        behind = words.turn(queue, head)
        for workload in line.rest(self.ledger):
            if workload is head:
                continue
            if not queue.backfill or not self._admit(queue, line, workload):
                self.waits[workload.key] = behind

    def _head_waits(self, queue: Queue, head: Workload) -> None:
        lacking = self.ledger.lacking(queue, head.needs)
        if lacking:
            self._wait_for_room(queue, head, lacking)
        elif self._delays_nobody(queue, head):
            # There is room, but not on the nodes as they are.
            self.waits[head.key] = words.unplaced(queue, self.places(head))
            nothing = dict.fromkeys(head.needs, 0)
            self.reserved.append(_Reserved(queue, None, dict(head.needs), nothing, False))
        else:
            self.waits[head.key] = f"is next in queue {queue.name}; {self._ahead()} come first"
            nothing = dict.fromkeys(head.needs, 0)
            self.reserved.append(_Reserved(queue, None, dict(head.needs), nothing, False))

    def _ahead(self) -> str:
        return ", ".join(f"those of queue {found.queue.name}" for found in self.reserved)

    def _wait_for_room(self, queue: Queue, head: Workload, lacking: dict[str, int]) -> None:
        at, ends, after = self._when(queue, head)
        spare = {
            name: max((room or 0) - head.needs[name], 0) if at is not None else 0
            for name in head.needs
            if (room := after.room(queue, name)) is not None
        }
        if at is None:
            spare = dict.fromkeys(lacking, 0)
        own = self.ledger.is_own(queue, head.needs)
        self.reserved.append(_Reserved(queue, at, lacking, dict(spare), own))
        self.shown[queue.name] = Reservation(head.key, at, lacking, spare)
        victims = self._victims(queue, head) if queue.preemption else ()
        if victims:
            self.evicted += [(v.key, head.key) for v in victims]
            self.waits[head.key] = words.makes_room(queue, (v.name for v in victims))
        else:
            shown = self.shown[queue.name]
            self.waits[head.key] = words.head(queue, shown, (w.name for w in ends), self.now)

    def _when(
        self, queue: Queue, head: Workload
    ) -> tuple[float | None, Sequence[Workload], Ledger]:
        """When what runs will have left room for the head; what has to end until then."""
        after = self.ledger.copy()
        at: float | None = self.now
        ends = []
        for workload in sorted(self.running, key=self._end):
            if not after.lacking(queue, head.needs):
                break
            before = after.lacking(queue, head.needs)
            after.remove(workload)
            if after.lacking(queue, head.needs) != before:
                ends.append(workload)
            end = self._end(workload)[0]
            at = None if at is None or end == float("inf") else max(at, end)
        return at, ends, after

    def _end(self, workload: Workload) -> tuple[float, float]:
        """When it ends, never before now; those of unknown length by when they began."""
        started = workload.started or 0.0
        if workload.seconds is None:
            return float("inf"), started
        return max(started + workload.seconds, self.now), started

    # --- preemption

    def _victims(self, queue: Queue, head: Workload) -> tuple[Workload, ...]:
        """What has to end so that the head has room: of lower priority in its queue, and what
        others borrowed of its queue's quota. The least important and youngest first; nobody in
        vain."""
        gone = {key for key, _ in self.evicted} | set(self.admitted)
        possible = [w for w in self.running if w.key not in gone]
        lower = [w for w in possible if w.queue == queue.name and w.priority < head.priority]
        borrowed = []
        if queue.cohort and self.ledger.is_own(queue, head.needs):
            names = {q.name for q in self.ledger.cohort(queue)} - {queue.name}
            borrowed = [w for w in possible if w.queue in names]
        after, chosen = self.ledger.copy(), []
        for workload in sorted((*borrowed, *lower), key=_importance):
            if not (lacking := after.lacking(queue, head.needs)):
                break
            other = self.queues.get(workload.queue)
            if workload.queue != queue.name and (
                other is None or not after.borrows(other, lacking)
            ):
                continue
            if any(workload.needs.get(name) for name in lacking):
                after.remove(workload)
                chosen.append(workload)
        if after.lacking(queue, head.needs):
            return ()
        return tuple(self._needed(queue, head, after, chosen))

    @staticmethod
    def _needed(
        queue: Queue, head: Workload, after: Ledger, chosen: Sequence[Workload]
    ) -> Iterable[Workload]:
        """Without those that turn out not to have to go, the most important first."""
        for workload in reversed(chosen):
            after.add(workload)
            if after.lacking(queue, head.needs):
                after.remove(workload)
                yield workload


def _importance(workload: Workload) -> tuple[int, float]:
    return workload.priority, -(workload.started or 0.0)


def _started(workload: Workload, now: float) -> Workload:
    return Workload(
        *(workload.key, workload.queue, workload.needs, workload.created, workload.priority),
        *(workload.seconds, now),
    )

"""Who is admitted now, who makes room, and who waits for what. Pure.

Queues take turns: the one with the smallest share of what it may use is next. The head of a queue
that finds no room gets a reservation: the time at which what runs will have left enough. Others
pass it only if they delay none (EASY back-fill: they end before, or leave enough anyway). While a
head waits for what is its queue's own, nobody borrows of the cohort. Queues that let anybody pass
make no reservations, but for what is being made room for.
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.scheduler.queues import words
from weft.scheduler.queues.flavors import obstacles, with_flavors
from weft.scheduler.queues.model import (
    Amounts,
    Cohort,
    Decision,
    Eviction,
    Queue,
    Reservation,
    Workload,
    charge,
)
from weft.scheduler.queues.order import Line, by_queue
from weft.scheduler.queues.preemption import Victims, victims
from weft.scheduler.queues.quotas import Ledger, Tree

NO_COHORTS: Mapping[str, Cohort] = {}
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
    *,
    cohorts: Mapping[str, Cohort] = NO_COHORTS,
    by_share: bool = True,
) -> Decision:
    """One look at everything. `capacity`: what the nodes have for workloads of queues. `cohorts`:
    those that have more than their queues. `by_share`: the queue is next that uses the smallest
    share; otherwise the one whose head borrows nothing, then is the most important."""
    tree = Tree(queues, cohorts)
    return _Round(tree, workloads, capacity, now, places, by_share=by_share).run()


class _Round:
    def __init__(
        self,
        tree: Tree,
        workloads: Sequence[Workload],
        capacity: Amounts,
        now: float,
        places: Placing,
        *,
        by_share: bool,
    ) -> None:
        queues = tree.queues
        self.tree, self.queues, self.now, self.places = tree, queues, now, places
        self.by_share = by_share
        self.running = [w for w in workloads if w.started is not None]
        self.ledger = Ledger(tree, self.running, capacity)
        self.waits: dict[str, str] = {}
        self.admitted: list[str] = []
        self.chosen: dict[str, Workload] = {}
        self.evicted: list[Eviction] = []
        self.preempting: set[str] = set()
        """Queues that lend to one another, one of which is making room: one at a time."""
        self.making_room: set[str] = set()
        """Those that are."""
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
                continue
            queue, wanted = self.queues[name], self._with_flavors(self.queues[name], head)
            if not self._admit(queue, open_[name], head, wanted):
                blocked.append((queue, open_.pop(name), head))
                self._head_waits(queue, wanted)
        for queue, line, head in blocked:
            self._pass(queue, line, head)
        for name, line in self.lines.items():
            self.order[name] = tuple(w.key for w in line.rest(self.ledger))
        return Decision(
            *(tuple(self.admitted), tuple(self.evicted), self.waits, self.shown, self.order),
            self.chosen,
        )

    def _next(self, lines: Mapping[str, Line]) -> tuple[str, Workload | None]:
        heads = [(name, line.head(self.ledger)) for name, line in lines.items()]
        empty = next(((name, None) for name, head in heads if head is None), None)
        if empty is not None:
            return empty
        return min(heads, key=lambda pair: self._turn(*pair))

    def _turn(self, name: str, head: Workload | None) -> tuple[float, int, tuple[str, str, str]]:
        assert head is not None
        queue = self.queues[name]
        if self.by_share:
            return self.ledger.share(queue), 0, head.age
        return float(self._borrows(queue, head)), -head.priority, head.age

    def _borrows(self, queue: Queue, workload: Workload) -> bool:
        """Whether no flavor is its queue's own."""
        for group in queue.groups:
            wanted = {n: workload.needs[n] for n in group.resources if n in workload.needs}
            flavors = [f for f in group.flavors if f not in workload.barred]
            if not any(
                self.ledger.is_own(queue, {charge(n, f): much for n, much in wanted.items()})
                for f in flavors
            ):
                return True
        return False

    def _with_flavors(self, queue: Queue, workload: Workload) -> Workload:
        return with_flavors(queue, workload, self.ledger, self._victims)

    def _may_ever(self, queue: Queue | None, workload: Workload) -> bool:
        """Whether there is a queue, and it could be large enough; the reason otherwise."""
        if queue is None:
            lost = (
                f"there is no queue {workload.queue}; it runs once somebody creates it,"
                " or a LocalQueue of that name in its namespace"
            )
            self.waits[workload.key] = workload.problem or lost
            return False
        if workload.problem or queue.suspended:
            self.waits[workload.key] = workload.problem or f"{queue.title} is suspended"
            return False
        if queue.groups or queue.only_groups:
            if reasons := obstacles(queue, workload, self.ledger):
                self.waits[workload.key] = words.never_as(reasons)
            return not reasons
        most = {}
        for name, need in workload.needs.items():
            limit = self.ledger.most(queue, name)
            if limit is not None and need > max(limit, 0):
                most[name] = max(limit, 0)
        if most:
            self.waits[workload.key] = words.never(queue, most, workload.needs)
        return not most

    # --- admitting

    def _admit(self, queue: Queue, line: Line, waiting: Workload, workload: Workload) -> bool:
        """Admit it, if there is room, nobody is delayed, and nodes are found. `workload`: with
        its flavors."""
        if self.ledger.lacking(queue, workload.charges) or not self._delays_nobody(queue, workload):
            return False
        if self.places(workload):
            return False
        self.ledger.add(workload)
        line.drop(waiting)
        line.count(workload)
        self.admitted.append(workload.key)
        self.chosen[workload.key] = workload
        self.running.append(replace(workload, started=self.now))
        for found in self.reserved:
            if not self._ends_before(workload, found):
                for name, much in workload.charges.items():
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
        if queue.cohort and self.tree.root(queue) == self.tree.root(found.queue):
            return True
        # Of other queues only the nodes are shared, which limit those without a quota.
        return any(name not in found.queue.quota for name in found.lacking)

    def _ends_before(self, workload: Workload, found: _Reserved) -> bool:
        if found.at is None or workload.seconds is None:
            return False
        return self.now + workload.seconds <= found.at

    @staticmethod
    def _leaves_enough(workload: Workload, found: _Reserved) -> bool:
        needs = workload.charges
        return all(needs.get(name, 0) <= max(much, 0) for name, much in found.spare.items())

    # --- waiting

    def _pass(self, queue: Queue, line: Line, head: Workload) -> None:
        """Whoever may pass the head does; the others say that they wait for their turn."""
        if queue.passing == "Anybody":
            self._pass_all(queue, line, head)
            return
        behind = words.turn(queue, head)
        for waiting in line.rest(self.ledger):
            if waiting is head:
                continue
            workload = self._with_flavors(queue, waiting)
            if queue.passing == "Nobody" or not self._admit(queue, line, waiting, workload):
                self.waits[waiting.key] = behind

    def _pass_all(self, queue: Queue, line: Line, head: Workload) -> None:
        """Each is looked at as if it were next. Those that ask for the same as one that found no
        room find none either, as there is never more of it than before."""
        told: dict[tuple[object, ...], str] = {}
        for waiting in line.rest(self.ledger):
            if queue.name in self.making_room:
                return  # it stays next until those that make room are gone
            if waiting is head:
                continue
            needs, barred = tuple(waiting.needs.items()), tuple(waiting.barred)
            alike = (needs, barred, waiting.priority, waiting.count_min)
            if alike in told and queue.preemption.within != "LowerOrNewerEqualPriority":
                self.waits[waiting.key] = told[alike]
                continue
            workload = self._with_flavors(queue, waiting)
            if not self._admit(queue, line, waiting, workload):
                self._head_waits(queue, workload, alone=False)
                told[alike] = self.waits[waiting.key]

    def _head_waits(self, queue: Queue, head: Workload, *, alone: bool = True) -> None:
        """`alone`: of the first in line, say what has to end as well."""
        lacking = self.ledger.lacking(queue, head.charges)
        if lacking and not alone and not self._victims(queue, head, head.charges):
            shown = Reservation(head.key, None, lacking, {})
            self.waits[head.key] = words.head(queue, shown, (), self.now)
            return
        if lacking:
            self._wait_for_room(queue, head, lacking)
            return
        if self._delays_nobody(queue, head):
            # There is room, but not on the nodes as they are.
            self.waits[head.key] = words.unplaced(queue, self.places(head))
        else:
            self.waits[head.key] = f"is next in {queue.title}; {self._ahead()} come first"
        if queue.passing != "Anybody":
            needs = dict(head.charges)
            nothing = dict.fromkeys(needs, 0)
            self.reserved.append(_Reserved(queue, None, needs, nothing, False))

    def _ahead(self) -> str:
        return ", ".join(f"those of {found.queue.title}" for found in self.reserved)

    def _wait_for_room(self, queue: Queue, head: Workload, lacking: dict[str, int]) -> None:
        at, ends, after = self._when(queue, head)
        needs = head.charges
        spare = {
            name: max((room or 0) - needs[name], 0) if at is not None else 0
            for name in needs
            if (room := after.room(queue, name)) is not None
        }
        if at is None:
            spare = dict.fromkeys(lacking, 0)
        own = self.ledger.is_own(queue, needs)
        found = self._victims(queue, head, needs)
        if found:  # what is free already is kept for it
            spare = {n: max((self.ledger.room(queue, n) or 0) - needs[n], 0) for n in needs}
        if found or queue.passing != "Anybody":
            everybody = own or bool(found)
            self.reserved.append(_Reserved(queue, at, lacking, dict(spare), everybody))
            self.shown.setdefault(queue.name, Reservation(head.key, at, lacking, spare))
        if found:
            self.evicted += [Eviction(v.key, head.key, why) for v, why in found if not v.leaving]
            self.making_room.add(queue.name)
            self.preempting |= {q.name for q in self.tree.members(queue)}
            self.waits[head.key] = words.makes_room(queue, (v.name for v, _ in found))
        else:
            shown = Reservation(head.key, at, lacking, spare)
            self.waits[head.key] = words.head(queue, shown, (w.name for w in ends), self.now)

    def _when(
        self, queue: Queue, head: Workload
    ) -> tuple[float | None, Sequence[Workload], Ledger]:
        """When what runs will have left room for the head; what has to end until then."""
        after = self.ledger.copy()
        at: float | None = self.now
        ends = []
        needs = head.charges
        for workload in sorted(self.running, key=self._end):
            if not after.lacking(queue, needs):
                break
            before = after.lacking(queue, needs)
            after.remove(workload)
            if after.lacking(queue, needs) != before:
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

    def _victims(self, queue: Queue, head: Workload, charges: Amounts) -> Victims:
        if queue.name in self.preempting:
            return ()
        possible = [w for w in self.running if w.key not in self.chosen]
        return victims(queue, head, charges, possible, self.ledger)

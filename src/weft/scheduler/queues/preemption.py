"""What has to end so that somebody has room. Pure.

Source of the order of attempts: Kueue ("Classic Preemption").
"""

from collections.abc import Iterable, Iterator, Sequence

from weft.scheduler.queues.model import NO_PREEMPTION, Amounts, Queue, Why, Workload
from weft.scheduler.queues.quotas import Ledger

Victims = tuple[tuple[Workload, Why], ...]


def victims(
    queue: Queue, head: Workload, charges: Amounts, running: Iterable[Workload], ledger: Ledger
) -> Victims:
    """What is leaving anyway, then what others borrowed, then the least important, then the
    youngest; nobody in vain, and none if that would not be enough. `running`: whoever may still be
    chosen."""
    lacking = ledger.lacking(queue, charges)
    if queue.preemption == NO_PREEMPTION:
        return ()
    if queue.groups and not queue.preemption.borrowing and _is_beyond(queue, charges):
        return ()
    possible = [w for w in running if any(w.charges.get(name) for name in lacking)]
    own = _least_first(w for w in possible if w.queue == queue.name and _within(queue, head, w))
    others = _least_first(_of_others(queue, head, possible, lacking, ledger))
    below = ledger.is_below(queue, lacking)
    for candidates, borrowing in _attempts(queue, head, own, others, below=below):
        chosen = _chosen(queue, charges, candidates, ledger, borrowing=borrowing)
        if chosen:
            soft: Why = "InCohortReclaimWhileBorrowing" if borrowing else "InCohortReclamation"
            return tuple((w, "InClusterQueue" if w.queue == queue.name else soft) for w in chosen)
    return ()


def _is_beyond(queue: Queue, charges: Amounts) -> bool:
    """Whether it is more than its queue has, though nobody else had any of it."""
    return any(need > queue.quota.get(name, 0) for name, need in charges.items())


def _within(queue: Queue, head: Workload, other: Workload) -> bool:
    policy = queue.preemption.within
    if policy == "Never":
        return False
    if policy == "LowerOrNewerEqualPriority" and other.priority == head.priority:
        return other.created > head.created
    return other.priority < head.priority


def _of_others(
    queue: Queue,
    head: Workload,
    possible: Iterable[Workload],
    lacking: Amounts,
    ledger: Ledger,
) -> Iterator[Workload]:
    """What queues of the cohort borrow."""
    policy = queue.preemption.reclaim
    if not queue.cohort or policy == "Never":
        return
    members = {q.name: q for q in ledger.tree.members(queue) if q.name != queue.name}
    for workload in possible:
        other = members.get(workload.queue)
        if other is None or not ledger.borrows(other, lacking):
            continue
        if policy == "Any" or workload.priority < head.priority:
            yield workload


def _attempts(
    queue: Queue,
    head: Workload,
    own: Sequence[Workload],
    others: Sequence[Workload],
    *,
    below: bool,
) -> Iterator[tuple[Sequence[Workload], bool]]:
    """Candidates, and whether the queue may borrow afterwards. `below`: it uses less than its
    own of what is lacking."""
    policy = queue.preemption
    if others and policy.borrowing:
        most = policy.borrowing_priority_max
        soft = [w for w in others if w.priority < head.priority]
        yield [*(w for w in soft if most is None or w.priority <= most), *own], True
    if others and below:
        yield [*others, *own], False
    yield own, True


def _chosen(
    queue: Queue,
    charges: Amounts,
    candidates: Iterable[Workload],
    ledger: Ledger,
    *,
    borrowing: bool,
) -> tuple[Workload, ...]:
    after, found = ledger.copy(), []

    def fits() -> bool:
        return not after.lacking(queue, charges) and (borrowing or after.is_own(queue, charges))

    for workload in candidates:
        if fits():
            break
        other = ledger.tree.queues.get(workload.queue)
        lacking = after.lacking(queue, charges)
        if workload.queue != queue.name and (other is None or not after.borrows(other, lacking)):
            continue
        after.remove(workload)
        found.append(workload)
    if not fits():
        return ()
    needed = []
    for workload in reversed(found):
        after.add(workload)
        if not fits():
            after.remove(workload)
            needed.append(workload)
    return tuple(needed)


def _least_first(workloads: Iterable[Workload]) -> list[Workload]:
    young = sorted(workloads, key=lambda w: (w.created, w.key), reverse=True)
    return sorted(young, key=lambda w: (not w.leaving, w.priority, -(w.started or 0.0)))

"""What has to end so that somebody has room. Pure.

Source of the order of attempts: Kueue ("Classic Preemption").
"""

from collections.abc import Iterable, Iterator, Sequence

from weft.scheduler.queues.model import NO_PREEMPTION, Amounts, Queue, Why, Workload
from weft.scheduler.queues.quotas import Ledger, Member

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
    if queue.groups and not queue.preemption.borrowing and _is_beyond(queue, charges, ledger):
        return ()
    possible = [w for w in running if any(w.charges.get(name) for name in lacking)]
    own = _least_first(w for w in possible if w.queue == queue.name and _within(queue, head, w))
    others = _least_first(_of_others(queue, head, possible, lacking, ledger))
    below = [m for m in _quotas(queue, ledger) if ledger.is_below(queue, lacking, m)]
    for candidates, of in _attempts(queue, head, own, _outside(others, below, ledger)):
        chosen = _chosen(queue, charges, candidates, ledger, of)
        if chosen:
            soft: Why = "InCohortReclamation" if of else "InCohortReclaimWhileBorrowing"
            return tuple((w, "InClusterQueue" if w.queue == queue.name else soft) for w in chosen)
    return ()


def _is_beyond(queue: Queue, charges: Amounts, ledger: Ledger) -> bool:
    """Whether it is more than its queue has, and each cohort that it is in but the last one,
    though nobody else had any of it."""
    return not any(
        all(need <= ledger.tree.total(of, name) for name, need in charges.items())
        for of in _quotas(queue, ledger)
    )


def _quotas(queue: Queue, ledger: Ledger) -> list[Member]:
    """Whose quota may be taken back for a queue: not that of all who lend to one another."""
    path = ledger.tree.path(queue)
    return path[:-1] or path


def _outside(
    others: Sequence[Workload], below: Iterable[Member], ledger: Ledger
) -> list[tuple[Sequence[Workload], Member | None]]:
    """Of whom each quota is taken back. None: all others, whatever becomes of quotas."""
    queues = ledger.tree.queues
    found: list[tuple[Sequence[Workload], Member | None]] = [(others, None)]
    for of in below:
        outside = [w for w in others if not ledger.tree.inside(of, queues[w.queue])]
        found.append((outside, of))
    return found


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
    others: Iterable[tuple[Sequence[Workload], Member | None]],
) -> Iterator[tuple[Sequence[Workload], Member | None]]:
    """Candidates, and whose quota must not be exceeded afterwards."""
    policy = queue.preemption
    for found, of in others:
        if of is not None and found:
            yield [*found, *own], of
        elif of is None and found and policy.borrowing:
            most = policy.borrowing_priority_max
            soft = [w for w in found if w.priority < head.priority]
            yield [*(w for w in soft if most is None or w.priority <= most), *own], None
    yield own, None


def _chosen(
    queue: Queue,
    charges: Amounts,
    candidates: Iterable[Workload],
    ledger: Ledger,
    of: Member | None,
) -> tuple[Workload, ...]:
    after, found = ledger.copy(), []

    def fits() -> bool:
        if after.lacking(queue, charges):
            return False
        return of is None or after.is_own(queue, charges, of)

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

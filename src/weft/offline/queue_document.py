"""Queues and who is in them, as the control plane answers and the command line shows. Pure."""

from collections.abc import Iterable

from msgspec import Struct

from weft.api.snapshot import Snapshot
from weft.scheduler.kueue.controller import look as look_at_kueue
from weft.scheduler.queues.controller import look
from weft.scheduler.queues.model import Decision, Queue, Workload
from weft.scheduler.queues.words import amounts
from weft.scheduler.queues.workloads import queues


class Entry(Struct, frozen=True, rename="camel"):
    """One workload in a queue."""

    kind: str
    """job, group or pod."""
    namespace: str
    name: str
    state: str
    """admitted, next, waits."""
    needs: str
    created: str
    seconds: float | None = None
    """How long it is expected to run."""
    priority: int = 0
    why: str = ""
    """Why it waits, and what would let it run."""


class QueueDocument(Struct, frozen=True, rename="camel"):
    name: str
    policy: str
    quota: str
    entries: tuple[Entry, ...]
    """Those that run, the oldest first; then those that wait, in order."""


def document(snapshot: Snapshot, name: str, now: float) -> QueueDocument | None:
    """One queue, or ClusterQueue; None when there is none of this name."""
    if (queue := queues(snapshot).get(name)) is not None:
        items, decision = look(snapshot, now)
        return _document(queue, queue.policy, (i.workload for i in items), decision, now)
    setup, others, decision = look_at_kueue(snapshot, now)
    queue = setup.queues.get(name)
    if queue is None and name in setup.inactive:
        queue = Queue(name, kind="ClusterQueue")
    if queue is None:
        return None
    policy = "StrictFIFO" if queue.passing == "Nobody" else "BestEffortFIFO"
    alive = (i.workload for i in others if i.ended is None)
    return _document(queue, policy, alive, decision, now)


def _document(
    queue: Queue, policy: str, workloads: Iterable[Workload], decision: Decision, now: float
) -> QueueDocument:
    name = queue.name
    by_key = {w.key: w for w in workloads if w.queue == name}
    order = {key: place for place, key in enumerate(decision.order.get(name, ()))}
    on = [w for w in by_key.values() if w.started is not None or w.key in decision.admitted]
    off = [w for w in by_key.values() if w not in on]
    entries: list[Entry] = []
    ordered: list[Workload] = [
        *sorted(on, key=lambda w: (w.started or now, w.key)),
        *sorted(off, key=lambda w: (order.get(w.key, len(order)), w.created, w.key)),
    ]
    for workload in ordered:
        kind, namespace, its = workload.key.split("/", 2)
        waits = workload in off
        state = "admitted" if not waits else "next" if order.get(workload.key) == 0 else "waits"
        why = decision.waits.get(workload.key, "")
        entries.append(
            Entry(
                *(kind, namespace, its, state, amounts(workload.needs), workload.created),
                *(workload.seconds, workload.priority, why),
            )
        )
    return QueueDocument(name, policy, amounts(queue.quota), tuple(entries))

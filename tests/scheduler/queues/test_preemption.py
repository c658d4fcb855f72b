"""What may be ended for whom."""

from msgspec.structs import replace

from weft.scheduler.queues.admission import decide
from weft.scheduler.queues.model import Decision, Group, Preemption, Queue, Workload


def queue(name: str, cpu: int = 2, **more: object) -> Queue:
    made = Queue(name, "Priority", {"cpu": cpu}, "c", passing="Anybody", kind="ClusterQueue")
    return replace(made, **more)


def job(name: str, of: str, cpu: int = 1, priority: int = 0, *, on: bool = True) -> Workload:
    started = 0.0 if on else None
    return Workload(f"job/d/{name}", of, {"cpu": cpu}, name, priority, started=started)


def ended(found: Decision) -> dict[str, str]:
    return {e.key.rpartition("/")[2]: e.why for e in found.evicted}


def look(queues: list[Queue], *workloads: Workload) -> Decision:
    return decide({q.name: q for q in queues}, workloads, {}, 0.0, by_share=False)


def test_who_is_newer_of_the_same_priority_only_where_that_is_said() -> None:
    policy = Preemption(within="LowerOrNewerEqualPriority")
    new, old = job("z", "a", 2), job("b", "a", 1, on=False)
    assert ended(look([queue("a", preemption=policy)], new, old)) == {"z": "InClusterQueue"}
    policy = Preemption(within="LowerPriority")
    assert ended(look([queue("a", preemption=policy)], new, old)) == {}


def test_what_is_borrowed_is_taken_back_of_lower_priority_where_that_is_said() -> None:
    lent = [job(f"l{n}", "b", 1, priority=n) for n in range(4)]
    mine = job("m", "a", 2, priority=1, on=False)
    policy = Preemption(reclaim="LowerPriority")
    assert ended(look([queue("a", preemption=policy), queue("b")], *lent, mine)) == {}
    mine = replace(mine, priority=2)
    found = look([queue("a", preemption=policy), queue("b")], *lent, mine)
    assert ended(found) == dict.fromkeys(("l0", "l1"), "InCohortReclamation")


def test_nobody_takes_back_what_he_would_borrow_himself_unless_that_is_allowed() -> None:
    queues = [queue("a", 1, preemption=Preemption(reclaim="Any")), queue("b", 1), queue("d", 2)]
    lent = [job("l0", "b"), job("l1", "b", 1, -1), job("l2", "b", 1, 3), job("l3", "b")]
    mine = job("m", "a", 2, 2, on=False)
    assert ended(look(queues, *lent, mine)) == {}
    policy = Preemption(reclaim="Any", borrowing=True)
    queues[0] = replace(queues[0], preemption=policy)
    why = "InCohortReclaimWhileBorrowing"
    assert set(ended(look(queues, *lent, mine)).values()) == {why}
    assert len(ended(look(queues, *lent, mine))) == 2
    queues[0] = replace(queues[0], preemption=replace(policy, borrowing_priority_max=-1))
    assert ended(look(queues, *lent, mine)) == {}
    one = replace(mine, needs={"cpu": 1})
    assert "l1" in ended(look(queues, *lent, one))


def test_what_uses_its_own_is_left_alone() -> None:
    queues = [queue("a", preemption=Preemption(reclaim="Any")), queue("b")]
    found = look(queues, job("x", "a"), job("y", "a"), job("o", "b", 2), job("m", "a", on=False))
    assert ended(found) == {}


def test_one_makes_room_at_a_time() -> None:
    policy = Preemption(reclaim="Any")
    queues = [queue("a", preemption=policy), queue("b", preemption=policy), queue("d")]
    lent = [job(f"l{n}", "d") for n in range(6)]
    found = look(queues, *lent, job("m", "a", on=False), job("n", "b", on=False))
    assert len(ended(found)) == 1


def test_what_is_larger_than_its_queue_ends_nobody() -> None:
    groups = (Group(("cpu",), ("own",)),)
    mine = Queue(
        *("a", "Priority", {"cpu@own": 2}, "c"),
        preemption=Preemption(within="LowerPriority"), groups=groups, passing="Anybody",
    )  # fmt: skip
    other = replace(mine, name="b")
    busy = replace(job("x", "a", 2), flavors={"cpu": "own"})
    lent = replace(job("y", "b", 1), flavors={"cpu": "own"})
    assert ended(look([mine, other], busy, lent, job("m", "a", 3, 5, on=False))) == {}
    assert ended(look([mine, other], busy, lent, job("m", "a", 2, 5, on=False))) != {}

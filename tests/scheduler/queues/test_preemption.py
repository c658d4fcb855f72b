"""What may be ended for whom."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.examples import examples
from weft.scheduler.queues.admission import decide
from weft.scheduler.queues.model import (
    Cohort,
    Decision,
    Group,
    Passing,
    Preemption,
    Queue,
    Workload,
)

PASSING: tuple[Passing, ...] = ("Nobody", "Anybody")


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


def test_what_is_an_inner_cohorts_own_is_taken_back_of_those_outside() -> None:
    policy = Preemption(reclaim="Any")
    queues = {
        "a": queue("a", 1, cohort="left", preemption=policy), "b": queue("b", 2, cohort="left"),
        "z": queue("z", 1, cohort="right"),
    }  # fmt: skip
    cohorts = {name: Cohort(name, "all") for name in ("left", "right")}
    outside, inside = [job(f"z{n}", "z") for n in range(3)], job("x", "b")
    mine = job("m", "a", 2, on=False)
    found = decide(queues, [*outside, inside, mine], {}, 0.0, cohorts=cohorts, by_share=False)
    assert set(ended(found)) <= {"z0", "z1", "z2"}
    assert len(found.evicted) == 2
    flat = {name: replace(each, cohort="all") for name, each in queues.items()}
    found = decide(flat, [*outside, inside, mine], {}, 0.0, by_share=False)
    assert ended(found) == {}


# --- what holds whatever comes

POLICY = st.builds(
    Preemption,
    within=st.sampled_from(("Never", "LowerPriority", "LowerOrNewerEqualPriority")),
    reclaim=st.sampled_from(("Never", "LowerPriority", "Any")),
    borrowing=st.booleans(),
)
QUEUE = st.tuples(POLICY, st.integers(0, 3), st.integers(0, 3), st.sampled_from(PASSING))
ARRIVAL = st.tuples(
    st.integers(0, 6), st.sampled_from("pqr"), st.integers(1, 3), st.integers(0, 2),
    st.integers(1, 4),
)  # fmt: skip
STEPS_MAX = 400


@given(st.lists(QUEUE, min_size=3, max_size=3), st.lists(ARRIVAL, min_size=1, max_size=10))
@examples(150)
def test_quotas_hold_and_whoever_may_run_does_in_the_end(
    made: list[tuple[Preemption, int, int, Passing]],
    arrivals: list[tuple[int, str, int, int, int]],
) -> None:
    """Jobs begin anew when they were ended, and are gone one look later."""
    groups = (Group(("cpu",), ("own", "spot")),)
    queues = {
        name: Queue(
            *(name, "Priority", {"cpu@own": own, "cpu@spot": spot}, "c"),
            preemption=policy, passing=passing, groups=groups, kind="ClusterQueue",
        )
        for name, (policy, own, spot, passing) in zip("pqr", made, strict=True)
    }  # fmt: skip
    jobs = {
        f"job/d/{n}": Workload(f"job/d/{n}", of, {"cpu": cpu}, f"{at:02}{n:02}", priority)
        for n, (at, of, cpu, priority, _) in enumerate(arrivals)
    }
    left = {f"job/d/{n}": length for n, (*_, length) in enumerate(arrivals)}
    for now in range(STEPS_MAX):
        for key, workload in list(jobs.items()):
            if workload.leaving:
                jobs[key] = replace(workload, leaving=False, started=None, flavors={})
            elif workload.started is not None and workload.started + left[key] <= now:
                del jobs[key]
        there = [w for w in jobs.values() if int(w.created[:2]) <= now]
        found = decide(queues, there, {}, float(now), by_share=False)
        for key, chosen in found.chosen.items():
            jobs[key] = replace(chosen, started=float(now))
        for eviction in found.evicted:
            assert jobs[eviction.key].started is not None
            jobs[eviction.key] = replace(jobs[eviction.key], leaving=True)
        for flavor, place in (("cpu@own", 1), ("cpu@spot", 2)):
            used = sum(w.charges.get(flavor, 0) for w in jobs.values() if w.started is not None)
            assert used <= sum(each[place] for each in made)
        waits = [w for w in jobs.values() if w.started is None]
        if all(found.waits.get(w.key, "").startswith("never") for w in waits) and now > 6:
            return
    raise AssertionError("somebody starved, or two end each other without end")

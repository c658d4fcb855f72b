"""Queues: their policies, and what holds whatever comes."""

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.examples import examples
from weft.scheduler.queues.admission import decide
from weft.scheduler.queues.model import (
    NO_PREEMPTION,
    TAKES_BACK,
    Amounts,
    Decision,
    Eviction,
    Policy,
    Queue,
    Workload,
)

NOTHING: Amounts = {}


def job(name: str, cpu: int = 1, **more: object) -> Workload:
    """Named `a`, created in the order of names."""
    made = Workload(f"job/default/{name}", "q", {"cpu": cpu * 1000}, name)
    return replace(made, **more)


def running(name: str, cpu: int, started: float = 0.0, **more: object) -> Workload:
    return job(name, cpu, started=started, **more)


def queue(cpu: int = 4, policy: Policy = "FirstComeFirstServed", **more: object) -> Queue:
    return replace(Queue("q", policy, {"cpu": cpu * 1000}), **more)


def look(
    queues: Queue | Sequence[Queue], *workloads: Workload, capacity: Amounts = NOTHING
) -> Decision:
    every = [queues] if isinstance(queues, Queue) else queues
    return decide({q.name: q for q in every}, workloads, capacity, 0.0)


def admitted(decision: Decision) -> list[str]:
    return [key.rpartition("/")[2] for key in decision.admitted]


# --- policies


def test_first_come_first_served():
    assert admitted(look(queue(2), job("b"), job("c"), job("a"))) == ["a", "b"]


def test_the_shortest_first_and_those_of_unknown_length_last():
    found = look(
        queue(2, "ShortestJobFirst"), job("a"), job("b", seconds=60.0), job("c", seconds=5.0)
    )
    assert admitted(found) == ["c", "b"]


def test_the_most_important_first():
    assert admitted(look(queue(1, "Priority"), job("a"), job("b", priority=5))) == ["b"]


def test_the_most_important_ends_what_matters_less_and_no_more_than_it_needs():
    q = queue(4, "Priority", preemption=TAKES_BACK)
    old, young = running("old", 2, 1.0), running("young", 2, 2.0)
    found = look(q, old, young, job("urgent", 2, priority=5))
    assert found.evicted == (Eviction("job/default/young", "job/default/urgent", "InClusterQueue"),)
    assert found.waits["job/default/urgent"] == "is next in queue q; default/young makes room"
    assert look(q, old, young, job("equal", 2)).evicted == ()
    assert look(queue(4, "Priority"), old, young, job("urgent", 2, priority=5)).evicted == ()


def test_a_queue_is_shared_fairly_between_namespaces():
    mine = [job(f"a{n}") for n in range(4)]
    theirs = [replace(job(f"b{n}"), key=f"job/other/b{n}") for n in range(4)]
    assert admitted(look(queue(4, "FairShare"), *mine, *theirs)) == ["a0", "b0", "a1", "b1"]


def test_it_starts_whole_or_not_at_all():
    gang = replace(job("a"), needs={"cpu": 8000, "pods": 4})
    found = decide({"q": queue(8)}, [gang], {}, 0.0, lambda w: "too few nodes")
    assert found.admitted == ()
    assert "whose quota has room; no nodes have: too few nodes" in found.waits[gang.key]


# --- quotas and cohorts


def two(**more: object) -> list[Queue]:
    one = queue(4, cohort="c", **more)
    return [one, replace(one, name="p")]


def test_what_a_cohort_does_not_use_is_lent():
    assert len(admitted(look(two(), *(job(f"a{n}") for n in range(9))))) == 8


def test_as_much_as_may_be_borrowed():
    found = look(two(borrowing={"cpu": 1000}), *(job(f"a{n}") for n in range(9)))
    assert len(found.admitted) == 5


def test_what_was_lent_is_taken_back_when_it_is_needed():
    borrowed = [running(f"a{n}", 1, float(n)) for n in range(8)]
    late = replace(job("z", 2), queue="p")
    assert look(two(), *borrowed, late).evicted == ()
    found = look(two(preemption=TAKES_BACK), *borrowed, late)
    assert [e.key for e in found.evicted] == ["job/default/a6", "job/default/a7"]


def test_nobody_borrows_what_a_head_waits_for():
    full = [running(f"a{n}", 1, seconds=None) for n in range(6)]
    head = replace(job("b", 3), queue="p")
    assert admitted(look(two(), *full, head, job("c"))) == []
    assert admitted(look(two(), *full, job("c"))) == ["c"]


def test_queues_without_a_quota_share_the_nodes_by_their_weights():
    one = Queue("q")
    other = Queue("p", weight=3.0)
    mine = [job(f"a{n}") for n in range(8)]
    theirs = [replace(job(f"b{n}"), queue="p") for n in range(8)]
    found = look([one, other], *mine, *theirs, capacity={"cpu": 8000})
    assert len(found.admitted) == 8
    assert sum(name.startswith("b") for name in admitted(found)) == 6


# --- back-fill


def test_what_ends_before_the_head_starts_passes_it():
    busy = running("busy", 3, seconds=100.0)
    head = job("head", 4)
    short, long = job("short", 1, seconds=50.0), job("slow", 1, seconds=200.0)
    found = look(queue(4), busy, head, short, long)
    assert admitted(found) == ["short"]
    assert found.reserved["q"].at == 100.0
    assert found.waits["job/default/head"] == (
        "is next in queue q and lacks 3 cpu; runs when default/busy ends, in about 120 s"
    )
    assert found.waits["job/default/slow"] == "waits for its turn in queue q, after default/head"


def test_what_leaves_enough_for_the_head_passes_it():
    found = look(queue(6), running("busy", 4, seconds=100.0), job("head", 3), job("long", 2))
    assert admitted(found) == ["long"]
    found = look(queue(6), running("busy", 4, seconds=100.0), job("head", 5), job("long", 2))
    assert admitted(found) == []


def test_nobody_passes_a_head_of_which_nobody_knows_when_it_starts():
    assert admitted(look(queue(4), running("busy", 3), job("head", 4), job("next", 1))) == []


def test_nobody_passes_where_back_fill_is_off():
    busy = running("busy", 3, seconds=100.0)
    found = look(queue(4, passing="Nobody"), busy, job("head", 4), job("late", 1, seconds=1.0))
    assert admitted(found) == []


def test_what_can_never_run_is_told_and_holds_up_nobody():
    found = look(queue(4), job("a", 8), job("b", 1))
    assert admitted(found) == ["b"]
    assert "never runs: it needs 8 cpu, and queue q can have 4 cpu" in found.waits["job/default/a"]


def test_of_a_queue_that_is_not_there_and_of_one_that_is_suspended():
    lost = replace(job("a"), queue="none")
    found = look(queue(4, suspended=True), lost, job("b"))
    assert found.waits["job/default/a"].startswith("there is no queue none")
    assert found.waits["job/default/b"] == "queue q is suspended"


# --- what holds whatever comes

SIZES = st.integers(1, 4)
LENGTHS = st.integers(1, 20)
ARRIVALS = st.lists(st.tuples(st.integers(0, 30), SIZES, LENGTHS), min_size=1, max_size=14)


def simulate(q: Queue, arrivals: Sequence[tuple[int, int, int]]) -> Mapping[str, int]:
    """Start times, of jobs that run just as long as they say. Quotas are watched all the time, and
    reservations: a head never starts later than it was first told."""
    jobs = [
        replace(
            Workload(f"job/ns{n % 3}/j{n}", "q", {"cpu": cpu}, f"{at:04}{n:03}"),
            seconds=float(length),
        )
        for n, (at, cpu, length) in enumerate(arrivals)
    ]
    times = {w.key: at for w, (at, _, _) in zip(jobs, arrivals, strict=True)}
    started: dict[str, int] = {}
    promised: dict[str, float] = {}
    for now in range(400):
        known = [w for w in jobs if times[w.key] <= now]
        alive = [
            replace(w, started=started[w.key]) if w.key in started else w
            for w in known
            if w.key not in started or started[w.key] + (w.seconds or 0) > now
        ]
        found = decide({"q": q}, alive, {}, float(now))
        for key in found.admitted:
            started[key] = now
            if key in promised:
                assert now <= promised[key], "back-fill delayed who was next"
        used = sum(
            w.needs["cpu"]
            for w in known
            if w.key in started and started[w.key] + (w.seconds or 0) > now
        )
        assert used <= q.quota["cpu"]
        for reservation in found.reserved.values():
            assert reservation.at is not None
            if q.policy == "FirstComeFirstServed":
                promised.setdefault(reservation.workload, reservation.at)
        if len(started) == len(jobs):
            return started
    raise AssertionError("somebody starved")


POLICIES: tuple[Policy, ...] = (
    "FirstComeFirstServed",
    "ShortestJobFirst",
    "Priority",
    "FairShare",
)


@given(ARRIVALS, st.sampled_from(POLICIES), st.booleans())
@examples(150)
def test_quotas_hold_everybody_runs_and_reservations_are_kept(
    arrivals: list[tuple[int, int, int]], policy: Policy, backfill: bool
):
    simulate(Queue("q", policy, {"cpu": 4}, passing="Harmless" if backfill else "Nobody"), arrivals)


@given(ARRIVALS)
@examples(100)
def test_without_back_fill_nobody_is_passed(arrivals: list[tuple[int, int, int]]):
    started = simulate(Queue("q", "FirstComeFirstServed", {"cpu": 4}, passing="Nobody"), arrivals)
    order = sorted(range(len(arrivals)), key=lambda n: (arrivals[n][0], n))
    times = [started[f"job/ns{n % 3}/j{n}"] for n in order]
    assert times == sorted(times)


@given(
    st.lists(st.tuples(st.sampled_from("pqr"), SIZES, st.booleans()), max_size=12),
    st.integers(0, 4),
    st.booleans(),
)
@examples(150)
def test_a_cohort_never_uses_more_than_it_has(
    made: list[tuple[str, int, bool]], borrowing: int, preemption: bool
):
    base = Queue(
        "q", quota={"cpu": 4}, cohort="c", preemption=TAKES_BACK if preemption else NO_PREEMPTION
    )
    queues = {n: replace(base, name=n, borrowing={"cpu": borrowing}) for n in "pqr"}
    jobs = [
        Workload(f"job/default/{n}", name, {"cpu": cpu}, f"{n:03}")
        for n, (name, cpu, _) in enumerate(made)
    ]
    first = decide(queues, jobs, {}, 0.0)
    alive = [replace(w, started=0.0) if w.key in first.admitted else w for w in jobs]
    stay = [w for w, (_, _, ends) in zip(alive, made, strict=True) if not (w.started and ends)]
    second = decide(queues, stay, {}, 1.0)
    on = {w.key for w in stay if w.started is not None} | set(second.admitted)
    used = {n: sum(w.needs["cpu"] for w in stay if w.key in on and w.queue == n) for n in "pqr"}
    assert sum(used.values()) <= 12
    assert all(much <= 4 + borrowing for much in used.values())
    gone = {e.key for e in second.evicted}
    assert gone <= {w.key for w in stay if w.started is not None}

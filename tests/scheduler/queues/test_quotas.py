"""Quotas in trees of cohorts: what is kept, lent and borrowed."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.examples import examples
from weft.scheduler.queues.admission import decide
from weft.scheduler.queues.model import Amounts, Cohort, Queue, Workload
from weft.scheduler.queues.quotas import Ledger, Tree

NOTHING: Amounts = {}


def queue(name: str, cpu: int, cohort: str = "all", **more: object) -> Queue:
    return replace(Queue(name, quota={"cpu": cpu}, cohort=cohort), **more)


def room(queues: list[Queue], of: str, used: dict[str, int], *cohorts: Cohort) -> int | None:
    tree = Tree({q.name: q for q in queues}, {c.name: c for c in cohorts})
    on = [Workload(f"job/d/{n}", n, {"cpu": cpu}, started=0.0) for n, cpu in used.items()]
    return Ledger(tree, on, NOTHING).room(tree.queues[of], "cpu")


def test_what_is_not_lent_is_kept() -> None:
    queues = [queue("a", 4, lending={"cpu": 1}), queue("b", 2)]
    assert room(queues, "b", {}) == 3
    assert room(queues, "a", {"b": 3}) == 3
    assert room(queues, "a", {}) == 6
    assert room(queues, "a", {"a": 6}) == 0


def test_what_may_be_borrowed_is_limited() -> None:
    queues = [queue("a", 4, borrowing={"cpu": 1}), queue("b", 4)]
    assert room(queues, "a", {}) == 5
    assert room(queues, "a", {"b": 6}) == 2
    assert room(queues, "b", {}) == 8


def test_a_cohort_adds_its_own_and_limits_what_its_queues_have_of_others() -> None:
    queues = [queue("a", 2, "left"), queue("b", 2, "right"), queue("c", 2, "right")]
    left = Cohort("left", "all", quota={"cpu": 1}, borrowing={"cpu": 2})
    right = Cohort("right", "all", lending={"cpu": 3})
    assert room(queues, "a", {}, left, right) == 5
    assert room(queues, "b", {}, left, right) == 7
    assert room(queues, "b", {"a": 5}, left, right) == 2
    assert room(queues, "a", {"b": 4}, left, right) == 3


SMALL = st.integers(0, 4)
LIMIT = st.none() | SMALL


@given(
    st.lists(st.tuples(SMALL, LIMIT, LIMIT), min_size=3, max_size=3),
    st.lists(st.tuples(st.sampled_from("pqr"), st.integers(1, 3)), max_size=12),
    st.tuples(SMALL, LIMIT, LIMIT),
)
@examples(200)
def test_nobody_uses_what_is_kept_and_nobody_more_than_there_is(
    made: list[tuple[int, int | None, int | None]],
    asked: list[tuple[str, int]],
    shared: tuple[int, int | None, int | None],
) -> None:
    def limits(borrowing: int | None, lending: int | None) -> dict[str, Amounts]:
        given = {"borrowing": borrowing, "lending": lending}
        return {name: {"cpu": value} for name, value in given.items() if value is not None}

    queues = {
        name: queue(name, own, "inner" if name != "r" else "outer", passing="Anybody",
                    **limits(borrowing, lending))
        for name, (own, borrowing, lending) in zip("pqr", made, strict=True)
    }  # fmt: skip
    inner = replace(Cohort("inner", "outer", {"cpu": shared[0]}), **limits(*shared[1:]))
    jobs = [Workload(f"job/d/{n}", q, {"cpu": cpu}, f"{n:03}") for n, (q, cpu) in enumerate(asked)]
    found = decide(queues, jobs, NOTHING, 0.0, cohorts={"inner": inner}, by_share=False)
    used = dict.fromkeys("pqr", 0)
    for workload in found.chosen.values():
        used[workload.queue] += workload.needs["cpu"]
    assert sum(used.values()) <= sum(own for own, _, _ in made) + shared[0]
    for name, (own, borrowing, lending) in zip("pqr", made, strict=True):
        if borrowing is not None:
            assert used[name] <= own + borrowing
        kept = max(own - lending, 0) if lending is not None else 0
        left = room(list(queues.values()), name, used, inner)
        assert left is not None
        assert left >= kept - used[name], "somebody else uses what is kept"

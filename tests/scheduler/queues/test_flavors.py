"""Which flavor a workload gets, and when it gets fewer pods."""

from msgspec.structs import replace

from weft.scheduler.queues.admission import decide
from weft.scheduler.queues.model import (
    Decision,
    Fungibility,
    Group,
    Preemption,
    Queue,
    Workload,
)

LOWER = Preemption(within="LowerPriority", reclaim="Any")


def queue(name: str = "q", own: int = 2, spot: int = 2, **more: object) -> Queue:
    made = Queue(
        *(name, "Priority", {"cpu@own": own, "cpu@spot": spot}),
        passing="Anybody",
        groups=(Group(("cpu",), ("own", "spot")),),
        kind="ClusterQueue",
    )
    return replace(made, **more)


def job(name: str, cpu: int = 1, flavor: str = "", **more: object) -> Workload:
    made = Workload(f"job/d/{name}", "q", {"cpu": cpu}, name)
    if flavor:
        made = replace(made, flavors={"cpu": flavor}, started=0.0)
    return replace(made, **more)


def look(queues: list[Queue], *workloads: Workload) -> Decision:
    return decide({q.name: q for q in queues}, workloads, {}, 0.0, by_share=False)


def given(found: Decision, name: str) -> str:
    return found.chosen[f"job/d/{name}"].flavors["cpu"]


def test_the_first_that_has_room_is_taken() -> None:
    found = look([queue()], job("a", 2), job("b", 2))
    assert (given(found, "a"), given(found, "b")) == ("own", "spot")


def test_one_that_is_barred_is_passed_over() -> None:
    found = look([queue()], job("a", barred={"own": "untolerated taint"}))
    assert given(found, "a") == "spot"


def test_borrowing_is_preferred_to_the_next_flavor_unless_told() -> None:
    two = [queue(cohort="c"), queue("p", cohort="c")]
    assert given(look(two, job("a", 2, "own"), job("b", 2)), "b") == "own"
    rules = Fungibility(before_borrowing=True)
    two = [replace(q, fungibility=rules) for q in two]
    assert given(look(two, job("a", 2, "own"), job("b", 2)), "b") == "spot"


def test_the_next_flavor_is_preferred_to_preemption_unless_told() -> None:
    busy, urgent = job("a", 2, "own"), job("b", 2, priority=5)
    found = look([queue(preemption=LOWER)], busy, urgent)
    assert given(found, "b") == "spot"
    rules = Fungibility(before_preempting=False)
    found = look([queue(preemption=LOWER, fungibility=rules)], busy, urgent)
    assert [e.key for e in found.evicted] == ["job/d/a"]


def test_when_every_flavor_asks_for_something_the_preference_decides() -> None:
    """`own` would have to be borrowed, of `spot` something would have to end."""
    rules = Fungibility(before_borrowing=True)
    two = [
        queue(own=1, cohort="c", preemption=LOWER, fungibility=rules),
        queue("p", own=3, spot=0, cohort="c"),
    ]
    busy, urgent = job("a", 2, "spot"), job("b", 2, priority=5)
    assert given(look(two, busy, urgent), "b") == "own"
    two[0] = replace(two[0], fungibility=replace(rules, borrowing_is_better=False))
    assert [e.key for e in look(two, busy, urgent).evicted] == ["job/d/a"]


def test_as_many_pods_as_there_is_room_for() -> None:
    found = look([queue(own=7, spot=5)], job("a", 20, count=10, count_min=2))
    chosen = found.chosen["job/d/a"]
    assert (chosen.count, chosen.needs, chosen.flavors) == (3, {"cpu": 6}, {"cpu": "own"})
    assert look([queue(own=3, spot=3)], job("a", 20, count=10, count_min=2)).chosen == {}


def test_resources_of_one_group_are_of_one_flavor() -> None:
    one = queue()
    quota = {"cpu@own": 4, "gpu@own": 0, "cpu@spot": 4, "gpu@spot": 4}
    one = replace(one, quota=quota, groups=(Group(("cpu", "gpu"), ("own", "spot")),))
    found = look([one], job("a", needs={"cpu": 1, "gpu": 1}))
    assert found.chosen["job/d/a"].flavors == {"cpu": "spot", "gpu": "spot"}

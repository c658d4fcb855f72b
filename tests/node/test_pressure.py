"""When a node lacks something: thresholds, since when they are not kept, and what that means."""

import pytest

from weft.node import pressure
from weft.node.pressure import (
    ALLOCATABLE,
    MEMORY,
    NODEFS,
    PIDS,
    Amount,
    Observation,
    Options,
    Signal,
    State,
    Threshold,
    step,
    thresholds,
)

MI = 1024.0 * 1024
SEEN: dict[Signal, Observation] = {
    MEMORY: Observation(50 * MI, 1000 * MI),
    PIDS: Observation(900, 1000),
}


def hard(text: str) -> tuple[Threshold, ...]:
    return thresholds(Options(text))


def test_thresholds_are_quantities_and_shares() -> None:
    found = pressure.parse("memory.available<100Mi, pid.available<5%")
    assert found == ((MEMORY, Amount(100 * MI)), (PIDS, Amount(0.05, share=True)))
    assert pressure.parse("") == ()
    assert pressure.parse(pressure.EVICTION_HARD_DEFAULT)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (Options("memory.available>1Gi"), "write it like"),
        (Options("disk.available<1Gi"), "no signal disk.available; there are memory.available"),
        (Options("allocatableMemory.available<1Gi"), "no signal"),
        (Options("memory.available<much"), "neither a quantity"),
        (Options("memory.available<101%"), "out of range"),
        (Options("memory.available<-1"), "out of range"),
        (Options("memory.available<1Gi,memory.available<2Gi"), "twice"),
        (Options("memory.available<nan%"), "out of range"),
        (Options("", "memory.available<1Gi"), "needs --eviction-soft-grace-period"),
        (Options("", "", "memory.available=soon"), "no time like 1m30s"),
        (Options("", "", "", "memory.available<1Gi"), "write it like memory.available=50Mi"),
        (Options("", "", "", "memory.available=1Mi,memory.available=2Mi"), "stands twice"),
    ],
)
def test_what_is_no_threshold_says_so(options: Options, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        thresholds(options)


def test_a_hard_threshold_of_memory_holds_for_all_pods_together() -> None:
    options = Options(
        "memory.available<1Mi", "memory.available<2Mi", "memory.available=1m",
        "memory.available=3Mi",
    )  # fmt: skip
    assert thresholds(options, allocatable=True) == (
        Threshold(MEMORY, Amount(MI), None, Amount(3 * MI)),
        Threshold(MEMORY, Amount(2 * MI), 60.0, Amount(3 * MI)),
        Threshold(ALLOCATABLE, Amount(MI), None, Amount(3 * MI)),
    )


@pytest.mark.parametrize(
    ("text", "signals"),
    [
        ("memory.available<51Mi", [MEMORY]),
        ("memory.available<50Mi", []),
        ("memory.available<5.1%", [MEMORY]),
        ("pid.available<91%,memory.available<1Gi", [MEMORY, PIDS]),
        ("nodefs.available<99%", []),  # not seen
        ("", []),
    ],
)
def test_a_threshold_is_met_below_it(text: str, signals: list[str]) -> None:
    assert [t.signal for t in step(State(), hard(text), SEEN, 0.0, 30.0).due] == signals


def test_a_pressure_lasts_for_a_while() -> None:
    wanted = hard("memory.available<51Mi")
    found = step(State(), wanted, SEEN, 100.0, 30.0)
    assert (found.holding, len(found.news)) == (("MemoryPressure",), 1)
    enough: dict[Signal, Observation] = {MEMORY: Observation(60 * MI, 1000 * MI)}
    found = step(found.state, wanted, enough, 110.0, 30.0)
    assert (found.holding, found.due, found.news) == (("MemoryPressure",), (), ())
    found = step(found.state, wanted, enough, 131.0, 30.0)
    assert found.holding == ()
    found = step(found.state, wanted, SEEN, 140.0, 30.0)
    assert len(found.news) == 1, "it is news again"


def test_a_soft_threshold_has_time() -> None:
    wanted = thresholds(Options("", "nodefs.available<100", "nodefs.available=10s"))
    low: dict[Signal, Observation] = {NODEFS: Observation(50, 1000)}
    enough: dict[Signal, Observation] = {NODEFS: Observation(100, 1000)}
    found = step(State(), wanted, low, 0.0, 5.0)
    assert (found.holding, found.due) == (("DiskPressure",), ())
    found = step(found.state, wanted, low, 9.0, 5.0)
    assert found.due == ()
    assert step(found.state, wanted, low, 10.0, 5.0).due == wanted
    found = step(found.state, wanted, enough, 10.0, 5.0)
    found = step(found.state, wanted, low, 11.0, 5.0)
    assert found.due == (), "the time begins anew"


def test_more_than_the_threshold_is_reclaimed() -> None:
    wanted = thresholds(Options("memory.available<100", minimum_reclaim="memory.available=50"))

    def at(state: State, left: int) -> pressure.Step:
        return step(state, wanted, {MEMORY: Observation(left, 1000)}, 0.0, 0.0)

    assert at(State(), 120).due == ()
    low = at(State(), 99)
    assert low.due == wanted
    between = at(low.state, 149)
    assert between.due == wanted
    assert between.news == ()
    assert at(between.state, 150).due == ()


def test_what_the_kernel_says() -> None:
    meminfo = "MemTotal:  2000 kB\nMemFree: 10 kB\nMemAvailable:   1000 kB\n"
    assert pressure.memory_available(meminfo) == 1000 * 1024
    assert pressure.memory_available(meminfo, 900 * 1024, 400 * 1024) == 500 * 1024
    assert pressure.memory_available(meminfo, 900 * 1024, 999 * 1024) == 0
    assert pressure.memory_available(meminfo, 9000 * 1024, 0) == 1000 * 1024
    assert pressure.threads_running("0.5 0.4 0.3 2/345 6789\n") == 345

"""When a node lacks memory or process ids: thresholds, who goes first, and what is said."""

import pytest

from weft.node import pressure
from weft.node.pressure import MEMORY, PIDS, Candidate, Observation, Threshold, Use

MI = 1024.0 * 1024
SEEN = {MEMORY: Observation(50 * MI, 1000 * MI), PIDS: Observation(900, 1000)}


def pod(
    uid: str, used: float, request: float = 0, priority: int = 0, processes: int = 1
) -> Candidate:
    return Candidate(uid, priority, {"c": request * MI}, {"c": Use(used * MI, processes)})


def order(signal: pressure.Signal, *pods: Candidate) -> list[str]:
    return [p.uid for p in pressure.rank(signal, pods)]


def test_thresholds_are_quantities_and_shares() -> None:
    found = pressure.parse("memory.available<100Mi, pid.available<5%")
    assert found == (Threshold(MEMORY, 100 * MI), Threshold(PIDS, 0.05, share=True))
    assert pressure.parse("") == ()
    assert pressure.parse(pressure.EVICTION_HARD_DEFAULT)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("memory.available>1Gi", "write it like"),
        ("disk.available<1Gi", "write it like"),
        ("memory.available<much", "neither a quantity"),
        ("memory.available<101%", "out of range"),
        ("memory.available<-1", "out of range"),
        ("memory.available<1Gi,memory.available<2Gi", "twice"),
        ("memory.available<nan%", "out of range"),
    ],
)
def test_what_is_no_threshold_says_so(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        pressure.parse(text)


@pytest.mark.parametrize(
    ("text", "signals"),
    [
        ("memory.available<51Mi", [MEMORY]),
        ("memory.available<50Mi", []),
        ("memory.available<5.1%", [MEMORY]),
        ("pid.available<91%,memory.available<1Gi", [MEMORY, PIDS]),
        ("", []),
    ],
)
def test_a_threshold_is_met_below_it(text: str, signals: list[str]) -> None:
    assert [t.signal for t in pressure.met(pressure.parse(text), SEEN)] == signals


def test_a_pressure_lasts_for_a_while() -> None:
    last = {MEMORY: 100.0}
    assert pressure.pressures(last, 110.0, 30.0) == (MEMORY,)
    assert pressure.pressures(last, 130.0, 30.0) == ()
    assert pressure.pressures({}, 130.0, 30.0) == ()


def test_memory_is_taken_from_whoever_has_more_than_they_asked_for() -> None:
    """Then by priority, then by how much more."""
    pods = (
        pod("modest", used=500, request=600),
        pod("greedy", used=300, request=100),
        pod("greediest", used=400, request=100),
        pod("greedy-but-important", used=900, request=100, priority=5),
        pod("critical", used=999, priority=2_000_001_000),
    )
    assert order(MEMORY, *pods) == ["greediest", "greedy", "greedy-but-important", "modest"]


def test_process_ids_are_taken_by_priority_and_number() -> None:
    pods = (
        pod("few", 9, processes=2), pod("many", 1, processes=90),
        pod("important", 1, processes=999, priority=1),
    )  # fmt: skip
    assert order(PIDS, *pods) == ["many", "few", "important"]


def test_a_pod_that_goes_is_told_why() -> None:
    (threshold,) = pressure.parse("memory.available<100Mi")
    text = pressure.message(threshold, SEEN[MEMORY], pod("a", used=30, request=10))
    assert text.strip() == (
        "The node was low on resource: memory. Threshold quantity: 102400Ki, available: 51200Ki."
        " Container c was using 30720Ki, request is 10240Ki, has larger consumption of memory."
    )
    (threshold,) = pressure.parse("pid.available<95%")
    text = pressure.message(threshold, SEEN[PIDS], pod("a", 1))
    assert text.strip().endswith("pids. Threshold quantity: 950, available: 900.")


def test_what_the_kernel_says() -> None:
    meminfo = "MemTotal:  2000 kB\nMemFree: 10 kB\nMemAvailable:   1000 kB\n"
    assert pressure.memory_available(meminfo) == 1000 * 1024
    assert pressure.memory_available(meminfo, 900 * 1024, 400 * 1024) == 500 * 1024
    assert pressure.memory_available(meminfo, 900 * 1024, 999 * 1024) == 0
    assert pressure.memory_available(meminfo, 9000 * 1024, 0) == 1000 * 1024
    assert pressure.threads_running("0.5 0.4 0.3 2/345 6789\n") == 345

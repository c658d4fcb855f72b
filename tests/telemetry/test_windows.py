"""Counts over time: what is added is found again while it is kept, and nothing else is."""

from hypothesis import given
from hypothesis import strategies as st

from weft.telemetry.windows import Ring, Tier, Window

TIER = Tier(5, 6)
EVENTS = st.lists(st.tuples(st.integers(0, 200), st.integers(1, 9)), max_size=60)


def test_rows_are_whole_steps_oldest_first() -> None:
    ring = Ring(TIER, 2)
    ring.add(100, (1, 0))
    ring.add(104.9, (2, 5))
    ring.add(111, (4, 0))
    assert ring.rows(115, 3) == [[3, 5], [0, 0], [4, 0]]
    assert ring.rows(110, 1) == [[0, 0]]


def test_old_steps_are_overwritten() -> None:
    ring = Ring(TIER, 1)
    ring.add(100, (1,))
    ring.add(100 + 5 * 6, (1,))
    assert ring.rows(135, 5) == [[0], [0], [0], [0], [1]]
    ring.add(100, (7,))
    assert ring.rows(135, 5) == [[0], [0], [0], [0], [1]], "too old to be kept"


@given(EVENTS)
def test_a_ring_remembers_what_a_list_would(events: list[tuple[int, int]]) -> None:
    ring = Ring(TIER, 1)
    now = 0
    for at, count in sorted(events):
        now = at
        ring.add(at, (count,))
    wanted = []
    for step in range(now // 5 - 5, now // 5):
        wanted.append([sum(c for at, c in events if at // 5 == step)])
    assert ring.rows(now, 5) == wanted


def test_a_window_takes_the_finest_tier_that_reaches_back() -> None:
    window = Window(1, (Tier(5, 12), Tier(60, 10)))
    for second in range(0, 600, 5):
        window.add(second, (1,))
    assert window.last(600, 30) == [6]
    assert window.series(600, 30)[0] == 5
    assert window.last(600, 300) == [60]
    assert window.series(600, 300) == (60, [[12.0]] * 5)

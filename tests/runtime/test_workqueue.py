from hypothesis import given
from hypothesis import strategies as st

from weft.runtime.workqueue import (
    BACKOFF_SECONDS_MAX,
    BACKOFF_SECONDS_MIN,
    BACKOFF_WAKE_SECONDS_MAX,
    WorkQueue,
)


def drain(queue: WorkQueue[str], now: float) -> list[str]:
    found = []
    while (key := queue.pop(now)) is not None:
        found.append(key)
    return found


def test_keys_come_once_and_in_order() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in "abacb":
        queue.add(key, 0)
    assert drain(queue, 0) == ["a", "b", "c"]


def test_a_key_is_never_worked_on_twice_at_a_time() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", 0)
    assert queue.pop(0) == "a"
    queue.add("a", 1)
    queue.add_after("a", 1, 1)
    assert queue.pop(5) is None
    queue.done("a", 5)
    assert drain(queue, 5) == ["a"]
    queue.done("a", 5)
    assert drain(queue, 100) == []


def test_a_delayed_key_comes_when_due_or_when_added() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 10, 0)
    queue.add_after("b", 5, 0)
    queue.add_after("a", 20, 0)
    assert queue.next_at() == 5
    assert drain(queue, 4.9) == []
    assert drain(queue, 10) == ["b", "a"]
    assert queue.next_at() is None
    queue.done("a", 10)
    queue.add_after("a", 10, 10)
    queue.add("a", 11)
    assert drain(queue, 11) == ["a"]
    assert queue.next_at() is None


def test_failures_back_off_up_to_a_limit_and_success_forgets_them() -> None:
    queue: WorkQueue[str] = WorkQueue()
    now, waits = 0.0, []
    queue.add("a", now)
    for _ in range(15):
        assert queue.pop(now) == "a"
        wait = queue.fail("a", now)
        waits.append(wait)
        assert queue.pop(now + wait * 0.99) is None
        now += wait
    assert waits[:3] == [BACKOFF_SECONDS_MIN, 2 * BACKOFF_SECONDS_MIN, 4 * BACKOFF_SECONDS_MIN]
    assert waits[-1] == BACKOFF_SECONDS_MAX
    assert queue.pop(now) == "a"
    queue.done("a", now)
    queue.add("a", now)
    assert queue.pop(now) == "a"
    assert queue.fail("a", now) == BACKOFF_SECONDS_MIN


def test_a_change_cuts_a_long_back_off_but_not_to_nothing() -> None:
    queue: WorkQueue[str] = WorkQueue()
    now = 0.0
    queue.add("a", now)
    for _ in range(12):
        assert queue.pop(now) == "a"
        now += queue.fail("a", now)
    assert queue.pop(now) == "a"
    queue.fail("a", now)
    queue.add("a", now)
    assert queue.pop(now) is None
    assert queue.pop(now + BACKOFF_WAKE_SECONDS_MAX) == "a"


def test_a_change_while_a_key_fails_waits_for_the_back_off() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", 0)
    assert queue.pop(0) == "a"
    queue.add("a", 0)
    wait = queue.fail("a", 0)
    assert queue.pop(0) is None
    assert queue.pop(wait) == "a"


steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "after", "pop", "done", "fail", "release"]),
        st.sampled_from("abc"),
        st.floats(0, 3),
    ),
    max_size=60,
)


@given(steps)
def test_no_key_is_lost_and_none_runs_twice_at_once(plan: list[tuple[str, str, float]]) -> None:
    queue: WorkQueue[str] = WorkQueue()
    now, working, owed = 0.0, set(), set()
    for step, key, seconds in plan:
        now += seconds
        match step:
            case "add":
                queue.add(key, now)
                owed.add(key)
            case "after":
                queue.add_after(key, seconds, now)
                owed.add(key)
            case "pop":
                found = queue.pop(now)
                if found is not None:
                    assert found not in working
                    assert found in owed
                    working.add(found)
                    owed.discard(found)
            case _ if key in working:
                working.discard(key)
                getattr(queue, step)(key, now)
                if step == "fail":
                    owed.add(key)
    for key in list(working):
        queue.done(key, now)
    left = set()
    while (found := queue.pop(now + 1000)) is not None:
        left.add(found)
        queue.done(found, now + 1000)
    assert owed <= left

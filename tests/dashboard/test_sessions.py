"""Sessions: who is let in, for how long, how often."""

import itertools

from weft.dashboard.sessions import (
    CODE_SECONDS_MAX,
    CODES_MAX,
    FAILURE_SECONDS,
    FAILURES_MAX,
    IDLE_SECONDS_MAX,
    SESSION_SECONDS_MAX,
    SESSIONS_MAX,
    Sessions,
)


def sessions() -> Sessions:
    numbers = itertools.count()
    return Sessions(lambda: f"secret-{next(numbers)}")


def test_both_halves_are_needed() -> None:
    kept = sessions()
    mine = kept.begin("token", "ada", 0)
    other = kept.begin("token", "bob", 0)
    assert kept.find(mine.id, mine.key, 1) is mine
    assert kept.find(mine.id, "", 1) is None
    assert kept.find(mine.id, other.key, 1) is None
    assert kept.find("", mine.key, 1) is None
    assert kept.find(mine.id, "ключ", 1) is None


def test_a_session_ends_by_itself_and_when_asked() -> None:
    kept = sessions()
    idle = kept.begin("token", "ada", 0)
    assert kept.find(idle.id, idle.key, IDLE_SECONDS_MAX + 1) is None
    busy, moment = kept.begin("token", "ada", 0), 0.0
    while moment < SESSION_SECONDS_MAX:
        assert kept.find(busy.id, busy.key, moment) is busy
        moment += IDLE_SECONDS_MAX / 2
    assert kept.find(busy.id, busy.key, SESSION_SECONDS_MAX + 1) is None
    asked = kept.begin("token", "ada", 0)
    kept.end(asked)
    assert not kept.is_open(asked, 0)


def test_a_code_logs_in_once_and_soon() -> None:
    kept = sessions()
    code = kept.code("token", "ada", 0)
    found = kept.redeem(code, 1)
    assert found is not None
    assert (found.user, found.token) == ("ada", "token")
    assert kept.redeem(code, 2) is None
    assert kept.redeem(kept.code("token", "ada", 0), CODE_SECONDS_MAX + 1) is None
    first = kept.code("token", "ada", 0)
    for _ in range(CODES_MAX):
        kept.code("token", "ada", 0)
    assert kept.redeem(first, 1) is None


def test_guessing_ends_soon() -> None:
    kept = sessions()
    for _ in range(FAILURES_MAX):
        assert not kept.closed(0)
        kept.failed(0)
    assert kept.closed(1)
    assert not kept.closed(FAILURE_SECONDS + 1)


def test_the_least_used_makes_room() -> None:
    kept = sessions()
    first, second = kept.begin("token", "ada", 0), kept.begin("token", "bob", 0)
    kept.find(first.id, first.key, 1)
    for _ in range(SESSIONS_MAX - 1):
        kept.begin("token", "eve", 2)
    assert kept.find(first.id, first.key, 3) is first
    assert kept.find(second.id, second.key, 3) is None

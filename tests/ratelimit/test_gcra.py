"""The counting rule: the burst at once, then the rate, whatever the times of the questions."""

from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from weft.ratelimit.gcra import Quota, take

START = 1000.0


def test_the_burst_passes_at_once_and_then_the_rate() -> None:
    quota = Quota(requests=10, per=1.0, burst=3)
    full_at, seen = 0.0, []
    for _ in range(5):
        verdict, full_at = take(full_at, quota, START)
        seen.append((verdict.allowed, verdict.remaining))
    assert seen == [(True, 2), (True, 1), (True, 0), (False, 0), (False, 0)]
    verdict, _ = take(full_at, quota, START)
    assert abs(verdict.retry_after - 0.1) < 1e-6
    again, _ = take(full_at, quota, START + verdict.retry_after)
    assert again.allowed


def test_a_pause_fills_the_burst_and_no_more() -> None:
    quota = Quota(requests=60, per=60.0, burst=2)
    full_at = 0.0
    for _ in range(2):
        _, full_at = take(full_at, quota, START)
    later = START + 3600
    assert take(full_at, quota, later)[0].remaining == 1


def test_a_clock_that_is_set_back_costs_one_allowance_at_most() -> None:
    quota = Quota(requests=60, per=60.0, burst=2)
    _, full_at = take(0.0, quota, START)
    refused, full_at = take(full_at, quota, START - 3600)
    assert not refused.allowed
    assert refused.retry_after <= 1.0
    assert take(full_at, quota, START - 3600 + refused.retry_after)[0].allowed


@examples(200)
@given(
    st.integers(1, 50), st.sampled_from([1.0, 60.0]), st.integers(1, 50),
    st.lists(st.floats(0, 2.0), min_size=1, max_size=200),
)  # fmt: skip
def test_never_more_than_burst_and_rate(
    requests: int, per: float, burst: int, pauses: list[float]
) -> None:
    quota, full_at, now, passed = Quota(requests, per, burst), 0.0, START, 0
    for pause in pauses:
        now += pause
        verdict, full_at = take(full_at, quota, now)
        passed += verdict.allowed
        assert passed <= burst + (now - START) * requests / per + 1e-6
        assert 0 <= verdict.remaining < burst or not verdict.allowed

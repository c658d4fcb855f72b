"""Random numbers from a pool."""

from collections import Counter

import pytest

from weft.lib.randomness import POOL_BYTES, Randomness


def test_all_numbers_below_the_limit_come_up_alike() -> None:
    random = Randomness()
    counted = Counter(random.below(3) for _ in range(9000))
    assert counted.keys() == {0, 1, 2}
    assert min(counted.values()) > 2700  # expected 3,000, a deviation is 45


@pytest.mark.parametrize(
    "limit",
    [1, 2, 255, 256, 1 << 128, 1 << 8 * POOL_BYTES],
    ids=lambda limit: str(limit.bit_length()),
)
def test_limits_of_any_size(limit: int) -> None:
    random = Randomness()
    assert all(0 <= random.below(limit) < limit for _ in range(20))


def test_no_number_comes_twice() -> None:
    random = Randomness()
    assert len({random.below(1 << 128) for _ in range(5000)}) == 5000

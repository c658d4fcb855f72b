from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.store import keys
from weft.store.keys import SortedKeys, prefix_end

texts = st.text(alphabet="ab/\U0010ffff", max_size=4)


@given(st.lists(texts, max_size=60), texts, st.one_of(st.none(), texts), st.integers(1, 5))
def test_it_behaves_like_a_sorted_list(
    toggles: list[str], low: str, high: str | None, limit: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "BUCKET_KEYS", 2)
        found, model = SortedKeys(), set[str]()
        for key in toggles:
            if key in model:
                found.remove(key)
                model.discard(key)
            else:
                found.add(key)
                model.add(key)
            wanted = sorted(k for k in model if k >= low and (high is None or k < high))
            assert found.between(low, high) == (wanted, 0)
            assert found.between(low, high, limit) == (
                wanted[:limit],
                max(0, len(wanted) - limit),
            )


@given(texts, texts)
def test_a_prefix_range_holds_what_starts_with_the_prefix(prefix: str, key: str) -> None:
    end = prefix_end(prefix)
    inside = key >= prefix and (end is None or key < end)
    assert inside == key.startswith(prefix)


def test_many_keys_in_any_order() -> None:
    names = [f"/k/{n * 7919 % 20_011:05d}" for n in range(20_000)]
    found = SortedKeys()
    for name in names:
        found.add(name)
    ordered = sorted(names)
    assert found.between("", None) == (ordered, 0)
    at = bisect_left(ordered, "/k/1")
    assert found.between("/k/1", None, 3) == (ordered[at : at + 3], len(names) - at - 3)
    for name in names[:10_000]:
        found.remove(name)
    assert found.between("", None) == (sorted(names[10_000:]), 0)

"""Merge patches say exactly what changed."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from weft.api.merging import merge_diff
from weft.apiserver.patches import merge

leaf = st.one_of(st.integers(0, 3), st.text("ab", max_size=2), st.lists(st.integers(0, 2)))
body = st.recursive(
    leaf, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
)
objects = st.dictionaries(st.sampled_from("abc"), body, max_size=3)


@given(objects, objects)
@examples(80)
def test_the_patch_leads_from_old_to_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert merge(old, merge_diff(old, new)) == new
    assert merge_diff(new, new) == {}

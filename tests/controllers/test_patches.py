"""Merge patches say exactly what changed."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.controllers.simulate import make, merge
from weft.api.k8s.core_v1 import ConfigMap
from weft.api.k8s.pod_v1 import Pod
from weft.controllers.support.patches import merge_diff, object_patch, status_patch

leaf = st.one_of(st.integers(0, 3), st.text("ab", max_size=2), st.lists(st.integers(0, 2)))
body = st.recursive(
    leaf, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
)
objects = st.dictionaries(st.sampled_from("abc"), body, max_size=3)


@given(objects, objects)
@settings(max_examples=80, deadline=None)
def test_the_patch_leads_from_old_to_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert merge(old, merge_diff(old, new)) == new
    assert merge_diff(new, new) == {}


def test_labels_that_went_are_removed_by_name() -> None:
    old = make(ConfigMap, {"data": {"a": "1"}}, name="c", labels={"x": "1", "y": "2"})
    new = replace(old, metadata=replace(old.metadata, labels={"y": "3"}))
    (patch,) = object_patch(old, new)
    assert patch.body == {"metadata": {"labels": {"x": None, "y": "3"}}}
    assert object_patch(old, old) == ()


def test_a_conditional_patch_names_the_revision_it_saw() -> None:
    old = make(ConfigMap, {}, name="c", resourceVersion="5")
    new = replace(old, data={"a": "1"})
    (patch,) = object_patch(old, new, conditional=True)
    assert patch.body == {"data": {"a": "1"}, "metadata": {"resourceVersion": "5"}}


def test_status_goes_to_its_subresource_and_never_with_the_rest() -> None:
    old = make(Pod, {"status": {"phase": "Pending", "podIP": "10.0.0.1"}}, name="p")
    new = replace(old, status=replace(old.status, phase="Running", pod_ip=""))
    assert object_patch(old, new) == ()
    (patch,) = status_patch(old, new.status)
    assert patch.subresource == "status"
    assert patch.body == {"status": {"phase": "Running", "podIP": None}}

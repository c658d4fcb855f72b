"""Merge patches say exactly what changed."""

from msgspec.structs import replace

from tests.controllers.simulate import make
from weft.api.k8s.core_v1 import ConfigMap
from weft.api.k8s.pod_v1 import Pod
from weft.controllers.support.patches import object_patch, status_patch


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

"""Claims, volumes and what binds them: the whole life, with the scheduler's choice made by hand."""

from typing import Any

import pytest

from tests.controllers.simulate import World, make
from weft.api import persistent_volumes as pv
from weft.api.k8s.core_v1 import Node
from weft.api.k8s.persistent_volume_v1 import PersistentVolume, PersistentVolumeClaim
from weft.api.k8s.pod_v1 import Pod
from weft.api.k8s.storage_v1 import StorageClass
from weft.controllers import ephemeral_volumes, gc, volume_claims, volumes

CONTROLLERS = (volume_claims.CONTROLLER, volumes.CONTROLLER, ephemeral_volumes.CONTROLLER)


def world(mode: str = "WaitForFirstConsumer", policy: str = "Delete", seed: int = 0) -> World:
    w = World([*CONTROLLERS, gc.CONTROLLER], seed)
    labels = {"kubernetes.io/hostname": "n1"}
    notes = {"weft.dev/volumes": "/data/volumes"}
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    w.put(make(Node, {"status": ready}, name="n1", labels=labels, annotations=notes))
    body = {"provisioner": pv.PROVISIONER, "volumeBindingMode": mode, "reclaimPolicy": policy}
    w.put(make(StorageClass, body, name="local"))
    return w


def claim(w: World, name: str = "data", size: str = "1Gi", **spec: Any) -> None:
    base = {"accessModes": ["ReadWriteOnce"], "storageClassName": "local",
            "resources": {"requests": {"storage": size}}}  # fmt: skip
    w.put(make(PersistentVolumeClaim, {"spec": base | spec, "status": {"phase": "Pending"}},
               name=name, finalizers=[pv.FINALIZER_CLAIM]))  # fmt: skip
    w.settle()


def choose(w: World, name: str = "data") -> None:
    note = {"metadata": {"annotations": {pv.ANNOTATION_SELECTED_NODE: "n1"}}}
    w.patch(PersistentVolumeClaim, name, note)
    w.settle()


def the_claim(w: World, name: str = "data") -> PersistentVolumeClaim:
    return w.need(PersistentVolumeClaim, name)


def the_volume(w: World) -> PersistentVolume:
    (found,) = w.all(PersistentVolume)
    return found


def static(w: World, name: str, size: str = "5Gi", **more: Any) -> None:
    spec: Any = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
            "local": {"path": "/mnt/x"}, "persistentVolumeReclaimPolicy": "Retain"}  # fmt: skip
    spec |= more
    w.put(make(PersistentVolume, {"spec": spec}, name=name, finalizers=[pv.FINALIZER_VOLUME]))
    w.settle()


def test_a_claim_waits_for_its_first_user_then_gets_a_directory() -> None:
    w = world()
    claim(w)
    assert [e.reason for e in w.events] == ["WaitForFirstConsumer"]
    assert w.all(PersistentVolume) == []
    choose(w)
    found, bound = the_volume(w), the_claim(w)
    assert found.metadata.name == f"pvc-{bound.metadata.uid}"
    assert found.spec.local is not None
    assert found.spec.local.path == f"/data/volumes/{found.metadata.name}"
    assert pv.reaches(found, w.need(Node, "n1", ""))
    assert (found.status.phase, bound.status.phase) == ("Bound", "Bound")
    assert bound.spec.volume_name == found.metadata.name
    assert bound.status.capacity == {"storage": "1Gi"}
    assert bound.status.access_modes == ("ReadWriteOnce",)
    assert bound.metadata.annotations[pv.ANNOTATION_BOUND] == "yes"
    assert "ProvisioningSucceeded" in [e.reason for e in w.events]


def test_immediate_classes_need_no_user() -> None:
    w = world("Immediate")
    claim(w)
    assert the_claim(w).status.phase == "Bound"


def test_a_volume_that_is_there_is_taken_before_one_is_made() -> None:
    w = world()
    for name, size in (("big", "50Gi"), ("fits", "5Gi"), ("small", "500Mi")):
        static(w, name, size, storageClassName="local")
    claim(w)
    choose(w)
    assert the_claim(w).spec.volume_name == "fits"
    assert w.need(PersistentVolume, "fits", "").status.phase == "Bound"
    assert w.need(PersistentVolume, "big", "").status.phase == "Available"


@pytest.mark.parametrize(
    ("spec", "matches"),
    [
        ({}, True),
        ({"accessModes": ["ReadWriteMany"]}, False),
        ({"resources": {"requests": {"storage": "6Gi"}}}, False),
        ({"selector": {"matchLabels": {"a": "b"}}}, False),
        ({"volumeMode": "Block"}, False),
    ],
)
def test_what_a_claim_asks_for(spec: Any, matches: bool) -> None:
    w = world()
    static(w, "v")
    claim(w, **{"storageClassName": "", **spec})
    assert (the_claim(w).status.phase == "Bound") == matches
    assert matches or [e.reason for e in w.events][-1] == "FailedBinding"


def test_two_claims_never_share_a_volume() -> None:
    w = world()
    claim(w, "one", storageClassName="")
    claim(w, "two", storageClassName="")
    static(w, "v")
    phases = sorted(c.status.phase for c in w.all(PersistentVolumeClaim))
    assert phases == ["Bound", "Pending"]


def test_a_volume_may_be_meant_for_a_claim_and_a_claim_for_a_volume() -> None:
    w = world()
    static(w, "meant", claimRef={"namespace": "default", "name": "data"})
    static(w, "other")
    claim(w, storageClassName="")
    assert the_claim(w).spec.volume_name == "meant"
    claim(w, "named", storageClassName="", volumeName="other")
    assert the_claim(w, "named").status.phase == "Bound"
    claim(w, "late", storageClassName="", volumeName="other")
    assert the_claim(w, "late").status.phase == "Pending"
    assert "already bound to a different claim" in w.events[-1].message


def test_a_claim_in_use_stays_until_its_pod_ends() -> None:
    w = world()
    claim(w)
    choose(w)
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    w.put(make(Pod, {"spec": {"nodeName": "n1", "volumes": [volume]}}, name="p"))
    w.delete(PersistentVolumeClaim, "data")
    w.settle()
    assert the_claim(w).metadata.deletion_timestamp
    w.delete(Pod, "p", grace=0)
    w.settle()
    assert w.all(PersistentVolumeClaim) == []
    assert the_volume(w).status.phase == "Released"


def test_a_volume_in_use_stays_until_its_claim_is_gone() -> None:
    w = world(policy="Retain")
    static(w, "v")
    claim(w, storageClassName="")
    w.delete(PersistentVolume, "v", "")
    w.settle()
    assert w.need(PersistentVolume, "v", "").metadata.deletion_timestamp
    w.delete(PersistentVolumeClaim, "data")
    w.settle()
    assert w.all(PersistentVolume) == []


def test_a_released_volume_is_kept_for_people() -> None:
    w = world()
    static(w, "v")
    claim(w, storageClassName="")
    w.delete(PersistentVolumeClaim, "data")
    w.settle()
    assert the_volume(w).status.phase == "Released"
    claim(w, "next", storageClassName="")
    assert the_claim(w, "next").status.phase == "Pending"
    w.patch(PersistentVolume, "v", {"spec": {"claimRef": None}}, "")
    w.settle()
    assert the_claim(w, "next").status.phase == "Bound"


def test_directories_grow_at_once() -> None:
    w = world("Immediate")
    claim(w)
    more = {"resources": {"requests": {"storage": "3Gi"}}}
    w.patch(PersistentVolumeClaim, "data", {"spec": more})
    w.settle()
    assert the_claim(w).status.capacity == {"storage": "3Gi"}
    assert the_volume(w).spec.capacity == {"storage": "3Gi"}
    assert "FileSystemResizeSuccessful" in [e.reason for e in w.events]


def test_a_lost_volume_is_told() -> None:
    w = world()
    static(w, "v")
    claim(w, storageClassName="")
    w._remove(w.need(PersistentVolume, "v", ""))
    w.settle()
    assert the_claim(w).status.phase == "Lost"
    assert w.events[-1].reason == "ClaimLost"


def test_other_provisioners_are_waited_for() -> None:
    w = world()
    body = {"provisioner": "ebs.csi.aws.com", "volumeBindingMode": "Immediate"}
    w.put(make(StorageClass, body, name="ebs"))
    claim(w, storageClassName="ebs")
    assert w.events[-1].reason == "ExternalProvisioning"
    claim(w, "none", storageClassName="missing")
    assert 'storageclass.storage.k8s.io "missing" not found' in w.events[-1].message


def test_ephemeral_volumes_have_claims_of_their_own() -> None:
    w = world("Immediate")
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "local",
            "resources": {"requests": {"storage": "1Gi"}}}  # fmt: skip
    volume = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": spec}}}
    w.put(make(Pod, {"spec": {"nodeName": "n1", "volumes": [volume]}}, name="p"))
    w.settle()
    assert the_claim(w, "p-scratch").status.phase == "Bound"
    w.delete(Pod, "p", grace=0)
    w.pass_time(10)
    w.settle()
    assert w.all(PersistentVolumeClaim) == []


@pytest.mark.parametrize("seed", range(10))
def test_bindings_agree_whatever_happens(seed: int) -> None:
    w = world("Immediate", seed=seed)
    for i in range(3):
        static(w, f"v{i}", storageClassName="local")
    for i in range(5):
        w.put(make(PersistentVolumeClaim, {"spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "local",
            "resources": {"requests": {"storage": "1Gi"}}}}, name=f"c{i}"))  # fmt: skip
    for _ in range(200):
        if w.queue:
            w.step()
    w.settle()
    bound = {c.spec.volume_name: c.metadata.name for c in w.all(PersistentVolumeClaim)}
    assert len(bound) == 5
    for volume in w.all(PersistentVolume):
        reference = volume.spec.claim_ref
        if reference is not None and volume.metadata.name in bound:
            assert reference.name == bound[volume.metadata.name]

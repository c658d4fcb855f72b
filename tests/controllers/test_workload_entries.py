"""Machines that registered themselves and fell silent."""

from typing import Any

from weft.api import objects
from weft.api.istio.networking_v1 import WorkloadEntry
from weft.api.k8s.coordination_v1 import Lease
from weft.api.snapshot import ObjectSnapshot
from weft.controllers.workload_entries import plan
from weft.lib.timefmt import rfc3339, rfc3339_micro
from weft.mesh.workload_groups import ANNOTATION_GROUP, ANNOTATION_SILENT_SINCE
from weft.runtime.plan import NOTHING, Delete, Key, Patch, Plan

BORN = 1_000_000.0


def planned(now: float, renewed: float | None = None, **annotations: str) -> Plan:
    meta = {"name": "db-1", "namespace": "default"}
    born = {"uid": "u", "creationTimestamp": rfc3339(BORN)}
    notes = {k.replace("__", "/").replace("_", "-"): v for k, v in annotations.items()}
    found: list[Any] = [
        objects.decode(WorkloadEntry, {"metadata": {**meta, **born, "annotations": notes}})
    ]
    if renewed is not None:
        spec = {"renewTime": rfc3339_micro(renewed), "leaseDurationSeconds": 9}
        found.append(objects.decode(Lease, {"metadata": meta, "spec": spec}))
    return plan(ObjectSnapshot(found), Key("default", "db-1"), now)


def registered(now: float, renewed: float, silent_since: float | None = None) -> Plan:
    notes = {ANNOTATION_GROUP: "db"}
    if silent_since is not None:
        notes[ANNOTATION_SILENT_SINCE] = rfc3339(silent_since)
    meta = {"name": "db-1", "namespace": "default", "uid": "u", "annotations": notes,
            "creationTimestamp": rfc3339(BORN)}  # fmt: skip
    spec = {"renewTime": rfc3339_micro(renewed), "leaseDurationSeconds": 9}
    lease = {"metadata": {"name": "db-1", "namespace": "default"}, "spec": spec}
    found = [objects.decode(WorkloadEntry, {"metadata": meta}), objects.decode(Lease, lease)]
    return plan(ObjectSnapshot(found), Key("default", "db-1"), now)


def test_what_people_wrote_stays() -> None:
    assert planned(BORN + 1e6) is NOTHING


def test_heartbeats_keep_it() -> None:
    assert registered(BORN + 104, BORN + 100) == Plan((), requeue_after=5.0)


def test_silence_is_marked_first() -> None:
    found = registered(BORN + 109, BORN + 100)
    (patch,) = found.actions
    assert isinstance(patch, Patch)
    assert found.requeue_after == 9.0
    assert patch.body["metadata"]["annotations"] == {ANNOTATION_SILENT_SINCE: rfc3339(BORN + 109)}


def test_silence_that_goes_on_is_the_end() -> None:
    assert registered(BORN + 115, BORN + 100, BORN + 109) == Plan((), requeue_after=3.0)
    (gone,) = registered(BORN + 118, BORN + 100, BORN + 109).actions
    assert gone == Delete(WorkloadEntry, "default", "db-1", "u")


def test_a_machine_that_is_heard_again_stays() -> None:
    (patch,) = registered(BORN + 112, BORN + 110, BORN + 109).actions
    assert isinstance(patch, Patch)
    assert patch.body["metadata"]["annotations"] == {ANNOTATION_SILENT_SINCE: None}

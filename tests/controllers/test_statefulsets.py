"""StatefulSets: names, order, updates, claims, history."""

from typing import Any

import pytest

from tests.controllers.simulate import World, finish, kubelet, make, ready, terminate
from weft.api.k8s.apps_v1 import ControllerRevision, StatefulSet, StatefulSetStatus
from weft.api.k8s.persistent_volume_v1 import PersistentVolumeClaim
from weft.api.k8s.pod_v1 import Pod
from weft.controllers import gc, statefulsets
from weft.runtime.plan import Patch

LABELS = {"app": "db"}
CLAIM = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}


def template(image: str = "v1") -> Any:
    return {
        "metadata": {"labels": LABELS},
        "spec": {"containers": [{"name": "main", "image": image}]},
    }


def stateful_set(**spec: Any) -> StatefulSet:
    base = {
        "replicas": 3, "serviceName": "db", "selector": {"matchLabels": LABELS},
        "template": template(), "podManagementPolicy": "OrderedReady",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
    }  # fmt: skip
    return make(StatefulSet, {"spec": base | spec}, name="db")


def world(seed: int = 0, **spec: Any) -> World:
    w = World([statefulsets.CONTROLLER, gc.CONTROLLER], seed)
    w.put(stateful_set(**spec))
    return w


def bind(w: World) -> None:
    for pod in w.all(Pod):
        if not pod.spec.node_name:
            w.patch(Pod, pod.metadata.name, {"spec": {"nodeName": "n"}})


def agent(w: World) -> bool:
    """Places and starts everything but pods with the image `bad`."""
    bind(w)
    for pod in w.all(Pod):
        if pod.metadata.deletion_timestamp:
            if pod.metadata.deletion_grace_period_seconds:
                terminate(w, pod)
                return True
        elif pod.status.phase == "Pending" and image(pod) != "bad":
            ready(w, pod)
            return True
    return bool(w.queue)


def image(pod: Pod) -> str:
    return pod.spec.containers[0].image


def images(w: World) -> dict[str, str]:
    return {p.metadata.name: image(p) for p in w.all(Pod)}


def names(w: World) -> list[str]:
    return [p.metadata.name for p in w.all(Pod)]


def roll(w: World, to: str) -> None:
    w.patch(StatefulSet, "db", {"spec": {"template": template(to)}})
    w.settle(agent)


def status(w: World) -> StatefulSetStatus:
    return w.need(StatefulSet, "db").status


def test_pods_start_one_after_another() -> None:
    w = world()
    for count in (1, 2, 3):
        w.settle()
        assert names(w) == [f"db-{i}" for i in range(count)]
        bind(w)
        ready(w, w.need(Pod, f"db-{count - 1}"))
    w.settle()
    assert (status(w).replicas, status(w).ready_replicas) == (3, 3)
    assert status(w).available_replicas == status(w).updated_replicas == 3
    assert status(w).current_revision == status(w).update_revision
    assert [e.reason for e in w.events] == ["SuccessfulCreate"] * 3
    assert w.events[0].message == "create Pod db-0 in StatefulSet db successful"


def test_a_pod_knows_its_name() -> None:
    w = world()
    w.settle()
    (pod,) = w.all(Pod)
    assert (pod.spec.hostname, pod.spec.subdomain) == ("db-0", "db")
    labels = pod.metadata.labels
    assert labels["statefulset.kubernetes.io/pod-name"] == "db-0"
    assert labels["apps.kubernetes.io/pod-index"] == "0"
    (revision,) = w.all(ControllerRevision)
    assert labels["controller-revision-hash"] == revision.metadata.name
    assert revision.data["spec"]["template"]["$patch"] == "replace"


def test_parallel_starts_all_at_once() -> None:
    w = world(podManagementPolicy="Parallel")
    w.settle()
    assert names(w) == ["db-0", "db-1", "db-2"]


def test_ordinals_may_start_elsewhere() -> None:
    w = world(ordinals={"start": 5}, replicas=2)
    w.settle(agent)
    assert names(w) == ["db-5", "db-6"]
    w.patch(StatefulSet, "db", {"spec": {"ordinals": {"start": 6}, "replicas": 1}})
    w.settle(agent)
    assert names(w) == ["db-6"]


def test_it_shrinks_from_the_end_one_by_one() -> None:
    w = world()
    w.settle(agent)
    w.patch(StatefulSet, "db", {"spec": {"replicas": 1}})
    w.settle()
    leaving = [p.metadata.name for p in w.all(Pod) if p.metadata.deletion_timestamp]
    assert leaving == ["db-2"]
    w.settle(agent)
    assert names(w) == ["db-0"]
    assert w.events[-1].message == "delete Pod db-1 in StatefulSet db successful"


def test_it_does_not_shrink_while_another_pod_is_not_ready() -> None:
    w = world()
    w.settle(agent)
    ready(w, w.need(Pod, "db-0"), False)
    w.patch(StatefulSet, "db", {"spec": {"replicas": 2}})
    w.settle()
    assert names(w) == ["db-0", "db-1", "db-2"]


def test_an_update_goes_from_the_end_and_waits_for_each() -> None:
    w = world()
    w.settle(agent)
    w.patch(StatefulSet, "db", {"spec": {"template": template("v2")}})
    w.settle()
    assert [p.metadata.name for p in w.all(Pod) if p.metadata.deletion_timestamp] == ["db-2"]
    assert status(w).update_revision != status(w).current_revision
    terminate(w, w.need(Pod, "db-2"))
    w.settle()
    assert images(w) == {"db-0": "v1", "db-1": "v1", "db-2": "v2"}
    assert (status(w).updated_replicas, status(w).current_replicas) == (1, 2)
    assert not any(p.metadata.deletion_timestamp for p in w.all(Pod))
    w.settle(agent)
    assert set(images(w).values()) == {"v2"}
    assert status(w).update_revision == status(w).current_revision
    assert len(w.all(ControllerRevision)) == 2


def test_a_partition_keeps_lower_ordinals() -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    w = world(updateStrategy=strategy)
    w.settle(agent)
    roll(w, "v2")
    assert images(w) == {"db-0": "v1", "db-1": "v1", "db-2": "v2"}
    w.delete(Pod, "db-0")
    w.settle(agent)
    assert images(w)["db-0"] == "v1"
    w.patch(StatefulSet, "db", {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}})
    w.settle(agent)
    assert set(images(w).values()) == {"v2"}


def test_on_delete_waits_for_people() -> None:
    w = world(updateStrategy={"type": "OnDelete"})
    w.settle(agent)
    roll(w, "v2")
    assert set(images(w).values()) == {"v1"}
    w.delete(Pod, "db-1")
    w.settle(agent)
    assert images(w) == {"db-0": "v1", "db-1": "v2", "db-2": "v1"}


def test_several_may_be_unavailable() -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}
    w = world(updateStrategy=strategy)
    w.settle(agent)
    w.patch(StatefulSet, "db", {"spec": {"template": template("v2")}})
    w.settle()
    leaving = [p.metadata.name for p in w.all(Pod) if p.metadata.deletion_timestamp]
    assert leaving == ["db-1", "db-2"]


@pytest.mark.parametrize("then", ["v1", "v3"])
def test_a_bad_rollout_is_left_by_changing_the_template(then: str) -> None:
    """Kubernetes waits here until somebody deletes the pod."""
    w = world()
    w.settle(agent)
    roll(w, "bad")
    assert images(w) == {"db-0": "v1", "db-1": "v1", "db-2": "bad"}
    roll(w, then)
    assert set(images(w).values()) == {then}


def test_a_first_template_that_cannot_start_is_replaced() -> None:
    w = world(template=template("bad"))
    w.settle(agent)
    assert names(w) == ["db-0"]
    waiting = {"name": "main", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    body = {"status": {"containerStatuses": [waiting]}}
    w._patch(Patch(Pod, "default", "db-0", body, "status"))
    roll(w, "v2")
    assert images(w) == {f"db-{i}": "v2" for i in range(3)}
    assert "ReplacingStuckPod" in {e.reason for e in w.events}


def test_an_old_pod_that_is_just_not_ready_keeps_its_turn() -> None:
    w = world()
    w.settle(agent)
    ready(w, w.need(Pod, "db-0"), False)
    w.patch(StatefulSet, "db", {"spec": {"template": template("v2")}})
    w.settle()
    assert not any(p.metadata.deletion_timestamp for p in w.all(Pod))


def test_going_back_takes_the_old_revision_again() -> None:
    w = world()
    w.settle(agent)
    roll(w, "v2")
    roll(w, "v1")
    revisions = {r.metadata.name: r.revision for r in w.all(ControllerRevision)}
    assert len(revisions) == 2
    assert revisions[status(w).update_revision] == 3


def test_old_revisions_are_dropped() -> None:
    w = world(revisionHistoryLimit=1)
    w.settle(agent)
    for version in ("v2", "v3", "v4"):
        roll(w, version)
    assert len(w.all(ControllerRevision)) == 2


def test_a_pod_that_ended_is_made_again() -> None:
    w = world()
    w.settle(agent)
    finish(w, w.need(Pod, "db-1"), 1)
    w.settle(agent)
    assert w.need(Pod, "db-1").status.phase == "Running"
    assert "RecreatingFailedPod" in [e.reason for e in w.events]


def test_pods_must_be_ready_for_a_while() -> None:
    w = world(minReadySeconds=10)
    w.settle(agent)
    assert names(w) == ["db-0"]
    assert (status(w).ready_replicas, status(w).available_replicas) == (1, 0)
    w.pass_time(11)
    w.settle(agent)
    assert names(w) == ["db-0", "db-1"]


def test_orphans_with_its_names_are_adopted() -> None:
    w = World([statefulsets.CONTROLLER])
    w.put(make(Pod, {}, name="db-0", labels=LABELS))
    w.put(make(Pod, {}, name="other-0", labels=LABELS))
    w.put(stateful_set())
    w.settle()
    assert w.need(Pod, "db-0").metadata.owner_references[0].kind == "StatefulSet"
    assert w.need(Pod, "other-0").metadata.owner_references == ()


# --- claims


def claims(w: World) -> list[str]:
    return [c.metadata.name for c in w.all(PersistentVolumeClaim)]


def test_each_pod_has_its_claim_and_keeps_it() -> None:
    w = world(volumeClaimTemplates=[CLAIM])
    w.settle(agent)
    assert claims(w) == ["data-db-0", "data-db-1", "data-db-2"]
    (volume,) = w.need(Pod, "db-1").spec.volumes
    assert volume.persistent_volume_claim is not None
    assert volume.persistent_volume_claim.claim_name == "data-db-1"
    assert w.all(PersistentVolumeClaim)[0].metadata.labels == LABELS
    w.patch(StatefulSet, "db", {"spec": {"replicas": 1}})
    w.settle(agent)
    w.delete(StatefulSet, "db")
    w.pass_time(10)
    w.settle(agent)
    assert w.all(Pod) == []
    assert claims(w) == ["data-db-0", "data-db-1", "data-db-2"]


def test_claims_may_go_with_scaled_pods() -> None:
    policy = {"whenScaled": "Delete", "whenDeleted": "Retain"}
    w = world(volumeClaimTemplates=[CLAIM], persistentVolumeClaimRetentionPolicy=policy)
    w.settle(agent)
    w.patch(StatefulSet, "db", {"spec": {"replicas": 1}})
    w.settle(agent)
    w.pass_time(10)
    w.settle(agent)
    assert claims(w) == ["data-db-0"]


def test_claims_may_go_with_the_set() -> None:
    policy = {"whenScaled": "Retain", "whenDeleted": "Delete"}
    w = world(volumeClaimTemplates=[CLAIM], persistentVolumeClaimRetentionPolicy=policy)
    w.settle(agent)
    w.pass_time(10)
    w.delete(StatefulSet, "db")
    w.settle(agent)
    w.pass_time(10)
    w.settle(agent)
    assert claims(w) == []


def test_a_pod_waits_until_its_old_claim_is_gone() -> None:
    w = world(volumeClaimTemplates=[CLAIM], replicas=0)
    w.settle(agent)
    old = make(PersistentVolumeClaim, {}, name="data-db-0", finalizers=["keep"])
    w.put(old)
    w.delete(PersistentVolumeClaim, "data-db-0")
    w.patch(StatefulSet, "db", {"spec": {"replicas": 1}})
    w.settle(agent)
    assert names(w) == []
    w.patch(PersistentVolumeClaim, "data-db-0", {"metadata": {"finalizers": None}})
    w.settle(agent)
    assert names(w) == ["db-0"]


# --- at random


@pytest.mark.parametrize("seed", range(20))
def test_order_holds_whatever_happens(seed: int) -> None:
    """No pod is created before all lower ones are there; in the end all are of the template."""
    w = World([statefulsets.CONTROLLER, gc.CONTROLLER], seed)
    pick = w.random
    w.put(stateful_set())
    seen: set[str] = set()

    def check(world: World) -> None:
        present = {p.metadata.name for p in world.all(Pod)}
        wanted = world.need(StatefulSet, "db").spec.replicas or 0
        for pod in world.all(Pod):
            name = pod.metadata.name
            if name not in seen:
                number = int(name.rpartition("-")[2])
                lower = {f"db-{i}" for i in range(min(number, wanted))}
                assert lower <= present
        seen.clear()
        seen.update(present)

    w.check = check
    for _ in range(40):
        chance = pick.random()
        if chance < 0.3:
            w.patch(StatefulSet, "db", {"spec": {"replicas": pick.randint(0, 4)}})
        elif chance < 0.6:
            new = template(f"v{pick.randint(1, 3)}")
            w.patch(StatefulSet, "db", {"spec": {"template": new}})
        elif w.all(Pod):
            w.delete(Pod, pick.choice(w.all(Pod)).metadata.name)
        for _ in range(pick.randint(0, 12)):
            if w.queue:
                w.step()
            else:
                kubelet(w)
                bind(w)
    w.settle(agent)
    found = w.need(StatefulSet, "db")
    assert names(w) == [f"db-{i}" for i in range(found.spec.replicas or 0)]
    assert {image(p) for p in w.all(Pod)} <= {found.spec.template.spec.containers[0].image}

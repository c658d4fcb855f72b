"""ReplicaSets: how many pods, which go first, who belongs to whom, what the status says."""

import pytest
from msgspec.structs import replace

from tests.controllers.simulate import START, World, finish, kubelet, make, ready
from weft.api.k8s.apps_v1 import ReplicaSet
from weft.api.k8s.core_v1 import Node, ReplicationController
from weft.api.k8s.pod_v1 import ContainerStatus, Pod, PodCondition
from weft.api.snapshot import ObjectSnapshot, controller_of
from weft.controllers import replicasets
from weft.lib.timefmt import rfc3339
from weft.runtime.plan import NOTHING, Create, Key

WEB = {"app": "web"}
TEMPLATE = {"metadata": {"labels": WEB}, "spec": {"containers": [{"name": "main", "image": "i"}]}}


def replica_set(replicas: int = 3, name: str = "web", **spec: object) -> ReplicaSet:
    body = {"replicas": replicas, "selector": {"matchLabels": WEB}, "template": TEMPLATE, **spec}
    return make(ReplicaSet, {"spec": body}, name=name)


def world(seed: int = 0) -> World:
    return World([replicasets.CONTROLLER], seed)


def on_node(world: World) -> None:
    for pod in world.all(Pod):
        if not pod.spec.node_name:
            world.patch(Pod, pod.metadata.name, {"spec": {"nodeName": "n1"}})


def settle(world: World) -> None:
    for _ in range(3):
        world.settle(kubelet)
        on_node(world)
    world.settle(kubelet)


def test_missing_pods_are_created_from_the_template() -> None:
    w = world()
    owner = w.put(replica_set(3))
    settle(w)
    pods = w.all(Pod)
    assert len(pods) == 3
    for pod in pods:
        assert pod.metadata.name.startswith("web-")
        assert pod.metadata.labels == WEB
        reference = controller_of(pod)
        assert reference is not None
        assert (reference.kind, reference.uid) == ("ReplicaSet", owner.metadata.uid)
        assert reference.block_owner_deletion
    status = w.need(ReplicaSet, "web").status
    assert (status.replicas, status.ready_replicas, status.available_replicas) == (3, 3, 3)
    assert status.fully_labeled_replicas == 3
    assert status.observed_generation == 1


def test_scaling_down_deletes_and_says_so() -> None:
    w = world()
    w.put(replica_set(3))
    settle(w)
    w.patch(ReplicaSet, "web", {"spec": {"replicas": 1}})
    settle(w)
    assert len(w.all(Pod)) == 1
    deleted = [e.message for e in w.events if e.reason == "SuccessfulDelete"]
    assert len(deleted) == 2
    assert deleted[0].startswith("Deleted pod: web-")


def test_one_plan_creates_at_most_the_burst() -> None:
    w = world()
    w.put(replica_set(1200))
    plan = replicasets.plan(w.snapshot(), Key("default", "web"), START)
    assert sum(isinstance(a, Create) for a in plan.actions) == replicasets.PODS_PER_PLAN_MAX


def test_failed_and_terminating_pods_are_replaced() -> None:
    w = world()
    w.put(replica_set(2))
    settle(w)
    first, second = w.all(Pod)
    finish(w, first, 1)
    w.delete(Pod, second.metadata.name)
    w.settle()
    status = w.need(ReplicaSet, "web").status
    assert status.replicas == 2
    assert status.terminating_replicas == 1
    assert len(w.all(Pod)) == 4


def test_a_gone_key_and_a_quiet_set_need_nothing() -> None:
    w = world()
    assert replicasets.plan(w.snapshot(), Key("default", "web"), START) == NOTHING
    w.put(replica_set(2))
    settle(w)
    assert replicasets.plan(w.snapshot(), Key("default", "web"), w.now).actions == ()


def test_orphans_are_adopted_and_strangers_released() -> None:
    w = world()
    orphan = make(Pod, {"spec": {"containers": [{"name": "main", "image": "i"}]}}, name="lone")
    w.put(replace(orphan, metadata=replace(orphan.metadata, labels=WEB)))
    owner = w.put(replica_set(2))
    settle(w)
    assert len(w.all(Pod)) == 2
    adopted = controller_of(w.need(Pod, "lone"))
    assert adopted is not None
    assert adopted.uid == owner.metadata.uid
    w.patch(Pod, "lone", {"metadata": {"labels": {"app": "debug"}}})
    settle(w)
    assert controller_of(w.need(Pod, "lone")) is None
    assert len(w.all(Pod)) == 3


def test_pods_of_another_controller_are_left_alone() -> None:
    w = world()
    w.put(replica_set(1, name="first"))
    settle(w)
    w.put(replica_set(1, name="second"))
    settle(w)
    owners = sorted(controller_of(p).name for p in w.all(Pod))  # type: ignore[union-attr]
    assert owners == ["first", "second"]


def test_a_set_that_is_deleted_neither_creates_nor_adopts() -> None:
    w = world()
    w.put(make(Pod, {}, name="lone", labels=WEB))
    dying = replica_set(3)
    meta = replace(dying.metadata, deletion_timestamp=rfc3339(START), finalizers=("hold",))
    w.put(replace(dying, metadata=meta))
    w.settle()
    assert len(w.all(Pod)) == 1
    assert controller_of(w.need(Pod, "lone")) is None


def test_an_empty_selector_matches_nothing() -> None:
    w = world()
    w.put(make(Pod, {}, name="lone", labels=WEB))
    w.put(make(ReplicaSet, {"spec": {"replicas": 0, "selector": {}}}, name="all"))
    w.settle()
    assert controller_of(w.need(Pod, "lone")) is None


def test_min_ready_seconds_delay_availability() -> None:
    w = world()
    w.put(replica_set(1, minReadySeconds=10))
    settle(w)
    status = w.need(ReplicaSet, "web").status
    assert (status.ready_replicas, status.available_replicas) == (1, None)
    w.pass_time(4)
    plan = replicasets.plan(w.snapshot(), Key("default", "web"), w.now)
    assert plan.requeue_after == pytest.approx(6.0)
    w.pass_time(7)
    w.settle()
    assert w.need(ReplicaSet, "web").status.available_replicas == 1


def test_a_pod_that_stops_being_ready_is_no_longer_counted() -> None:
    w = world()
    w.put(replica_set(2))
    settle(w)
    ready(w, w.all(Pod)[0], value=False)
    w.settle()
    status = w.need(ReplicaSet, "web").status
    assert (status.replicas, status.ready_replicas) == (2, 1)


def pod(name: str, **kwargs: object) -> Pod:
    made = make(Pod, {}, name=name, uid=name, creationTimestamp=rfc3339(START))
    spec = replace(made.spec, node_name=str(kwargs.get("node", "n1")))
    since = rfc3339(START + float(str(kwargs.get("since", 0))))
    condition = PodCondition(
        type="Ready", status=str(kwargs.get("ready", "True")), last_transition_time=since
    )
    restarts = int(str(kwargs.get("restarts", 0)))
    status = replace(
        made.status,
        phase=str(kwargs.get("phase", "Running")),
        conditions=(condition,),
        container_statuses=(ContainerStatus(name="main", restart_count=restarts),),
    )
    metadata = made.metadata
    if "cost" in kwargs:
        annotations = {replicasets.ANNOTATION_DELETION_COST: str(kwargs["cost"])}
        metadata = replace(metadata, annotations=annotations)
    if "created" in kwargs:
        created = rfc3339(START + float(str(kwargs["created"])))
        metadata = replace(metadata, creation_timestamp=created)
    return replace(made, metadata=metadata, spec=spec, status=status)


@pytest.mark.parametrize(
    ("goes", "stays"),
    [
        ({"node": ""}, {}),
        ({"phase": "Pending"}, {"phase": "Running", "ready": "False"}),
        ({"phase": "Unknown"}, {"phase": "Running", "ready": "False"}),
        ({"ready": "False"}, {"ready": "True"}),
        ({"cost": -5}, {}),
        ({}, {"cost": 10}),
        ({"cost": "no number"}, {"cost": 1}),
        ({"since": 50}, {"since": 10}),
        ({"restarts": 3}, {}),
        ({"created": 9}, {"created": 3}),
        ({"ready": "False", "cost": 100}, {"ready": "True", "cost": -100}),
    ],
)
def test_who_is_deleted_first(goes: dict[str, object], stays: dict[str, object]) -> None:
    first, second = pod("b", **goes), pod("a", **stays)
    assert replicasets.deletion_rank(first, 0) < replicasets.deletion_rank(second, 0)


def test_the_fuller_node_loses_a_pod_first() -> None:
    assert replicasets.deletion_rank(pod("b"), 3) < replicasets.deletion_rank(pod("a"), 1)


def test_a_sibling_set_counts_towards_a_nodes_fullness() -> None:
    owner = {"kind": "Deployment", "apiVersion": "apps/v1", "name": "d", "uid": "d"}
    owner = {**owner, "controller": True}
    mine = make(
        ReplicaSet, {"spec": {"selector": {"matchLabels": WEB}}}, name="a", uid="a",
        ownerReferences=[owner],
    )  # fmt: skip
    other = make(ReplicaSet, {}, name="b", uid="b", ownerReferences=[owner])
    theirs = make(
        Pod, {"spec": {"nodeName": "n2"}}, name="p",
        ownerReferences=[{"uid": "b", "controller": True}],
    )  # fmt: skip
    own = pod("q", node="n2")
    snapshot = ObjectSnapshot([mine, other, theirs, own, make(Node, {}, name="n2")])
    assert replicasets._pods_per_node(snapshot, mine, [own])["n2"] == 2


def test_replication_controllers_keep_pods_as_well() -> None:
    w = World([replicasets.REPLICATION_CONTROLLER])
    body = {"replicas": 2, "selector": WEB, "template": TEMPLATE}
    w.put(make(ReplicationController, {"spec": body}, name="old"))
    settle(w)
    owners = {(o.kind, o.name) for p in w.all(Pod) if (o := controller_of(p)) is not None}
    assert (len(w.all(Pod)), owners) == (2, {("ReplicationController", "old")})
    status = w.need(ReplicationController, "old").status
    assert (status.replicas, status.ready_replicas, status.observed_generation) == (2, 2, 1)
    w.patch(ReplicationController, "old", {"spec": {"replicas": 0}})
    settle(w)
    assert w.all(Pod) == []

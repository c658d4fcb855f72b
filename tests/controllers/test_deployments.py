"""Deployments as kubectl sees them: roll-outs, history and undo, pauses, deadlines, conditions."""

import pytest

from tests.controllers.simulate import World, kubelet, make, ready
from weft.api.k8s.apps_v1 import Deployment, DeploymentCondition, ReplicaSet
from weft.api.k8s.core_v1 import Node
from weft.api.k8s.pod_v1 import Pod
from weft.api.objects import to_json
from weft.api.snapshot import controller_of, meta
from weft.controllers import deployments, gc, replicasets
from weft.controllers.deployment_revisions import ANNOTATION_HISTORY, template_hash
from weft.controllers.deployment_scaling import ANNOTATION_DESIRED, ANNOTATION_MAX
from weft.runtime.plan import NOTHING, Bind, Key, Plan
from weft.scheduler.controller import CONTROLLER as SCHEDULER

REVISION = "deployment.kubernetes.io/revision"
WEB = {"app": "web"}
ALL = (deployments.CONTROLLER, replicasets.CONTROLLER, gc.CONTROLLER, SCHEDULER)


def deployment(replicas: int = 4, image: str = "v1", **spec: object) -> Deployment:
    template = {
        "metadata": {"labels": WEB},
        "spec": {"containers": [{"name": "main", "image": image}]},
    }
    body = {"replicas": replicas, "selector": {"matchLabels": WEB}, "template": template, **spec}
    return make(Deployment, {"spec": body}, name="web")


def world(seed: int = 0) -> World:
    w = World(ALL, seed)
    status = {
        "allocatable": {"cpu": "8", "memory": "8Gi"},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    w.put(make(Node, {"status": status}, name="n1"))
    return w


def running(replicas: int = 4, **spec: object) -> World:
    w = world()
    w.put(deployment(replicas, **spec))
    w.settle(kubelet)
    return w


def set_image(w: World, image: str) -> None:
    containers = [{"name": "main", "image": image}]
    w.patch(Deployment, "web", {"spec": {"template": {"spec": {"containers": containers}}}})


def sizes(w: World) -> dict[str, int]:
    """Image -> replicas asked for."""
    return {
        r.spec.template.spec.containers[0].image: r.spec.replicas or 0 for r in w.all(ReplicaSet)
    }


def of_image(w: World, image: str) -> ReplicaSet:
    return next(r for r in w.all(ReplicaSet) if r.spec.template.spec.containers[0].image == image)


def condition(w: World, kind: str) -> DeploymentCondition:
    status = w.need(Deployment, "web").status
    return next(c for c in status.conditions if c.type == kind)


def plan(w: World) -> Plan:
    return deployments.plan(w.snapshot(), Key("default", "web"), w.now)


# --- creation and status


def test_a_new_deployment_makes_one_set_and_reports_it() -> None:
    w = running(3)
    (made,) = w.all(ReplicaSet)
    digest = made.metadata.labels["pod-template-hash"]
    assert made.metadata.name == f"web-{digest}"
    assert made.spec.selector is not None
    assert made.spec.selector.match_labels == {**WEB, "pod-template-hash": digest}
    assert all(p.metadata.labels["pod-template-hash"] == digest for p in w.all(Pod))
    owner = controller_of(made)
    assert owner is not None
    assert owner.kind == "Deployment"
    assert made.metadata.annotations == {
        REVISION: "1",
        ANNOTATION_DESIRED: "3",
        ANNOTATION_MAX: "4",
    }
    found = w.need(Deployment, "web")
    assert found.metadata.annotations[REVISION] == "1"
    status = found.status
    assert status.observed_generation == found.metadata.generation
    assert (status.replicas, status.updated_replicas, status.ready_replicas) == (3, 3, 3)
    assert (status.available_replicas, status.unavailable_replicas) == (3, None)
    assert condition(w, "Available").reason == "MinimumReplicasAvailable"
    done = condition(w, "Progressing")
    assert (done.status, done.reason) == ("True", "NewReplicaSetAvailable")
    assert done.message == f'ReplicaSet "web-{digest}" has successfully progressed.'
    assert [e.message for e in w.events if e.reason == "ScalingReplicaSet"] == [
        f"Scaled up replica set web-{digest} from 0 to 3"
    ]


def test_before_pods_are_ready_it_is_unavailable() -> None:
    w = world()
    w.put(deployment(3))
    w.settle()
    available = condition(w, "Available")
    assert (available.status, available.reason) == ("False", "MinimumReplicasUnavailable")
    assert available.message == "Deployment does not have minimum availability."
    assert w.need(Deployment, "web").status.unavailable_replicas == 3


def test_a_settled_deployment_and_a_gone_key_need_nothing() -> None:
    w = running()
    assert plan(w) == NOTHING
    assert deployments.plan(w.snapshot(), Key("default", "other"), w.now) == NOTHING


def test_annotations_are_copied_but_not_those_of_kubectl_apply() -> None:
    w = world()
    made = to_json(deployment(1))
    made["metadata"]["annotations"] = {
        "kubernetes.io/change-cause": "first",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }
    w.put(make(Deployment, made))
    w.settle(kubelet)
    annotations = w.all(ReplicaSet)[0].metadata.annotations
    assert annotations["kubernetes.io/change-cause"] == "first"
    assert "kubectl.kubernetes.io/last-applied-configuration" not in annotations


# --- rolling


def test_a_change_of_image_rolls_to_a_second_set() -> None:
    w = running(4)
    set_image(w, "v2")
    w.settle(kubelet)
    assert sizes(w) == {"v1": 0, "v2": 4}
    assert of_image(w, "v2").metadata.annotations[REVISION] == "2"
    assert w.need(Deployment, "web").metadata.annotations[REVISION] == "2"
    assert {p.spec.containers[0].image for p in w.all(Pod)} == {"v2"}


def test_a_change_of_labels_outside_the_template_rolls_nothing() -> None:
    w = running(2)
    w.patch(Deployment, "web", {"metadata": {"labels": {"team": "a"}}})
    w.settle(kubelet)
    assert len(w.all(ReplicaSet)) == 1


def test_status_is_truthful_while_rolling() -> None:
    w = running(4)
    set_image(w, "v2")
    w.settle()  # the new pods do not get ready
    found = w.need(Deployment, "web")
    assert found.status.observed_generation == found.metadata.generation
    assert sizes(w) == {"v1": 3, "v2": 2}  # surge 1, unavailable 1
    assert found.status.updated_replicas == 2
    assert found.status.available_replicas == 3
    assert condition(w, "Available").status == "True"


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "old", "new"),
    [
        (4, "25%", "25%", 3, 2),
        (10, "25%", "25%", 8, 5),  # 2.5 rounds up to 3 and down to 2
        (4, 0, 0, 3, 1),  # both zero: one may be unavailable
        (4, 0, 2, 2, 2),
        (4, 2, 0, 4, 2),
        (1, "25%", "25%", 1, 1),
        (4, "100%", 0, 4, 4),
        (3, 0, "100%", 0, 3),
    ],
)
def test_how_far_a_roll_goes_before_new_pods_are_ready(
    replicas: int, surge: object, unavailable: object, old: int, new: int
) -> None:
    strategy = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    w = running(replicas, strategy=strategy)
    set_image(w, "v2")
    for _ in range(3):
        w.settle(only_terminates)
    assert sizes(w) == {"v1": old, "v2": new}


def only_terminates(w: World) -> bool:
    """An agent on whose node no new pod gets ready."""
    dying = [p for p in w.all(Pod) if meta(p).deletion_grace_period_seconds]
    if dying:
        pod = dying[0]
        w.delete(Pod, pod.metadata.name, grace=0)
        w.objects.pop((Pod, "default", pod.metadata.name), None)
        w._notify(pod)
    return bool(dying)


def test_unhealthy_old_pods_go_first() -> None:
    w = running(4)
    sick = w.all(Pod)[2]
    ready(w, sick, value=False)
    w.settle()
    set_image(w, "v2")
    w.settle()
    old = [p for p in w.all(Pod) if p.spec.containers[0].image == "v1"]
    dying = [p.metadata.name for p in old if p.metadata.deletion_timestamp]
    assert dying == [sick.metadata.name]


def test_min_ready_seconds_slow_the_roll() -> None:
    w = running(2, minReadySeconds=10, strategy={"rollingUpdate": {"maxUnavailable": 0}})
    w.pass_time(11)
    w.settle(kubelet)
    set_image(w, "v2")
    w.settle(kubelet)
    assert sizes(w) == {"v1": 2, "v2": 1}
    for _ in range(3):
        w.pass_time(11)
        w.settle(kubelet)
    assert sizes(w) == {"v1": 0, "v2": 2}


def test_recreate_starts_only_when_all_old_pods_are_gone() -> None:
    w = running(3, strategy={"type": "Recreate"})
    seen: list[set[str]] = []
    w.check = lambda world: seen.append({p.spec.containers[0].image for p in world.all(Pod)})
    set_image(w, "v2")
    w.settle(kubelet)
    assert sizes(w) == {"v1": 0, "v2": 3}
    assert {"v1", "v2"} not in seen


# --- history


def test_undo_uses_the_old_set_again_under_a_new_revision() -> None:
    w = running(2)
    first = of_image(w, "v1").metadata.uid
    set_image(w, "v2")
    w.settle(kubelet)
    template = to_json(of_image(w, "v1"))["spec"]["template"]
    del template["metadata"]["labels"]["pod-template-hash"]
    w.patch(Deployment, "web", {"spec": {"template": template}})
    w.settle(kubelet)
    again = of_image(w, "v1")
    assert again.metadata.uid == first
    assert sizes(w) == {"v1": 2, "v2": 0}
    assert again.metadata.annotations[REVISION] == "3"
    assert again.metadata.annotations[ANNOTATION_HISTORY] == "1"
    assert w.need(Deployment, "web").metadata.annotations[REVISION] == "3"


def test_history_is_cut_at_its_limit_oldest_first() -> None:
    w = running(1, revisionHistoryLimit=2)
    for version in ("v2", "v3", "v4", "v5"):
        set_image(w, version)
        w.settle(kubelet)
    assert sizes(w) == {"v3": 0, "v4": 0, "v5": 1}


def test_a_limit_of_zero_keeps_no_history() -> None:
    w = running(1, revisionHistoryLimit=0)
    set_image(w, "v2")
    w.settle(kubelet)
    assert sizes(w) == {"v2": 1}


def test_the_hash_depends_on_the_template_and_on_collisions_only() -> None:
    one, other = deployment(1).spec.template, deployment(9).spec.template
    assert template_hash(one, 0) == template_hash(other, 0)
    assert template_hash(one, 0) != template_hash(one, 1)
    assert template_hash(one, 0) != template_hash(deployment(image="v2").spec.template, 0)


def test_a_taken_name_is_avoided_by_counting_collisions() -> None:
    w = world()
    name = f"web-{template_hash(deployment().spec.template, 0)}"
    w.put(make(ReplicaSet, {"spec": {"replicas": 0}}, name=name))
    w.put(deployment(2))
    w.settle(kubelet)
    assert w.need(Deployment, "web").status.collision_count == 1
    assert w.need(Deployment, "web").status.available_replicas == 2
    assert len(w.all(ReplicaSet)) == 2


def test_a_set_whose_template_gained_defaults_is_still_the_new_one() -> None:
    w = running(2)
    name = w.all(ReplicaSet)[0].metadata.name
    policy = {"spec": {"template": {"spec": {"dnsPolicy": "ClusterFirst"}}}}
    w.patch(ReplicaSet, name, policy)
    w.settle(kubelet)
    assert len(w.all(ReplicaSet)) == 1


def test_matching_orphan_sets_are_adopted() -> None:
    w = running(2)
    w.delete(Deployment, "web", propagation="Orphan")
    w.settle(kubelet)
    (orphan,) = w.all(ReplicaSet)
    assert controller_of(orphan) is None
    w.put(deployment(2))
    w.settle(kubelet)
    (adopted,) = w.all(ReplicaSet)
    assert adopted.metadata.uid == orphan.metadata.uid
    assert controller_of(adopted) is not None
    assert len(w.all(Pod)) == 2


# --- scaling, pausing


def test_scaling_alone_makes_no_new_revision() -> None:
    w = running(2)
    w.patch(Deployment, "web", {"spec": {"replicas": 5}})
    w.settle(kubelet)
    assert sizes(w) == {"v1": 5}
    assert w.need(Deployment, "web").metadata.annotations[REVISION] == "1"
    assert condition(w, "Progressing").reason == "NewReplicaSetAvailable"
    w.patch(Deployment, "web", {"spec": {"replicas": 0}})
    w.settle(kubelet)
    assert w.all(Pod) == []
    w.patch(Deployment, "web", {"spec": {"replicas": 1}})
    w.settle(kubelet)
    assert len(w.all(Pod)) == 1


def test_scaling_in_the_middle_of_a_roll_is_proportional() -> None:
    strategy = {"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
    w = running(10, strategy=strategy)
    set_image(w, "v2")
    w.settle(only_terminates)
    assert sizes(w) == {"v1": 8, "v2": 5}
    w.patch(Deployment, "web", {"spec": {"replicas": 15}})
    w.settle(only_terminates)
    # 15 + 3 wanted in all, 13 there: the five go to the sets by their sizes, rest to the largest
    assert sizes(w) == {"v1": 11, "v2": 7}


def test_a_paused_deployment_does_not_roll_but_scales() -> None:
    w = running(2)
    w.patch(Deployment, "web", {"spec": {"paused": True}})
    set_image(w, "v2")
    w.settle(kubelet)
    assert sizes(w) == {"v1": 2}
    paused = condition(w, "Progressing")
    assert (paused.status, paused.reason) == ("Unknown", "DeploymentPaused")
    assert paused.message == "Deployment is paused"
    w.patch(Deployment, "web", {"spec": {"replicas": 3}})
    w.settle(kubelet)
    assert sizes(w) == {"v1": 3}
    found = w.need(Deployment, "web")
    assert found.status.observed_generation == found.metadata.generation
    w.patch(Deployment, "web", {"spec": {"paused": False}})
    w.settle()
    assert condition(w, "Progressing").reason == "ReplicaSetUpdated"
    w.settle(kubelet)
    assert sizes(w) == {"v1": 0, "v2": 3}


# --- deadline


def test_a_roll_without_progress_times_out_and_recovers() -> None:
    w = running(2, progressDeadlineSeconds=60)
    set_image(w, "broken")
    w.settle()
    w.pass_time(62)
    w.settle()
    late = condition(w, "Progressing")
    assert (late.status, late.reason) == ("False", "ProgressDeadlineExceeded")
    name = of_image(w, "broken").metadata.name
    assert late.message == f'ReplicaSet "{name}" has timed out progressing.'
    assert w.need(Deployment, "web").status.available_replicas == 2
    w.settle(kubelet)
    assert condition(w, "Progressing").reason == "NewReplicaSetAvailable"


def test_the_deadline_is_asked_for_again_in_time() -> None:
    w = running(2, progressDeadlineSeconds=60)
    set_image(w, "v2")
    w.settle()
    wait = plan(w).requeue_after
    assert wait is not None
    assert 55 < wait <= 61


def test_a_finished_roll_never_times_out() -> None:
    w = running(2, progressDeadlineSeconds=60)
    ready(w, w.all(Pod)[0], value=False)
    w.settle()
    w.pass_time(1000)
    w.settle()
    assert condition(w, "Progressing").reason == "NewReplicaSetAvailable"
    assert condition(w, "Available").status == "False"  # 25% of 2 rounds down to none


def test_without_a_deadline_there_is_no_progressing_condition() -> None:
    w = running(1, progressDeadlineSeconds=2**31 - 1)
    kinds = [c.type for c in w.need(Deployment, "web").status.conditions]
    assert kinds == ["Available"]


# --- whole roll-outs, at random


def test_bind_is_the_only_way_a_pod_gets_its_node() -> None:
    w = running(1)
    assert [a for a in w.writes if isinstance(a, Bind)]


@pytest.mark.parametrize("seed", range(40))
def test_availability_and_surge_hold_at_every_step(seed: int) -> None:
    w = world(seed)
    pick = w.random
    replicas = pick.randint(1, 7)
    surge, unavailable = pick.choice([(1, 0), (0, 1), (2, 1), (0, 3), ("25%", "25%"), ("50%", 0)])
    strategy = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    w.put(deployment(replicas, strategy=strategy, revisionHistoryLimit=2))
    w.settle(kubelet)
    posts = deployments.scaling.fence_posts(w.need(Deployment, "web"))

    def check(world: World) -> None:
        active = [p for p in world.all(Pod) if not p.metadata.deletion_timestamp]
        up = [p for p in active if any(c.status == "True" for c in p.status.conditions)]
        assert len(active) <= replicas + posts[0]
        assert len(up) >= replicas - posts[1]

    w.check = check
    for _ in range(pick.randint(1, 4)):
        set_image(w, pick.choice(["v1", "v2", "v3", "v4"]))
        for _ in range(pick.randint(0, 60)):  # the next change may come in the middle of a roll
            if w.queue:
                w.step()
            elif not kubelet(w):
                break
    w.settle(kubelet)
    status = w.need(Deployment, "web").status
    assert status.updated_replicas == status.available_replicas == status.replicas == replicas
    assert condition(w, "Progressing").reason == "NewReplicaSetAvailable"
    assert sum(sizes(w).values()) == replicas
    assert len(w.all(ReplicaSet)) <= 3
    w.check = lambda world: None
    w.delete(Deployment, "web")
    w.pass_time(3)
    w.settle(kubelet)
    w.pass_time(3)
    w.settle(kubelet)
    assert w.all(ReplicaSet) == []
    assert w.all(Pod) == []

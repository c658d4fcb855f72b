"""Kueue's objects: what is written into Workloads, and that Jobs and pods follow."""

from typing import Any

from tests.controllers.simulate import World, make
from weft.api.conditions import condition, is_true
from weft.api.k8s.batch_v1 import Job
from weft.api.k8s.core_v1 import Namespace
from weft.api.k8s.meta_v1 import Condition
from weft.api.k8s.pod_v1 import Pod
from weft.api.kueue.v1beta2 import (
    ClusterQueue,
    Cohort,
    LocalQueue,
    ResourceFlavor,
    Workload,
    WorkloadPriorityClass,
)
from weft.runtime.plan import RecordEvent
from weft.scheduler.kueue.belonging import workload_name
from weft.scheduler.kueue.controller import ALL, plan

GATED = [{"name": "weft.dev/queue"}]
GIVES_BACK = {"reclaimWithinCohort": "Any", "withinClusterQueue": "LowerPriority"}
LABEL = "kueue.x-k8s.io/queue-name"


def world(**labels: Any) -> World:
    w = World([])
    if w.get(Namespace, "default", "") is None:
        w.put(make(Namespace, {}, name="default", namespace=""))
    flavor(w, "default")
    return w


def flavor(w: World, name: str, **spec: Any) -> None:
    w.put(make(ResourceFlavor, {"spec": spec}, name=name, namespace=""))


def group(*flavors: dict[str, Any], covered: str = "cpu") -> dict[str, Any]:
    return {"coveredResources": covered.split(), "flavors": list(flavors)}


def of(name: str, cpu: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "resources": [{"name": "cpu", "nominalQuota": cpu, **more}]}


def cluster_queue(w: World, name: str, cpu: str = "2", **spec: Any) -> None:
    body = {"namespaceSelector": {}, "resourceGroups": [group(of("default", cpu))], **spec}
    w.put(make(ClusterQueue, {"spec": body}, name=name, namespace=""))
    w.put(make(LocalQueue, {"spec": {"clusterQueue": name}}, name=name))


def job(w: World, name: str, queue: str, cpu: str = "1", **more: Any) -> None:
    pod = {"containers": containers(cpu), "restartPolicy": "Never", **more.pop("pod", {})}
    labels = {LABEL: queue, **more.pop("labels", {})}
    notes = more.pop("annotations", {})
    spec = {"suspend": True, "parallelism": 1, "completions": 1, "template": {"spec": pod}, **more}
    w.now += 1.0
    w.put(make(Job, {"spec": spec}, name=name, labels=labels, annotations=notes))


def containers(cpu: str) -> list[dict[str, Any]]:
    return [{"name": "c", "image": "i:1", "resources": {"requests": {"cpu": cpu}}}]


def settle(w: World) -> None:
    """Plan until nothing is written."""
    for _ in range(20):
        found = plan(w.snapshot(), ALL, w.now)
        if not [a for a in found.actions if not isinstance(a, RecordEvent)]:
            return
        w.apply(found)
    raise AssertionError(f"not quiet: {found.actions}")


def running(w: World) -> set[str]:
    return {j.metadata.name for j in w.snapshot().list(Job) if not j.spec.suspend}


def workload(w: World, name: str) -> Workload:
    return w.need(Workload, workload_name(w.need(Job, name)))


def said(w: World, name: str, kind: str = "QuotaReserved") -> Condition:
    found = condition(workload(w, name).status.conditions, kind)
    assert found is not None
    return found


def test_a_job_is_admitted_with_its_flavor_and_the_next_one_says_what_it_lacks() -> None:
    w = world()
    cluster_queue(w, "team")
    job(w, "a", "team", parallelism=2, completions=2)
    job(w, "b", "team")
    settle(w)
    assert running(w) == {"a"}
    found = workload(w, "a")
    assert found.metadata.owner_references[0].uid == w.need(Job, "a").metadata.uid
    assert is_true(found.status.conditions, "Admitted")
    admission = found.status.admission
    assert admission is not None
    (given,) = admission.pod_set_assignments
    assert (admission.cluster_queue, given.name, given.count) == ("team", "main", 2)
    assert (given.flavors, given.resource_usage) == ({"cpu": "default"}, {"cpu": "2"})
    pending = said(w, "b")
    assert (pending.status, pending.reason) == ("False", "Pending")
    assert "insufficient unused quota in ClusterQueue team: 1 cpu of flavor default" in (
        pending.message
    )
    status = w.need(ClusterQueue, "team", "").status
    assert (status.pending_workloads, status.admitted_workloads) == (1, 1)
    (usage,) = status.flavors_usage
    assert (usage.resources[0].total, usage.resources[0].borrowed) == ("2", "0")
    assert is_true(status.conditions, "Active")
    local = w.need(LocalQueue, "team").status
    assert (local.pending_workloads, local.reserving_workloads) == (1, 1)


def test_the_end_of_a_job_is_told_and_frees_its_quota() -> None:
    w = world()
    cluster_queue(w, "team", "1")
    job(w, "a", "team")
    job(w, "b", "team")
    settle(w)
    done = {"conditions": [{"type": "Complete", "status": "True"}], "succeeded": 1}
    w.set_status(w.need(Job, "a"), make(Job, {"status": done}, name="a").status)
    settle(w)
    assert said(w, "a", "Finished").reason == "Succeeded"
    assert running(w) == {"a", "b"}


def test_what_never_fits_says_so_and_holds_up_nobody() -> None:
    w = world()
    cluster_queue(w, "team", queueingStrategy="StrictFIFO")
    job(w, "huge", "team", "9")
    job(w, "small", "team")
    settle(w)
    assert running(w) == {"small"}
    assert (
        "insufficient quota for 9 cpu of flavor default: 2 cpu at most" in said(w, "huge").message
    )


def test_a_resource_without_quota_is_named() -> None:
    w = world()
    cluster_queue(w, "team")
    cluster_queue(w, "empty", resourceGroups=[])
    wants = {"requests": {"cpu": "1", "example.com/gpu": "1"}}
    job(w, "a", "team", pod={"containers": [{"name": "c", "image": "i", "resources": wants}]})
    job(w, "b", "empty")
    settle(w)
    assert "resource example.com/gpu unavailable in ClusterQueue team" in said(w, "a").message
    assert "resource cpu unavailable in ClusterQueue empty" in said(w, "b").message
    assert running(w) == set()


def test_teams_borrow_and_take_back() -> None:
    w = world()
    cluster_queue(w, "red", cohortName="all", preemption=GIVES_BACK)
    cluster_queue(w, "blue", cohortName="all", preemption=GIVES_BACK)
    for n in range(4):
        job(w, f"red-{n}", "red")
    settle(w)
    assert running(w) == {f"red-{n}" for n in range(4)}
    (usage,) = w.need(ClusterQueue, "red", "").status.flavors_usage
    assert usage.resources[0].borrowed == "2"
    job(w, "blue", "blue")
    settle(w)
    assert running(w) == {"red-0", "red-1", "red-2", "blue"}
    gone = workload(w, "red-3").status
    assert gone.admission is None
    assert said(w, "red-3", "Evicted").reason == "Preempted"
    assert said(w, "red-3", "Preempted").reason == "InCohortReclamation"
    assert "reclamation within the cohort" in said(w, "red-3", "Preempted").message
    assert not is_true(gone.conditions, "QuotaReserved")


def test_what_was_preempted_keeps_its_quota_until_its_pods_have_ended() -> None:
    w = world()
    cluster_queue(w, "red", cohortName="all", preemption=GIVES_BACK)
    cluster_queue(w, "blue", cohortName="all", preemption=GIVES_BACK)
    for n in range(3):
        job(w, f"red-{n}", "red")
    settle(w)
    last = w.need(Job, "red-2")
    w.set_status(last, make(Job, {"status": {"active": 1}}, name="red-2").status)
    job(w, "blue", "blue", "2")
    job(w, "late", "red")
    settle(w)
    assert running(w) == {"red-0", "red-1"}
    assert is_true(workload(w, "red-2").status.conditions, "QuotaReserved")
    assert said(w, "red-2", "Evicted").status == "True"
    assert "default/red-2 makes room" in said(w, "blue").message
    assert w.need(ClusterQueue, "red", "").status.reserving_workloads == 3
    w.set_status(w.need(Job, "red-2"), make(Job, {}, name="red-2").status)
    settle(w)
    assert running(w) == {"red-0", "red-1", "blue"}
    assert not is_true(workload(w, "red-2").status.conditions, "QuotaReserved")
    assert said(w, "red-2", "Requeued").reason == "Preempted"


def test_priorities_of_workloads_count_not_those_of_pods() -> None:
    w = world()
    cluster_queue(w, "team", "1", preemption={"withinClusterQueue": "LowerPriority"})
    urgent = {"value": 100}
    w.put(make(WorkloadPriorityClass, urgent, name="urgent", namespace=""))
    job(w, "small", "team")
    settle(w)
    job(w, "big", "team", labels={"kueue.x-k8s.io/priority-class": "urgent"})
    settle(w)
    assert running(w) == {"big"}
    assert said(w, "small", "Preempted").reason == "InClusterQueue"
    found = workload(w, "big").spec
    assert found.priority == 100
    assert found.priority_class_ref is not None
    assert found.priority_class_ref.kind == "WorkloadPriorityClass"


def test_flavors_place_pods_and_are_taken_back_with_them() -> None:
    w = world()
    taint = {"key": "spot", "value": "yes", "effect": "NoSchedule"}
    bears = [{"key": "spot", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}]
    flavor(w, "spot", nodeLabels={"kind": "spot"}, nodeTaints=[taint], tolerations=bears)
    flavor(w, "own", nodeLabels={"kind": "own"})
    flavors = [group(of("own", "1"), of("spot", "1"))]
    preemption = {"withinClusterQueue": "LowerPriority"}
    cluster_queue(w, "team", resourceGroups=flavors, preemption=preemption)
    job(w, "a", "team")
    job(w, "b", "team", pod={"nodeSelector": {"disk": "fast"}})
    settle(w)
    pod = w.need(Job, "b").spec.template.spec
    assert pod is not None
    assert pod.node_selector == {"disk": "fast", "kind": "spot"}
    assert [t.key for t in pod.tolerations] == ["spot"]
    first = w.need(Job, "a").spec.template.spec
    assert first is not None
    assert first.node_selector == {"kind": "own"}
    w.put(make(WorkloadPriorityClass, {"value": 9}, name="high", namespace=""))
    only = {"nodeSelector": {"kind": "own"}}
    job(w, "c", "team", pod=only, labels={"kueue.x-k8s.io/priority-class": "high"})
    settle(w)
    assert running(w) == {"b", "c"}
    done = {"conditions": [{"type": "Complete", "status": "True"}]}
    w.set_status(w.need(Job, "b"), make(Job, {"status": done}, name="b").status)
    settle(w)
    again = w.need(Job, "a").spec.template.spec
    assert again is not None
    assert again.node_selector == {"kind": "spot"}


def test_flavors_that_pods_cannot_use_are_passed_over() -> None:
    w = world()
    flavor(w, "gpu", nodeTaints=[{"key": "gpu", "effect": "NoSchedule"}])
    flavor(w, "arm", nodeLabels={"arch": "arm"})
    cluster_queue(w, "team", resourceGroups=[group(of("gpu", "1"), of("arm", "1"))])
    job(w, "a", "team", pod={"nodeSelector": {"arch": "x86"}})
    settle(w)
    message = said(w, "a").message
    assert "untolerated taint gpu=:NoSchedule in flavor gpu" in message
    assert "flavor arm doesn't match node affinity" in message


def test_fewer_pods_when_fewer_are_enough() -> None:
    w = world()
    cluster_queue(w, "team", "3")
    least = {"kueue.x-k8s.io/job-min-parallelism": "2"}
    job(w, "a", "team", parallelism=5, completions=5, annotations=least)
    settle(w)
    assert running(w) == {"a"}
    assert w.need(Job, "a").spec.parallelism == 3
    admission = workload(w, "a").status.admission
    assert admission is not None
    assert admission.pod_set_assignments[0].count == 3


def member(w: World, name: str, queue: str, total: int = 2, gang: str = "gang") -> None:
    labels = {LABEL: queue, "kueue.x-k8s.io/pod-group-name": gang}
    notes = {"kueue.x-k8s.io/pod-group-total-count": str(total)}
    spec = {"containers": containers("1"), "schedulingGates": GATED}
    w.put(make(Pod, {"spec": spec}, name=name, labels=labels, annotations=notes))


def test_a_group_of_pods_is_one_workload() -> None:
    w = world()
    flavor(w, "own", nodeLabels={"kind": "own"})
    cluster_queue(w, "team", resourceGroups=[group(of("own", "2"))])
    member(w, "p-0", "team")
    settle(w)
    assert w.get(Workload, "gang") is None
    member(w, "p-1", "team")
    settle(w)
    found = w.need(Workload, "gang")
    assert [p.count for p in found.spec.pod_sets] == [2]
    assert {o.name for o in found.metadata.owner_references} == {"p-0", "p-1"}
    for pod in w.snapshot().list(Pod):
        assert pod.spec.scheduling_gates == ()
        assert pod.spec.node_selector == {"kind": "own"}


def test_a_group_without_a_possible_workload_says_so() -> None:
    w = world()
    cluster_queue(w, "team")
    member(w, "p", "team", 1, "My_Gang")
    settle(w)
    why = w.need(Pod, "p").metadata.annotations["weft.dev/waits-for"]
    assert "`My_Gang` is no name of a Workload" in why


def test_what_keeps_a_queue_from_admitting_is_said_where_it_matters() -> None:
    w = world()
    cluster_queue(w, "lost", resourceGroups=[group(of("nowhere", "2"))])
    cluster_queue(w, "stopped", stopPolicy="Hold")
    cluster_queue(w, "closed", namespaceSelector=None)
    w.put(make(LocalQueue, {"spec": {"clusterQueue": "none"}}, name="dangling"))
    why = {
        "lost": "references missing ResourceFlavor(s): nowhere",
        "stopped": "is stopped",
        "closed": "namespace doesn't match",
        "dangling": "ClusterQueue none doesn't exist",
    }
    for name in why:
        job(w, name, name)
    settle(w)
    for name, text in why.items():
        found = said(w, name)
        assert found.reason == "Inadmissible"
        assert text in found.message
        assert text in w.need(Job, name).metadata.annotations["weft.dev/waits-for"]
    assert running(w) == set()
    active = condition(w.need(ClusterQueue, "lost", "").status.conditions, "Active")
    assert active is not None
    assert (active.status, active.reason) == ("False", "FlavorNotFound")


def test_draining_stops_what_runs_and_a_workload_is_switched_off_and_on() -> None:
    w = world()
    cluster_queue(w, "team")
    job(w, "a", "team")
    settle(w)
    w.patch(ClusterQueue, "team", {"spec": {"stopPolicy": "HoldAndDrain"}}, "")
    settle(w)
    assert running(w) == set()
    assert said(w, "a", "Evicted").reason == "ClusterQueueStopped"
    w.patch(ClusterQueue, "team", {"spec": {"stopPolicy": "None"}}, "")
    settle(w)
    assert running(w) == {"a"}
    assert said(w, "a", "Evicted").status == "False"
    name = workload(w, "a").metadata.name
    w.patch(Workload, name, {"spec": {"active": False}})
    settle(w)
    assert running(w) == set()
    assert said(w, "a", "Evicted").reason == "Deactivated"


def test_who_ran_too_long_is_deactivated() -> None:
    w = world()
    cluster_queue(w, "team")
    job(w, "a", "team", labels={"kueue.x-k8s.io/max-exec-time-seconds": "60"})
    settle(w)
    left = plan(w.snapshot(), ALL, w.now + 20).requeue_after
    assert left is not None
    assert 30 <= left <= 40
    w.now += 61
    settle(w)
    assert running(w) == set()
    assert workload(w, "a").spec.active is False


def test_a_job_that_was_resumed_by_hand_is_suspended_again() -> None:
    w = world()
    cluster_queue(w, "team", "1")
    job(w, "a", "team")
    job(w, "b", "team")
    settle(w)
    w.patch(Job, "b", {"spec": {"suspend": False}})
    settle(w)
    assert running(w) == {"a"}


def test_cohorts_that_go_in_circles_admit_nothing() -> None:
    w = world()
    w.put(make(Cohort, {"spec": {"parentName": "b"}}, name="a", namespace=""))
    w.put(make(Cohort, {"spec": {"parentName": "a"}}, name="b", namespace=""))
    cluster_queue(w, "team", cohortName="a")
    job(w, "x", "team")
    settle(w)
    assert "cohort a is part of itself" in said(w, "x").message


def test_a_cohorts_own_quota_is_for_whoever_needs_it() -> None:
    w = world()
    w.put(make(Cohort, {"spec": {"resourceGroups": [group(of("default", "2"))]}}, name="all",
               namespace=""))  # fmt: skip
    cluster_queue(w, "team", "0", cohortName="all")
    for n in range(3):
        job(w, f"j{n}", "team")
    settle(w)
    assert running(w) == {"j0", "j1"}

"""Kueue's kinds: manifests in its documentation's shapes, versions, rules, and what is refused."""

import copy
from typing import Any

import pytest
import yaml

from weft.api import registry
from weft.api.conversions import conversion
from weft.api.validation import check_manifest, validate_update

MANIFESTS = """
apiVersion: kueue.x-k8s.io/v1beta1
kind: ResourceFlavor
metadata: {name: spot}
spec:
  nodeLabels: {instance-type: spot}
  nodeTaints: [{effect: NoSchedule, key: spot, value: "true"}]
  tolerations: [{key: spot-taint, operator: Exists, effect: NoSchedule}]
---
apiVersion: kueue.x-k8s.io/v1beta1
kind: ClusterQueue
metadata: {name: team-a-cq}
spec:
  cohort: team-ab
  queueingStrategy: StrictFIFO
  namespaceSelector:
    matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [team-a]}]
  preemption:
    reclaimWithinCohort: Any
    borrowWithinCohort: {policy: LowerPriority, maxPriorityThreshold: 100}
    withinClusterQueue: LowerOrNewerEqualPriority
  flavorFungibility: {whenCanBorrow: TryNextFlavor, whenCanPreempt: MayStopSearch}
  stopPolicy: Hold
  fairSharing: {weight: 1}
  resourceGroups:
  - coveredResources: ["cpu", "memory", "pods"]
    flavors:
    - name: spot
      resources:
      - {name: "cpu", nominalQuota: 9, borrowingLimit: 1, lendingLimit: "2"}
      - {name: "memory", nominalQuota: 36Gi}
      - {name: "pods", nominalQuota: 5}
  - coveredResources: ["foo.com/gpu"]
    flavors:
    - name: vendor1
      resources: [{name: "foo.com/gpu", nominalQuota: 10}]
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: team-b-cq}
spec:
  cohortName: team-ab
  resourceGroups: []
---
apiVersion: kueue.x-k8s.io/v1beta1
kind: LocalQueue
metadata: {namespace: team-a, name: team-a-queue}
spec: {clusterQueue: team-a-cq}
---
apiVersion: kueue.x-k8s.io/v1beta1
kind: Cohort
metadata: {name: team-ab}
spec:
  parentName: all
  resourceGroups:
  - coveredResources: ["cpu"]
    flavors: [{name: spot, resources: [{name: cpu, nominalQuota: 12, borrowingLimit: 1}]}]
---
apiVersion: kueue.x-k8s.io/v1beta1
kind: WorkloadPriorityClass
metadata: {name: sample-priority}
value: 10000
description: "Sample priority"
---
apiVersion: kueue.x-k8s.io/v1beta1
kind: Workload
metadata: {name: sample-job, namespace: team-a}
spec:
  active: true
  queueName: team-a-queue
  priority: 10000
  priorityClassName: sample-priority
  priorityClassSource: kueue.x-k8s.io/workloadpriorityclass
  podSets:
  - count: 3
    name: main
    template:
      spec: {containers: [{image: sleep, name: c}], restartPolicy: Never}
"""
OBJECTS: list[dict[str, Any]] = list(yaml.safe_load_all(MANIFESTS))


def problems(obj: dict[str, Any]) -> dict[str, str]:
    kind = registry.kind_of(obj)
    assert kind is not None
    return {error.path: error.detail for error in check_manifest(kind, obj)}


@pytest.mark.parametrize("obj", OBJECTS, ids=lambda o: o["kind"])
def test_manifests_of_its_documentation_are_right(obj: dict[str, Any]) -> None:
    assert problems(obj) == {}


@pytest.mark.parametrize("obj", OBJECTS, ids=lambda o: o["kind"])
def test_nothing_is_lost_between_the_versions(obj: dict[str, Any]) -> None:
    kind = registry.find("kueue.x-k8s.io", "v1beta1", obj["kind"])
    assert kind is not None
    view = conversion(kind)
    if view is None or obj["apiVersion"].endswith("v1beta2"):
        return
    given = copy.deepcopy(obj)
    stored = view.to_stored(given)
    assert given == obj
    assert view.to_view(stored) == obj


def test_what_v1beta2_calls_otherwise() -> None:
    kind = registry.find("kueue.x-k8s.io", "v1beta1", "LocalQueue")
    assert kind is not None
    view = conversion(kind)
    assert view is not None
    assert view.to_view({"status": {"flavorsUsage": []}}) == {"status": {"flavorUsage": []}}
    assert view.to_stored({"status": {"flavorUsage": []}}) == {"status": {"flavorsUsage": []}}


def changed(index: int, **spec: Any) -> dict[str, Any]:
    obj = copy.deepcopy(OBJECTS[index])
    obj["spec"] |= spec
    return obj


CPU = {"name": "cpu", "nominalQuota": 1}


@pytest.mark.parametrize(
    ("obj", "path", "text"),
    [
        (changed(1, admissionChecks=["prov"]), "spec.admissionChecksStrategy", "runs no Admission"),
        (changed(0, topologyName="racks"), "spec.topologyName", "does not place by topology"),
        (changed(1, cohort=""), "spec.resourceGroups[0].flavors[0].resources[0].borrowingLimit",
         "must be nil when cohortName is empty"),
        (changed(1, preemption={"borrowWithinCohort": {"policy": "LowerPriority"}}),
         "spec.preemption.borrowWithinCohort.policy", "reclaimWithinCohort"),
        (changed(1, queueingStrategy="Random"), "spec.queueingStrategy", "StrictFIFO"),
        (changed(1, resourceGroups=[{"coveredResources": ["cpu", "memory"],
                                     "flavors": [{"name": "spot", "resources": [CPU]}]}]),
         "spec.resourceGroups[0].flavors[0].resources", "in their order: cpu, memory"),
        (changed(1, resourceGroups=2 * [{"coveredResources": ["cpu"],
                                         "flavors": [{"name": "spot", "resources": [CPU]}]}]),
         "spec.resourceGroups[1].coveredResources[0]", "each resource only once"),
        (changed(1, flavorFungibility={"preference": "PreemptionOverBorrowing"}),
         "spec.flavorFungibility.preference", "TryNextFlavor"),
        (changed(4, parentName="team-ab"), "spec.parentName", "no part of itself"),
        (changed(6, podSets=[]), "spec.podSets", "at least one set"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(obj: dict[str, Any], path: str, text: str) -> None:
    found = problems(obj)
    assert text in found.get(path, ""), found


def test_a_local_queue_stays_with_its_cluster_queue() -> None:
    kind = registry.find("kueue.x-k8s.io", "v1beta2", "LocalQueue")
    assert kind is not None
    meta = {"name": "q", "namespace": "d", "uid": "u", "resourceVersion": "1"}
    head = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "LocalQueue", "metadata": meta}
    old = head | {"spec": {"clusterQueue": "a"}}
    (error,) = validate_update(kind, head | {"spec": {"clusterQueue": "b"}}, old)
    assert (error.path, error.detail) == ("spec.clusterQueue", "field is immutable")


JOB = {
    "apiVersion": "batch/v1", "kind": "Job",
    "metadata": {"name": "j", "namespace": "d", "uid": "u", "resourceVersion": "1"},
    "spec": {"suspend": True, "template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("status", "change", "may"),
    [
        ({}, {"nodeSelector": {"a": "b"}}, True),
        ({}, {"tolerations": [{"operator": "Exists"}]}, True),
        ({}, {"hostNetwork": True}, False),
        ({"startTime": "2026-01-01T00:00:00Z"}, {"nodeSelector": {"a": "b"}}, False),
    ],
)
def test_where_a_suspended_job_runs_may_change_until_it_starts(
    status: dict[str, Any], change: dict[str, Any], may: bool
) -> None:
    kind = registry.find("batch", "v1", "Job")
    assert kind is not None
    old = copy.deepcopy(JOB) | {"status": status}
    new: Any = copy.deepcopy(old)
    new["spec"]["suspend"] = False
    new["spec"]["template"]["spec"] |= change
    wrong = [e for e in validate_update(kind, new, old) if e.path == "spec.template"]
    assert (wrong == []) is may

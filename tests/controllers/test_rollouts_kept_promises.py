"""What users of Argo Rollouts rely on besides the steps: counts, delays, marks, events, budgets."""

from typing import Any

import pytest
from msgspec.structs import replace

from tests.controllers.rollout_world import (
    agent,
    behind,
    finish_run,
    images,
    promote,
    roll,
    rollout,
    sizes,
    told,
    wait,
    weights,
    world,
    write_status,
)
from tests.controllers.simulate import World, make, ready
from weft.api.argo.analysis import AnalysisRun, AnalysisTemplate
from weft.api.argo.rollout import Rollout
from weft.api.istio.networking_v1 import DestinationRule, VirtualService
from weft.api.k8s.apps_v1 import Deployment, ReplicaSet
from weft.api.k8s.pod_v1 import Pod
from weft.api.k8s.policy_v1 import PodDisruptionBudget, PodDisruptionBudgetStatus
from weft.controllers.rollout_scaling import Version, split
from weft.controllers.rollout_scaling import roll as rolled
from weft.lib.timefmt import rfc3339

SERVICES = {"stableService": "web", "canaryService": "web-canary"}
HALF = [{"setWeight": 50}, {"pause": {}}]
DEADLINE = "scale-down-deadline"


def routed(**more: Any) -> Any:
    return {"canary": {**SERVICES, "steps": HALF, "trafficRouting": {}, **more}}


def deadline(w: World, image: str) -> str:
    sets = {r.spec.template.spec.containers[0].image: r for r in w.all(ReplicaSet)}
    return sets[image].metadata.annotations.get(DEADLINE, "")


def test_one_replica_and_a_share_mean_a_pod_of_each() -> None:
    """As long as one pod more than asked for may be there."""
    assert split(1, 25, 1) == (1, 1)
    assert split(1, 25, 0) == (0, 1)


def test_fewer_replicas_during_an_update_take_pods_that_are_not_available() -> None:
    good = Version("old", 4, 4, 4, 0)
    bad = Version("new", 6, 6, 0, 4)
    assert rolled([good, bad], 4, 2, 0) == {"old": 4, "new": 2}


def test_after_an_abort_the_canary_service_means_the_stable_pods() -> None:
    w = world(routed(abortScaleDownDelaySeconds=60))
    roll(w, "v2")
    assert behind(w, "web-canary") == {"v2"}
    write_status(w, abort=True)
    assert behind(w, "web-canary") == {"v1"}
    assert told(w, "RolloutAborted") == ["Rollout aborted update to revision 2"]
    assert deadline(w, "v2")
    assert sizes(w)["v2"] == 2
    write_status(w, abort=False)
    assert not deadline(w, "v2")
    assert behind(w, "web-canary") == {"v2"}
    write_status(w, abort=True)
    wait(w, 61)
    assert images(w) == {"v1": 4}
    write_status(w, promoteFull=True)
    assert (rollout(w).status.phase, behind(w, "web")) == ("Healthy", {"v2"})


@pytest.mark.parametrize("delay", [None, 600])
def test_a_stable_version_that_grows_again_gets_its_share_back(delay: int | None) -> None:
    """With dynamicStableScale the canary shrinks with its share, unless a delay keeps its pods."""
    more = {} if delay is None else {"abortScaleDownDelaySeconds": delay}
    steps = [{"setWeight": 75}, {"pause": {}}]
    w = world(routed(dynamicStableScale=True, steps=steps, **more))
    roll(w, "v2")
    assert (images(w), weights(w)["web-canary"]) == ({"v1": 1, "v2": 3}, 75)
    asked = rollout(w)
    w.set_status(asked, replace(asked.status, abort=True))
    w.settle()
    for share, pods in ((50, 2), (25, 1)):
        ready(w, next(p for p in w.all(Pod) if p.status.phase == "Pending"))
        w.settle()
        assert weights(w)["web-canary"] == share
        assert images(w)["v2"] == (3 if delay else pods)
    w.settle(agent)
    assert weights(w)["web-canary"] == 0
    assert images(w).get("v2", 0) == (3 if delay else 0)


def test_an_autoscaler_counts_the_stable_pods_only() -> None:
    w = world(routed())
    roll(w, "v2")
    status = rollout(w).status
    assert (status.replicas, status.hpa_replicas, status.selector) == (6, 4, "app=web")


def test_blue_green_counts_what_serves_and_keeps_what_was_just_replaced() -> None:
    strategy = {"blueGreen": {"activeService": "web", "scaleDownDelaySeconds": 600,
                              "scaleDownDelayRevisionLimit": 1}}  # fmt: skip
    w = world(strategy, 2)
    for image in ("v2", "v3"):
        roll(w, image)
        status = rollout(w).status
        found = (status.replicas, status.updated_replicas, status.ready_replicas)
        assert (found, status.available_replicas) == ((4, 2, 2), 2)
    assert {i for i, n in sizes(w).items() if n} == {"v2", "v3"}
    assert deadline(w, "v2")
    assert told(w, "RolloutUpdated")[-1] == "Rollout updated to revision 3"


def test_back_to_a_version_that_is_still_there_asks_no_analysis() -> None:
    template = {"metrics": [{"name": "m", "provider": {"web": {"url": "http://x/"}}}]}
    after = {"templates": [{"templateName": "check"}]}
    w = world({"blueGreen": {"activeService": "web", "postPromotionAnalysis": after}}, 1)
    w.put(make(AnalysisTemplate, {"spec": template}, name="check"))
    w.settle(agent)
    roll(w, "v2")
    finish_run(w, "Successful")
    wait(w, 1)
    roll(w, "v1")
    assert (rollout(w).status.phase, behind(w, "web")) == ("Healthy", {"v1"})
    assert len(w.all(AnalysisRun)) == 1


def test_a_version_that_failed_is_asked_again_though_it_is_still_there() -> None:
    template = {"metrics": [{"name": "m", "provider": {"web": {"url": "http://x/"}}}]}
    before = {"templates": [{"templateName": "check"}]}
    w = world({"blueGreen": {"activeService": "web", "prePromotionAnalysis": before}}, 1)
    w.put(make(AnalysisTemplate, {"spec": template}, name="check"))
    w.settle(agent)
    roll(w, "v2")
    finish_run(w, "Failed")
    assert deadline(w, "v2")
    assert images(w) == {"v1": 1, "v2": 1}
    roll(w, "v1")
    roll(w, "v2")
    assert behind(w, "web") == {"v1"}
    finish_run(w, "Successful")
    assert behind(w, "web") == {"v2"}


def test_marks_of_a_role_follow_the_spec() -> None:
    w = world({"canary": {"stableMetadata": {"labels": {"role": "stable"}}}}, 1)
    assert [p.metadata.labels["role"] for p in w.all(Pod)] == ["stable"]
    new = {"labels": {"role": None, "place": "first"}}
    w.patch(Rollout, "web", {"spec": {"strategy": {"canary": {"stableMetadata": new}}}})
    w.settle(agent)
    (pod,) = w.all(Pod)
    assert "role" not in pod.metadata.labels
    assert pod.metadata.labels["place"] == "first"
    w.patch(Rollout, "web", {"spec": {"strategy": {"canary": {"stableMetadata": None}}}})
    w.settle(agent)
    assert "place" not in w.all(Pod)[0].metadata.labels


def test_events_tell_the_steps() -> None:
    w = world({"canary": {"steps": [{"setWeight": 50}, {"pause": {"duration": "3s"}}]}})
    roll(w, "v2")
    wait(w, 4)
    assert told(w, "RolloutStepCompleted") == [
        "Rollout step 1/2 completed (setWeight: 50)", "Rollout step 2/2 completed (pause: 3s)"
    ]  # fmt: skip
    assert told(w, "RolloutResumed") == ["Rollout is resumed"]


def test_a_restart_keeps_to_disruption_budgets() -> None:
    w = world({"canary": {"maxUnavailable": "100%"}})
    spec = {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": 4}
    budget = make(PodDisruptionBudget, {"spec": spec}, name="all")
    w.put(budget)
    before = {p.metadata.uid for p in w.all(Pod)}
    w.pass_time(10)
    w.patch(Rollout, "web", {"spec": {"restartAt": rfc3339(w.now)}})
    w.settle(agent)
    assert {p.metadata.uid for p in w.all(Pod)} == before
    told = PodDisruptionBudgetStatus(disruptions_allowed=1, desired_healthy=3, expected_pods=4)
    w.set_status(w.need(PodDisruptionBudget, "all"), told)
    w.settle()
    active = {p.metadata.uid for p in w.all(Pod) if not p.metadata.deletion_timestamp}
    assert len(before & active) == 3
    w.settle(agent)
    assert not before & {p.metadata.uid for p in w.all(Pod)}


def test_a_destination_rule_is_given_back() -> None:
    rule = {"name": "dr", "canarySubsetName": "canary", "stableSubsetName": "stable"}
    istio = {"virtualService": {"name": "vs"}, "destinationRule": rule}
    w = world({"canary": {"steps": HALF, "trafficRouting": {"istio": istio}}})
    subsets = [{"name": n, "labels": {"app": "web"}} for n in ("stable", "canary")]
    w.put(make(DestinationRule, {"spec": {"host": "web", "subsets": subsets}}, name="dr"))
    route = [{"destination": {"host": "web", "subset": n}} for n in ("stable", "canary")]
    w.put(make(VirtualService, {"spec": {"hosts": ["web"], "http": [{"route": route}]}}, name="vs"))
    w.settle(agent)
    assert all(len(s.labels) == 2 for s in w.need(DestinationRule, "dr").spec.subsets)
    w.patch(Rollout, "web", {"spec": {"strategy": {"canary": {"trafficRouting": None}}}})
    w.settle(agent)
    found = w.need(DestinationRule, "dr")
    assert [s.labels for s in found.spec.subsets] == [{"app": "web"}] * 2
    assert found.metadata.annotations == {}
    assert rollout(w).status.canary.weights is None


def test_a_template_of_its_own_again() -> None:
    """What was known of the workload is forgotten."""
    w = world({"canary": {}}, 1)
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                         "spec": {"containers": [{"name": "m", "image": "v2"}]}}}  # fmt: skip
    w.put(make(Deployment, {"spec": spec}, name="d"))
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    own = w.need(Rollout, "web").spec.template
    w.patch(Rollout, "web", {"spec": {"workloadRef": reference, "template": None}})
    w.settle(agent)
    assert images(w) == {"v2": 1}
    assert rollout(w).status.workload_observed_generation
    assert own is not None
    w.patch(Rollout, "web", {"spec": {"workloadRef": None}})
    roll(w, "v1")
    assert images(w) == {"v1": 1}
    assert not rollout(w).status.workload_observed_generation
    promote(w)

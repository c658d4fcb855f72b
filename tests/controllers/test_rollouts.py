"""Rollouts by themselves: canaries by pods and by requests, blue-green, aborts, retries, pauses."""

from typing import Any

import pytest

from tests.controllers.rollout_world import (
    agent,
    behind,
    finish_run,
    images,
    promote,
    roll,
    rollout,
    sizes,
    template,
    told,
    wait,
    weights,
    world,
    write_status,
)
from tests.controllers.simulate import World, make
from tests.examples import ALL
from weft.api.argo.analysis import AnalysisRun, AnalysisTemplate
from weft.api.argo.rollout import Rollout
from weft.api.gateway.v1 import HTTPRoute
from weft.api.k8s.apps_v1 import ReplicaSet
from weft.api.k8s.core_v1 import Service
from weft.api.k8s.pod_v1 import Pod
from weft.controllers.support import podstate
from weft.lib.timefmt import rfc3339

STEPS = [
    {"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {"duration": "10s"}},
    {"setWeight": 75},
]  # fmt: skip
ROUTED = {
    "canary": {
        "stableService": "web", "canaryService": "web-canary", "trafficRouting": {}, "steps": STEPS,
    }
}  # fmt: skip
BASIC = {"canary": {"steps": STEPS, "maxSurge": 1, "maxUnavailable": 0}}
BLUE_GREEN = {"blueGreen": {"activeService": "web", "previewService": "preview",
                            "autoPromotionEnabled": False}}  # fmt: skip


def test_the_first_version_needs_no_steps() -> None:
    w = world(BASIC)
    found = rollout(w).status
    assert images(w) == {"v1": 4}
    assert (found.phase, found.current_step_index) == ("Healthy", 5)
    assert found.stable_rs == found.current_pod_hash


def test_a_canary_by_pods_goes_step_by_step() -> None:
    w = world(BASIC)
    roll(w, "v2")
    assert images(w) == {"v1": 3, "v2": 1}
    assert (rollout(w).status.phase, rollout(w).status.message) == ("Paused", "CanaryPauseStep")
    wait(w, 3600)
    assert images(w) == {"v1": 3, "v2": 1}  # until somebody says so
    promote(w)
    assert images(w) == {"v1": 2, "v2": 2}
    wait(w, 11)
    assert images(w) == {"v2": 4}
    assert rollout(w).status.phase == "Healthy"


@pytest.mark.parametrize("strategy", [BASIC, ROUTED])
def test_an_abort_goes_back_and_a_retry_begins_anew(strategy: Any) -> None:
    w = world(strategy)
    roll(w, "v2")
    promote(w)
    write_status(w, abort=True)
    found = rollout(w).status
    assert found.phase == "Degraded"
    assert found.message.startswith("RolloutAborted: Rollout aborted update to revision 2")
    wait(w, 31)
    assert images(w) == {"v1": 4}
    write_status(w, abort=False)
    assert images(w)["v2"] == 1
    assert rollout(w).status.phase == "Paused"


def test_requests_follow_pods_that_are_there() -> None:
    w = world(ROUTED)
    assert behind(w, "web") == {"v1"}
    roll(w, "v2")
    assert images(w) == {"v1": 4, "v2": 1}  # the old version keeps all its pods
    assert behind(w, "web-canary") == {"v2"}
    assert weights(w) == {"web": 75, "web-canary": 25}
    promote(w)
    assert (weights(w), sizes(w)) == ({"web": 50, "web-canary": 50}, {"v1": 4, "v2": 2})
    wait(w, 11)
    assert behind(w, "web") == {"v2"}
    assert weights(w) == {"web": 100, "web-canary": 0}
    assert images(w) == {"v1": 4, "v2": 4}  # for 30 s
    wait(w, 31)
    assert images(w) == {"v2": 4}
    assert rollout(w).status.phase == "Healthy"


def test_a_version_that_does_not_come_up_gets_no_requests() -> None:
    w = world(ROUTED, progressDeadlineSeconds=60, progressDeadlineAbort=True)
    roll(w, "bad")
    assert weights(w) in ({}, {"web": 100, "web-canary": 0})
    assert rollout(w).status.phase == "Progressing"
    wait(w, 61)
    wait(w, 31)
    assert rollout(w).status.abort
    assert images(w) == {"v1": 4}


def test_the_old_version_may_shrink_as_requests_move() -> None:
    strategy = {"canary": ROUTED["canary"] | {"dynamicStableScale": True}}
    w = world(strategy)
    roll(w, "v2")
    assert sizes(w) == {"v1": 3, "v2": 1}
    promote(w)
    assert sizes(w) == {"v1": 2, "v2": 2}
    write_status(w, abort=True)
    assert weights(w) == {"web": 100, "web-canary": 0}
    assert sizes(w) == {"v1": 4, "v2": 0}


def test_steps_set_pods_headers_and_mirrors() -> None:
    steps = [
        {"setCanaryScale": {"replicas": 3}},
        {"setHeaderRoute": {"name": "beta", "match": [
            {"headerName": "x-beta", "headerValue": {"exact": "yes"}}]}},
        {"setMirrorRoute": {"name": "copy", "percentage": 50, "match": [
            {"path": {"prefix": "/api"}}]}},
        {"pause": {}},
        {"setHeaderRoute": {"name": "beta"}},
        {"setCanaryScale": {"matchTrafficWeight": True}},
        {"setWeight": 50},
        {"pause": {}},
    ]  # fmt: skip
    routing = {"managedRoutes": [{"name": "copy"}, {"name": "beta"}]}
    w = world({"canary": ROUTED["canary"] | {"steps": steps, "trafficRouting": routing}})
    roll(w, "v2")
    assert sizes(w) == {"v1": 4, "v2": 3}
    copy, beta, rest = w.need(HTTPRoute, "web").spec.rules
    assert copy.filters[0].request_mirror is not None
    assert copy.filters[0].request_mirror.percent == 50
    assert [m.path.value for m in copy.matches] == ["/api"]
    assert beta.matches[0].headers[0].value == "yes"
    assert [b.name for b in beta.backend_refs] == ["web-canary"]
    assert [b.weight for b in rest.backend_refs] == [100, 0]
    promote(w)
    assert [r.name for r in w.need(HTTPRoute, "web").spec.rules] == ["copy", ""]
    assert sizes(w) == {"v1": 4, "v2": 2}
    promote(w)
    assert [r.name for r in w.need(HTTPRoute, "web").spec.rules] == [""]


def test_blue_green_waits_for_a_person_and_moves_at_once() -> None:
    w = world(BLUE_GREEN)
    roll(w, "v2")
    assert (behind(w, "web"), behind(w, "preview")) == ({"v1"}, {"v2"})
    assert (rollout(w).status.phase, rollout(w).status.message) == ("Paused", "BlueGreenPause")
    promote(w)
    assert behind(w, "web") == {"v2"}
    assert images(w) == {"v1": 4, "v2": 4}
    # Back within the delay: its pods are still there, so nothing is asked.
    roll(w, "v1")
    assert behind(w, "web") == {"v1"}
    wait(w, 31)
    assert images(w) == {"v1": 4}
    assert rollout(w).status.phase == "Healthy"


def test_a_preview_may_be_small() -> None:
    strategy = {"blueGreen": BLUE_GREEN["blueGreen"] | {"previewReplicaCount": 1}}
    w = world(strategy)
    roll(w, "v2")
    assert images(w) == {"v1": 4, "v2": 1}
    promote(w)
    assert images(w) == {"v1": 4, "v2": 4}
    assert behind(w, "web") == {"v2"}


def test_an_aborted_preview_goes() -> None:
    w = world(BLUE_GREEN)
    roll(w, "v2")
    write_status(w, abort=True)
    assert behind(w, "web") == {"v1"}
    wait(w, 31)
    assert images(w) == {"v1": 4}


def analysed(w: World) -> None:
    metric = {"name": "m", "provider": {"web": {"url": "http://x/"}}}
    args = [{"name": "hash"}, {"name": "who", "value": "nobody"}]
    w.put(make(AnalysisTemplate, {"spec": {"metrics": [metric], "args": args}}, name="check"))
    w.settle(agent)


ANALYSIS = {
    "templates": [{"templateName": "check"}],
    "args": [{"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}],
}


def test_an_analysis_decides_about_a_step() -> None:
    steps = [{"setWeight": 25}, {"analysis": ANALYSIS}, {"pause": {}}]
    w = world({"canary": {"steps": steps}})
    analysed(w)
    roll(w, "v2")
    (run,) = w.all(AnalysisRun)
    assert {a.name: a.value for a in run.spec.args} == {
        "hash": rollout(w).status.current_pod_hash, "who": "nobody",
    }  # fmt: skip
    finish_run(w, "Successful")
    assert rollout(w).status.current_step_index == 2
    roll(w, "v3")
    finish_run(w, "Failed", "it is slow")
    assert rollout(w).status.abort
    assert "it is slow" in rollout(w).status.message
    assert images(w) == {"v1": 4}


@pytest.mark.parametrize(("judge", "runs"), [("true", 1), ("result.p99Ms < 9", 1), ("false", 0)])
def test_the_mesh_judges_when_it_is_told_to(judge: str, runs: int) -> None:
    w = world(ROUTED, annotations={"weft.dev/judge": judge})
    roll(w, "v2")
    assert len(w.all(AnalysisRun)) == runs


def test_an_analysis_in_the_background_ends_with_the_rollout() -> None:
    w = world({"canary": ROUTED["canary"] | {"analysis": ANALYSIS}})
    analysed(w)
    roll(w, "v2")
    (run,) = w.all(AnalysisRun)
    assert not run.spec.terminate
    write_status(w, promoteFull=True)
    assert w.all(AnalysisRun)[0].spec.terminate
    assert behind(w, "web") == {"v2"}


def test_an_inconclusive_analysis_asks_a_person() -> None:
    w = world({"canary": {"steps": [{"setWeight": 25}, {"analysis": ANALYSIS}]}})
    analysed(w)
    roll(w, "v2")
    finish_run(w, "Inconclusive")
    assert rollout(w).status.message == "InconclusiveAnalysisRun"
    promote(w)
    assert images(w) == {"v2": 4}


def test_an_analysis_before_and_after_the_switch() -> None:
    strategy = {"blueGreen": {"activeService": "web", "prePromotionAnalysis": ANALYSIS,
                              "postPromotionAnalysis": ANALYSIS}}  # fmt: skip
    w = world(strategy)
    analysed(w)
    roll(w, "v2")
    assert behind(w, "web") == {"v1"}
    finish_run(w, "Successful")
    assert behind(w, "web") == {"v2"}
    finish_run(w, "Failed")
    assert behind(w, "web") == {"v1"}
    assert rollout(w).status.phase == "Degraded"


def test_a_missing_template_and_a_missing_service_are_told() -> None:
    w = world({"canary": {"steps": [{"setWeight": 25}, {"analysis": ANALYSIS}]}})
    told = "InvalidSpec: the AnalysisTemplate check does not exist"
    assert rollout(w).status.message == told
    analysed(w)
    assert rollout(w).status.phase == "Healthy"
    w.delete(AnalysisTemplate, "check")
    roll(w, "v2")
    assert rollout(w).status.message == told
    analysed(w)
    assert rollout(w).status.phase == "Progressing"
    w = world(BLUE_GREEN)
    w.delete(Service, "preview")
    w.settle()
    assert rollout(w).status.message == "InvalidSpec: the Service preview does not exist"


def test_a_manual_pause_stops_everything() -> None:
    w = world({"canary": {"steps": [{"setWeight": 50}]}})
    w.patch(Rollout, "web", {"spec": {"paused": True, "template": template("v2")}})
    w.settle()
    assert images(w) == {"v1": 4}
    assert rollout(w).status.message == "manually paused"
    w.patch(Rollout, "web", {"spec": {"paused": False}})
    w.settle(lambda world: False)
    assert "v2" in sizes(w)


def test_history_is_kept_and_services_are_given_back() -> None:
    w = world({"canary": {}}, revisionHistoryLimit=1)
    for name in ("v2", "v3", "v4"):
        roll(w, name)
    assert len(w.all(ReplicaSet)) == 2
    w = world(BLUE_GREEN)
    w.delete(Rollout, "web", propagation="Orphan")
    w.settle()
    assert dict(w.need(Service, "web").spec.selector) == {"app": "web"}


def test_old_pods_are_replaced_a_few_at_a_time() -> None:
    w = world({"canary": {"maxUnavailable": 1}})
    before = {p.metadata.uid for p in w.all(Pod)}
    w.pass_time(100)
    least: list[int] = []
    w.check = lambda world: least.append(sum(podstate.is_active(p) for p in world.all(Pod)))
    w.patch(Rollout, "web", {"spec": {"restartAt": rfc3339(w.now)}})
    wait(w, 1)
    assert not before & {p.metadata.uid for p in w.all(Pod)}
    assert min(least) == 3
    assert rollout(w).status.restarted_at


@pytest.mark.parametrize("seed", range(10 if ALL else 2))
@pytest.mark.parametrize("kind", ["basic", "routed", "dynamic", "blueGreen"])
def test_whatever_happens_no_request_is_lost_to_a_lack_of_pods(kind: str, seed: int) -> None:
    """Random templates, promotions, aborts, retries, sizes, losses of readiness: never more pods
    than allowed, never fewer available than asked for, never a weight for nobody."""
    strategy: Any = {
        "basic": BASIC, "routed": ROUTED, "blueGreen": BLUE_GREEN,
        "dynamic": {"canary": ROUTED["canary"] | {"dynamicStableScale": True}},
    }[kind]  # fmt: skip
    up = [False]

    def check(w: World) -> None:
        found = w.get(Rollout, "web")
        if not up[0] or found is None:
            return
        pods = [p for p in w.all(Pod) if podstate.is_active(p)]
        good = sum(podstate.is_ready(p) for p in pods)
        assert good >= 4, f"{good} available"
        if kind == "basic":
            assert len(pods) <= 5
        shares = weights(w)
        if kind != "basic" and shares.get("web", 100):
            assert behind(w, "web"), "the Service has no pods"
        if shares.get("web-canary"):
            assert sum(shares.values()) == 100
            assert behind(w, "web-canary"), "a weight for nobody"

    w = world(strategy, seed=seed, check=check)
    up[0] = True
    for _ in range(12):
        act = w.random.choice(("roll", "promote", "abort", "retry", "full", "wait"))
        if act == "roll":
            name = w.random.choice(("v1", "v2", "v3", "v4"))
            w.patch(Rollout, "web", {"spec": {"template": template(name)}})
        elif act != "wait":
            fields = {"promote": {"pauseConditions": None}, "abort": {"abort": True},
                      "retry": {"abort": False}, "full": {"promoteFull": True}}[act]  # fmt: skip
            for _ in range(w.random.randint(0, 8)):
                if w.queue:
                    w.step()
            write_status(w, **fields)
        wait(w, w.random.choice((0, 1, 11, 31)))
    roll(w, "v9")
    write_status(w, abort=False)
    write_status(w, promoteFull=True)
    wait(w, 31)
    wait(w, 31)
    assert images(w) == {"v9": 4}
    assert rollout(w).status.phase == "Healthy"
    assert told(w, "RolloutCompleted")

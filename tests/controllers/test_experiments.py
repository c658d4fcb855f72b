"""Experiments by themselves and as steps of canaries."""

from typing import Any

from tests.controllers.rollout_world import (
    CONTROLLERS,
    LABELS,
    agent,
    finish_run,
    images,
    promote,
    roll,
    rollout,
    template,
    wait,
    weights,
    world,
)
from tests.controllers.simulate import World, make
from weft.api.argo.analysis import AnalysisRun, AnalysisTemplate
from weft.api.argo.experiment import Experiment
from weft.api.k8s.core_v1 import Service

SELECTOR = {"matchLabels": LABELS}


def experiment(w: World, *names: str, **spec: Any) -> None:
    templates = [
        {"name": n, "selector": SELECTOR, "template": template(n), "service": {}} for n in names
    ]
    w.put(make(Experiment, {"spec": {"templates": templates, **spec}}, name="exp"))
    w.settle(agent)


def checks(w: World) -> None:
    metric = {"name": "m", "provider": {"web": {"url": "http://x/"}}}
    args = [{"name": "hash"}]
    w.put(make(AnalysisTemplate, {"spec": {"metrics": [metric], "args": args}}, name="check"))


def phase(w: World) -> str:
    return w.need(Experiment, "exp").status.phase


ANALYSIS = {
    "name": "a", "templateName": "check", "requiredForCompletion": True,
    "args": [{"name": "hash", "value": "{{templates.purple.podTemplateHash}}"}],
}  # fmt: skip


def test_it_runs_for_its_time() -> None:
    w = World(CONTROLLERS)
    experiment(w, "purple", "orange", duration="20m", scaleDownDelaySeconds=5)
    assert images(w) == {"purple": 1, "orange": 1}
    assert phase(w) == "Running"
    assert w.get(Service, "exp-purple") is not None
    wait(w, 1201)
    assert phase(w) == "Successful"
    wait(w, 6)
    assert images(w) == {}
    assert w.get(Service, "exp-purple") is None


def test_its_analysis_decides() -> None:
    for end in ("Successful", "Failed", "Inconclusive"):
        w = World(CONTROLLERS)
        checks(w)
        experiment(w, "purple", analyses=[ANALYSIS])
        (run,) = w.all(AnalysisRun)
        status = w.need(Experiment, "exp").status.template_statuses[0]
        assert run.spec.args[0].value == status.pod_template_hash != ""
        finish_run(w, end, "why")
        assert phase(w) == end
        wait(w, 31)
        assert images(w) == {}


def test_pods_that_do_not_come_up_end_it() -> None:
    w = World(CONTROLLERS)
    experiment(w, "bad", duration="1h", progressDeadlineSeconds=60)
    assert phase(w) == "Pending"
    wait(w, 61)
    assert phase(w) == "Failed"
    assert "within 60 s" in w.need(Experiment, "exp").status.message


def test_a_missing_template_is_told() -> None:
    w = World(CONTROLLERS)
    experiment(w, "purple", analyses=[ANALYSIS])
    assert phase(w) == "Error"
    assert "does not exist" in w.need(Experiment, "exp").status.message


def test_a_canary_runs_one_with_a_share_of_the_requests() -> None:
    step = {"duration": "60s", "templates": [
        {"name": "base", "specRef": "stable", "weight": 10, "replicas": 1}]}  # fmt: skip
    strategy = {"canary": {
        "stableService": "web", "canaryService": "web-canary", "trafficRouting": {},
        "steps": [{"setWeight": 20}, {"experiment": step}, {"pause": {}}]}}  # fmt: skip
    w = world(strategy)
    roll(w, "v2")
    (made,) = w.all(Experiment)
    assert made.status.phase == "Running"
    assert images(w) == {"v1": 5, "v2": 1}
    extra = f"{made.metadata.name}-base"
    assert weights(w) == {"web": 70, "web-canary": 20, extra: 10}
    wait(w, 61)
    assert rollout(w).status.message == "CanaryPauseStep"
    assert weights(w) == {"web": 80, "web-canary": 20}
    promote(w)
    wait(w, 31)
    assert images(w) == {"v2": 4}


def test_a_failed_one_aborts_the_canary() -> None:
    step = {"templates": [{"name": "new", "specRef": "canary"}], "analyses": [
        {"name": "a", "templateName": "check", "args": [
            {"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}]}]}  # fmt: skip
    w = world({"canary": {"steps": [{"setWeight": 25}, {"experiment": step}]}})
    checks(w)
    roll(w, "v2")
    finish_run(w, "Failed", "too slow")
    assert rollout(w).status.abort
    assert "too slow" in rollout(w).status.message


def test_its_services_have_the_ports_that_are_asked_for() -> None:
    """By the name or number of the container's; only headless ones can do without."""
    w = World(CONTROLLERS)
    bare = template("orange")
    bare["spec"]["containers"][0].pop("ports")
    ports = [{"name": "web", "port": 8000, "targetPort": "http"}]
    templates = [
        {"name": "purple", "selector": SELECTOR, "template": template("purple"),
         "service": {"ports": ports}},
        {"name": "orange", "selector": SELECTOR, "template": bare, "service": {}},
    ]  # fmt: skip
    w.put(make(Experiment, {"spec": {"templates": templates}}, name="exp"))
    w.settle(agent)
    found = w.need(Service, "exp-purple").spec.ports
    assert [(p.name, p.port, p.target_port) for p in found] == [("web", 8000, 80)]
    assert w.need(Service, "exp-orange").spec.cluster_ip == "None"

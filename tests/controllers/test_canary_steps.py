"""Canaries, step by step: phases, weights, what is asked, and what goes back when it is bad."""

from typing import Any

import pytest

from tests.controllers.canary_world import STEPS, CanaryWorld, hook, started
from tests.controllers.simulate import make
from weft.api.flagger.canary import Canary
from weft.api.flagger.templates import MetricTemplate
from weft.api.gateway.v1 import HTTPRoute
from weft.api.istio.networking_v1 import VirtualService
from weft.api.k8s.apps_v1 import Deployment
from weft.api.k8s.autoscaling_v2 import HorizontalPodAutoscaler
from weft.api.k8s.core_v1 import ConfigMap, Secret, Service
from weft.controllers.canary_steps import FINALIZER

AB = {"interval": "10s", "threshold": 2, "iterations": 2,
      "match": [{"headers": {"x-test": {"exact": "yes"}}}]}  # fmt: skip
BLUE_GREEN = {"interval": "10s", "threshold": 2, "iterations": 2}


def test_it_starts_with_a_primary_that_serves_and_a_target_without_pods() -> None:
    w = started()
    primary = w.need(Deployment, "web-primary")
    assert primary.spec.selector is not None
    assert dict(primary.spec.selector.match_labels) == {"app": "web-primary"}
    assert (w.replicas("web-primary"), w.replicas("web")) == (2, 0)
    selectors = {s.metadata.name: s.spec.selector["app"] for s in w.all(Service)}
    assert selectors == {"web": "web-primary", "web-primary": "web-primary", "web-canary": "web"}
    assert w.weights() == [("web-primary", 100), ("web-canary", 0)]
    assert "Initialization done! web.default" in w.said()
    assert w.status.conditions[0].reason == "Initialized"
    assert w.status.last_applied_spec


def test_it_waits_for_the_primary_before_callers_get_it() -> None:
    w = CanaryWorld(STEPS)
    w.patch(
        Deployment,
        "web",
        {
            "spec": {
                "template": {
                    "spec": {
                        "containers": [
                            {
                                "name": "main",
                                "image": "bad",
                                "ports": [{"name": "http", "containerPort": 8080}],
                            }
                        ]
                    }
                }
            }
        },
    )
    w.look()
    w.tick(2)
    assert w.status.phase == "Initializing"
    assert w.replicas("web") == 2
    assert w.get(VirtualService, "web") is None
    assert "web" not in {s.metadata.name for s in w.all(Service)}


@pytest.mark.parametrize("seed", range(3))
def test_a_good_version_gets_more_calls_and_is_promoted(seed: int) -> None:
    w = started(seed=seed)
    w.roll("v2")
    assert (w.status.phase, w.replicas("web")) == ("Progressing", 2)
    seen = []
    for _ in range(8):
        w.tick()
        seen.append((w.status.phase, w.weights()[1][1], w.image("web-primary")))
    assert seen[:5] == [
        ("Progressing", 25, "v1"), ("Progressing", 50, "v1"), ("Promoting", 50, "v2"),
        ("Finalising", 0, "v2"), ("Succeeded", 0, "v2"),
    ]  # fmt: skip
    assert w.replicas("web") == 0
    wanted = [
        "New revision detected! Scaling up web.default",
        "Starting canary analysis for web.default",
        "Advance web.default canary weight 25", "Advance web.default canary weight 50",
        "Copying web.default template spec to web-primary.default",
        "Routing all traffic to primary", "Promotion completed! Scaling down web.default",
    ]  # fmt: skip
    assert [text for text in w.said() if text in wanted] == wanted
    assert [n.severity for n in w.notices] == ["info"] * 3


def test_steps_are_an_interval_apart() -> None:
    w = started()
    w.roll("v2")
    w.tick()
    w.pass_time(4)
    w.look()
    assert w.weights()[1][1] == 25


def test_a_bad_version_is_halted_and_goes_back() -> None:
    w = started()
    w.roll("v2")
    w.tick()
    w.answers["request-success-rate"] = {"requests": 50.0, "successPercent": 80.0, "p99Ms": 1.0}
    w.tick()
    assert (w.status.failed_checks, w.weights()[1][1]) == (1, 25)
    assert "Halt web.default advancement success rate 80.00% < 99%" in w.said()
    w.until("Failed")
    assert w.weights() == [("web-primary", 100), ("web-canary", 0)]
    assert "Rolling back web.default failed checks threshold reached 2" in w.said()
    assert "Canary failed! Scaling down web.default" in w.said()
    w.tick(5)
    assert (w.image("web-primary"), w.replicas("web")) == ("v1", 0)
    assert w.status.phase == "Failed"  # the same template is not tried again
    assert {n.severity for n in w.notices} == {"info", "error"}
    w.answers.clear()
    w.roll("v3")
    w.until("Succeeded")
    assert w.image("web-primary") == "v3"


def test_pods_stay_until_proxies_know_that_they_get_no_calls() -> None:
    w = started()
    w.roll("v2")
    w.tick()
    w.answers["request-success-rate"] = {"requests": 5.0, "successPercent": 0.0, "p99Ms": 1.0}
    w.acknowledged = False
    w.until("Failed")
    w.tick(4)
    assert w.replicas("web") == 2
    late = "Halt scaling down web.default not every proxy has acknowledged route web.default"
    assert late in w.said()
    w.acknowledged = True
    w.look()
    assert w.replicas("web") == 0


def test_pods_get_no_calls_before_they_end_whoever_sent_them_some() -> None:
    w = started()
    rules = [{"route": [{"destination": {"host": "web-primary"}, "weight": 50},
                        {"destination": {"host": "web-canary"}, "weight": 50}]}]  # fmt: skip
    w.patch(VirtualService, "web", {"spec": {"http": rules}})
    w.patch(Deployment, "web", {"spec": {"replicas": 1}})
    w.look()
    w.look()
    assert w.weights() == [("web-primary", 100), ("web-canary", 0)]
    assert w.replicas("web") == 0


def test_a_metric_template_is_asked_and_judged() -> None:
    metric = {"name": "errors", "templateRef": {"name": "errors", "namespace": "ops"},
              "templateVariables": {"direction": "in"}, "thresholdRange": {"max": 5}}  # fmt: skip
    w = started(STEPS | {"metrics": [metric]})
    query = 'x{to="{{ target }}",d="{{ variables.direction }}"}[{{ interval }}]'
    spec = {"provider": {"type": "prometheus", "address": "http://prom",
                         "secretRef": {"name": "login"}}, "query": query}  # fmt: skip
    w.answers["errors"] = [1.0]
    w.roll("v2")
    w.tick(2)
    assert "Metric template errors.ops error: not found" in w.said()
    w.put(make(MetricTemplate, {"spec": spec}, name="errors", namespace="ops"))
    w.put(make(Secret, {"data": {"token": "eHl6"}}, name="login", namespace="ops"))
    w.tick()
    asked = w.asked[-1].metric
    assert asked is not None
    prometheus = asked.provider.prometheus
    assert prometheus is not None
    assert prometheus.query == 'x{to="web",d="in"}[1m]'
    assert [(h.key, h.value) for h in prometheus.headers] == [("Authorization", "Bearer xyz")]
    assert (w.status.failed_checks, w.weights()[1][1]) == (1, 50)
    w.answers["errors"] = [9.0]
    w.tick()
    assert "Halt web.default advancement errors 9.00 > 5" in w.said()
    w.until("Failed")


def test_without_calls_nothing_is_promoted() -> None:
    w = started()
    w.roll("v2")
    w.answers["request-success-rate"] = {"requests": 0.0}
    w.tick(2)
    assert w.status.failed_checks == 1
    assert any("probably web.default is not receiving traffic" in text for text in w.said())


def test_pods_that_never_start_go_back() -> None:
    w = started(progressDeadlineSeconds=60)
    w.roll("bad")
    w.until("Failed")
    assert w.weights()[1][1] == 0
    assert any("progress deadline exceeded" in text for text in w.said())


def test_a_further_version_begins_anew() -> None:
    w = started()
    w.roll("v2")
    w.tick(2)
    assert w.weights()[1][1] == 50
    w.roll("v3")
    w.tick()
    assert (w.status.phase, w.weights()[1][1]) == ("Progressing", 0)
    w.until("Succeeded")
    assert w.image("web-primary") == "v3"


def test_step_weights_and_a_slow_promotion() -> None:
    analysis = {"interval": "10s", "stepWeights": [1, 10, 80], "stepWeightPromotion": 50}
    w = started(analysis)
    w.roll("v2")
    seen = []
    for _ in range(7):
        w.tick()
        seen.append((w.status.phase, w.weights()[1][1]))
    assert seen == [
        ("Progressing", 1), ("Progressing", 10), ("Progressing", 80), ("Promoting", 80),
        ("Promoting", 30), ("Finalising", 0), ("Succeeded", 0),
    ]  # fmt: skip


def test_an_a_b_test_sends_who_matches_to_the_canary() -> None:
    w = started(AB)
    w.roll("v2")
    w.tick()
    first, rest = w.need(VirtualService, "web").spec.http
    assert first.match[0].headers["x-test"].exact == "yes"
    assert w.weights() == [("web-primary", 0), ("web-canary", 100)]
    assert [r.destination.host for r in rest.route if r.destination] == ["web-primary"]
    assert w.status.iterations == 1
    w.until("Succeeded")
    assert "Advance web.default canary iteration 2/2" in w.said()


def test_blue_green_moves_all_calls_after_its_iterations() -> None:
    w = started(BLUE_GREEN)
    w.roll("v2")
    w.tick(2)
    assert (w.status.iterations, w.weights()[1][1]) == (2, 0)
    w.tick()
    assert w.weights()[1][1] == 100
    w.until("Succeeded")
    assert w.image("web-primary") == "v2"


def test_blue_green_without_a_mesh_makes_no_routes() -> None:
    w = started(BLUE_GREEN, provider="kubernetes")
    w.roll("v2")
    w.until("Succeeded")
    assert w.get(VirtualService, "web") is None
    assert w.image("web-primary") == "v2"


def test_calls_are_copied_first() -> None:
    w = started(STEPS | {"mirror": True, "mirrorWeight": 40})
    w.roll("v2")
    w.tick()
    rule = w.need(VirtualService, "web").spec.http[0]
    assert rule.mirror is not None
    assert rule.mirror.host == "web-canary"
    assert rule.mirror_percentage is not None
    assert rule.mirror_percentage.value == 40
    assert w.weights()[1][1] == 0
    w.tick()
    assert w.need(VirtualService, "web").spec.http[0].mirror is None
    assert w.weights()[1][1] == 25


@pytest.mark.parametrize("provider", ["gatewayapi:v1", "nginx"])
def test_an_http_route_where_it_is_asked_for(provider: str) -> None:
    w = started(STEPS, provider=provider)
    w.roll("v2")
    w.tick()
    spec = w.need(HTTPRoute, "web").spec
    assert [(b.name, b.weight) for b in spec.rules[0].backend_refs] == [
        ("web-primary", 75), ("web-canary", 25),
    ]  # fmt: skip
    assert [(p.kind, p.name) for p in spec.parent_refs] == [("Service", "web")]
    w.until("Succeeded")


@pytest.mark.parametrize(
    ("kind", "phase", "text"),
    [
        ("confirm-rollout", "Waiting", "waiting for approval gate"),
        ("confirm-promotion", "WaitingPromotion", "waiting for promotion approval gate"),
        ("confirm-traffic-increase", "Progressing", "waiting for traffic increase approval gate"),
    ],
)
def test_gates_hold_until_they_open(kind: str, phase: str, text: str) -> None:
    w = started(STEPS | {"webhooks": [hook(kind, metadata={"a": "b"})]})
    w.answers["gate"] = "not yet"
    w.roll("v2")
    w.tick(5)
    assert w.status.phase == phase
    assert f"Halt web.default advancement {text}" in w.said()
    assert w.status.failed_checks == 0
    assert w.image("web-primary") == "v1"
    body = next(q.body for q in w.asked if q.webhook)
    assert (body["name"], body["namespace"], body["metadata"]) == ("web", "default", {"a": "b"})
    assert any(n.severity == "warn" for n in w.notices)
    w.answers.clear()
    w.until("Succeeded")


def test_checks_of_webhooks_count_as_those_of_metrics() -> None:
    hooks = [hook("pre-rollout", "smoke"), hook("rollout", "load"), hook("post-rollout", "end")]
    w = started(STEPS | {"webhooks": hooks})
    w.answers["smoke"] = "broken"
    w.roll("v2")
    w.tick()
    assert (w.status.failed_checks, w.weights()[1][1]) == (1, 0)
    assert any("pre-rollout check smoke failed broken" in text for text in w.said())
    w.answers = {"load": "down"}
    w.tick(2)
    assert any("external check load failed down" in text for text in w.said())
    w.until("Failed")
    assert "Post-rollout check end passed" in w.said()
    assert next(q.body["phase"] for q in w.asked if q.webhook and q.webhook.name == "end") == (
        "Failed"
    )


def test_somebody_can_ask_for_the_way_back() -> None:
    w = started(STEPS | {"webhooks": [hook("rollback", "back")]})
    w.answers["back"] = "no"
    w.roll("v2")
    w.tick(2)
    assert w.status.phase == "Progressing"
    w.answers.clear()
    w.tick()
    assert w.status.phase == "Failed"
    assert "Rolling back web.default manual webhook invoked" in w.said()


def test_analysis_can_be_left_out() -> None:
    w = started(STEPS, skipAnalysis=True)
    w.roll("v2")
    w.tick()
    assert (w.status.phase, w.image("web-primary")) == ("Succeeded", "v2")
    assert not w.asked


def test_what_is_suspended_stays_as_it_is() -> None:
    w = started()
    w.patch(Canary, "web", {"spec": {"suspend": True}})
    w.roll("v2")
    w.tick(3)
    assert (w.status.phase, w.replicas("web")) == ("Initialized", 0)


def test_configuration_is_tried_like_a_template() -> None:
    container = {"envFrom": [{"configMapRef": {"name": "env"}}]}
    w = CanaryWorld(STEPS, pod={"container": container})
    w.put(make(ConfigMap, {"data": {"a": "1"}}, name="env"))
    w.look()
    w.until("Initialized")
    assert w.need(ConfigMap, "env-primary").data == {"a": "1"}
    spec = w.need(Deployment, "web-primary").spec.template.spec
    reference = spec.containers[0].env_from[0].config_map_ref
    assert reference is not None
    assert reference.name == "env-primary"
    w.patch(ConfigMap, "env", {"data": {"a": "2"}})
    w.look()
    assert w.status.phase == "Progressing"
    assert w.need(ConfigMap, "env-primary").data == {"a": "1"}
    w.until("Succeeded")
    assert w.need(ConfigMap, "env-primary").data == {"a": "2"}


def test_the_primary_has_an_autoscaler_of_its_own() -> None:
    reference = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "web",
                 "primaryScalerReplicas": {"maxReplicas": 9}}  # fmt: skip
    w = CanaryWorld(STEPS, autoscalerRef=reference)
    aim = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    body = {"spec": {"scaleTargetRef": aim, "minReplicas": 2, "maxReplicas": 4}}
    w.put(make(HorizontalPodAutoscaler, body, name="web"))
    w.look()
    w.until("Initialized")
    made = w.need(HorizontalPodAutoscaler, "web-primary").spec
    assert made.scale_target_ref is not None
    assert made.scale_target_ref.name == "web-primary"
    assert (made.min_replicas, made.max_replicas) == (2, 9)


def test_deleted_with_its_changes_undone() -> None:
    w = started(STEPS, revertOnDeletion=True)
    assert FINALIZER in w.need(Canary, "web").metadata.finalizers
    w.delete(Canary, "web")
    w.look()
    assert w.get(Canary, "web") is None
    assert w.replicas("web") == 2
    assert w.get(Deployment, "web-primary") is None


def test_what_is_somebody_elses_is_left_alone() -> None:
    w = CanaryWorld(STEPS)
    theirs: Any = make(VirtualService, {"spec": {"hosts": ["web"]}}, name="web")
    w.put(theirs)
    w.look()
    w.tick(3)
    assert w.status.phase == "Initializing"
    assert any("VirtualService web.default is not of this Canary" in text for text in w.said())
    assert w.need(VirtualService, "web").spec.hosts == ("web",)
    assert w.replicas("web") == 2


def test_a_service_that_is_there_is_taken_over_when_the_primary_serves() -> None:
    w = CanaryWorld(STEPS)
    ports = [{"name": "http", "port": 80, "targetPort": "http", "nodePort": 30080}]
    spec = {"type": "NodePort", "selector": {"app": "web"}, "ports": ports}
    w.put(make(Service, {"spec": spec}, name="web", labels={"mine": "yes"}))
    w.look()
    w.until("Initialized")
    found = w.need(Service, "web")
    assert dict(found.spec.selector) == {"app": "web-primary"}
    assert (found.spec.type, found.spec.ports[0].node_port) == ("NodePort", 30080)
    assert dict(found.metadata.labels) == {"mine": "yes"}

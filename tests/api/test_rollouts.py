"""Manifests of Argo Rollouts: what is taken as it is, what is refused and how that is said."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from weft.api import registry
from weft.api.columns import cells, columns
from weft.api.field_errors import FieldError
from weft.api.kinds import Kind
from weft.api.validation import check_manifest

TEMPLATE = """
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: "web:1"}]}
"""
GOOD = f"""
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {{name: web}}
spec:
  replicas: 5
{TEMPLATE}
  minReadySeconds: 10
  revisionHistoryLimit: 3
  strategy:
    canary:
      maxSurge: "25%"
      maxUnavailable: 0
      canaryService: canary
      stableService: stable
      trafficRouting:
        istio: {{virtualService: {{name: web, routes: [primary]}}}}
        managedRoutes: [{{name: beta}}]
      analysis:
        templates: [{{templateName: success-rate}}]
        startingStep: 2
        args:
        - {{name: hash, valueFrom: {{podTemplateHashValue: Latest}}}}
        - {{name: env, valueFrom: {{fieldRef: {{fieldPath: "metadata.labels['env']"}}}}}}
      steps:
      - setWeight: 20
      - pause: {{}}
      - pause: {{duration: 10}}
      - pause: {{duration: 1h}}
      - setCanaryScale: {{weight: 25}}
      - setHeaderRoute:
          name: beta
          match: [{{headerName: agent, headerValue: {{prefix: Chrome}}}}]
      - analysis: {{templates: [{{templateName: smoke, clusterScope: true}}]}}
      - experiment:
          duration: 10m
          templates: [{{name: base, specRef: stable, weight: 5}}]
          analyses: [{{name: compare, templateName: compare}}]
"""


def parsed(text: str) -> tuple[Kind, dict[str, Any]]:
    obj = yaml.safe_load(text)
    kind = registry.kind_of(obj)
    assert kind is not None
    return kind, obj


def errors(text: str) -> list[FieldError]:
    return check_manifest(*parsed(text))


def test_a_rollout_as_users_have_it() -> None:
    assert errors(GOOD) == []


def test_other_routers_and_ping_pong_are_taken() -> None:
    assert errors(GOOD.replace("istio:", "nginx: {stableIngress: web}\n        istio:")) == []
    turns = "pingPong: {pingService: a, pongService: b}"
    assert errors(GOOD.replace("maxUnavailable: 0", f"maxUnavailable: 0\n      {turns}")) == []


@pytest.mark.parametrize(
    ("old", "new", "path", "said"),
    [
        ("setWeight: 20", "setWeigth: 20", "steps[0].setWeigth", "did you mean `setWeight`?"),
        ("setWeight: 20", "plugin: {name: x}", "steps[0].plugin", "weft has no such step"),
        ("setWeight: 20\n", "setWeight: 20\n        pause: {}\n", "steps[0]", "exactly one of"),
        ("duration: 1h", "duration: soon", "steps[3].pause.duration", "must be seconds or a"),
        ("istio:", "plugins: {acme/edge: {}}\n        istio:", "trafficRouting.plugins[acme/edge]",
         "weft does not run"),
        ("managedRoutes: [{name: beta}]", "managedRoutes: []", "setHeaderRoute.name",
         "is no managed route"),
        ("stableService: stable", "stableService: canary", "canaryService", ""),
        ("maxUnavailable: 0", "maxUnavailable: 0\n      pingPong: {pingService: a}",
         "canary.pingPong.pongService", "two Services take turns"),
        ("maxUnavailable: 0",
         "maxUnavailable: 0\n      pingPong: {pingService: a, pongService: a}",
         "canary.pingPong.pongService", ""),
        ("podTemplateHashValue: Latest", "podTemplateHashValue: Newest", "podTemplateHashValue",
         "must be Stable or Latest"),
    ],
)  # fmt: skip
def test_what_is_refused(old: str, new: str, path: str, said: str) -> None:
    assert old in GOOD
    found = errors(GOOD.replace(old, new))
    assert any(path in e.path and said in f"{e.detail} {e.suggestion}" for e in found), found


def test_blue_green_and_workload_references() -> None:
    strategy = "strategy: {blueGreen: {activeService: a, previewService: a}}"
    base = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: web}\nspec:\n"
    found = errors(f"{base}{TEMPLATE}\n  {strategy}\n")
    assert [e.path for e in found] == ["spec.strategy.blueGreen.previewService"]
    reference = "workloadRef: {apiVersion: apps/v1, kind: Deployment, name: web}"
    assert errors(f"{base}  {reference}\n  {strategy.replace('previewService: a', '')}\n") == []
    both = errors(f"{base}{TEMPLATE}\n  {reference}\n  strategy: {{canary: {{}}}}\n")
    assert [(e.path, e.kind) for e in both] == [("spec.template", "Forbidden")]
    none = errors(f"{base}{TEMPLATE}\n  strategy: {{}}\n")
    assert none[0].path == "spec.strategy"


def test_its_table() -> None:
    kind, obj = parsed(GOOD)
    obj["status"] = {
        "replicas": 5, "updatedReplicas": 1, "availableReplicas": 4, "phase": "Paused",
        "currentStepIndex": 1, "canary": {"weights": {"canary": {"weight": 20}}},
        "message": "CanaryPauseStep",
    }  # fmt: skip
    shown = dict(zip((c.name for c in columns(kind)), cells(kind, obj, 0.0), strict=True))
    assert shown == {
        "Name": "web", "Desired": 5, "Current": 5, "Up-to-date": 1, "Available": 4,
        "Age": "<unknown>", "Status": "Paused", "Step": "1/8", "Weight": "20",
        "Message": "CanaryPauseStep",
    }  # fmt: skip


def test_manifests_in_the_shapes_of_upstream_examples_are_taken_as_they_are() -> None:
    texts = (Path(__file__).parent / "argo_shapes.yaml").read_text().split("\n---\n")
    assert len(texts) == 14
    for text in texts:
        assert errors(text) == [], text

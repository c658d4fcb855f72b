"""AnalysisTemplates, AnalysisRuns and Experiments: what is refused and how that is said."""

import pytest

from tests.api.test_rollouts import errors

TEMPLATE = """
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: success-rate}
spec:
  args:
  - name: service-name
  - {name: token, valueFrom: {secretKeyRef: {name: t, key: k}}}
  metrics:
  - name: success-rate
    interval: 5m
    count: 3
    successCondition: result[0] >= 0.95
    failureLimit: 3
    provider:
      prometheus: {address: "http://prometheus:9090", query: "sum(x{s=~'{{args.service-name}}'})"}
  - name: web
    provider:
      web:
        url: "http://x/{{ args.service-name }}"
        headers: [{key: Authorization, value: "Bearer {{ args.token }}"}]
        jsonPath: "{$.data.ok}"
  - name: mesh
    provider: {weft: {service: "{{args.service-name}}", signal: errorPercent}}
  - name: smoke
    provider:
      job:
        spec:
          template:
            metadata: {labels: {rev: "{{ args.rev }}"}}
            spec: {restartPolicy: Never, containers: [{name: main, image: "x:1"}]}
"""
EXPERIMENT = """
apiVersion: argoproj.io/v1alpha1
kind: Experiment
metadata: {name: compare}
spec:
  duration: 20m
  templates:
  - name: purple
    selector: {matchLabels: {app: purple}}
    template:
      metadata: {labels: {app: purple}}
      spec: {containers: [{name: main, image: "x:1"}]}
  analyses: [{name: rate, templateName: success-rate}]
"""


def test_what_users_have() -> None:
    assert errors(TEMPLATE) == []
    assert errors(EXPERIMENT) == []


@pytest.mark.parametrize(
    ("old", "new", "path", "said"),
    [
        ("interval: 5m\n", "\n", "metrics[0].interval", "when `count` is above 1"),
        ("interval: 5m", "interval: often", "metrics[0].interval", "is not a duration"),
        ("result[0] >= 0.95", "result[0] >=", "metrics[0].successCondition", "not expected"),
        ("count: 3", "count: many", "metrics[0].count", "whole number"),
        ("name: web", "name: mesh", "metrics[2].name", ""),
        ("prometheus: {address", "datadog: {query: x}\n      prometheus: {address",
         "provider.datadog", "weft measures by prometheus, web, job"),
        ('address: "http://prometheus:9090", ', "", "prometheus.address", ""),
        ("{$.data.ok}", "{$.data[}", "web.jsonPath", "not understood"),
        ("signal: errorPercent", "signal: errors", "weft.signal", "errorPercent"),
        ('url: "http://x/', 'url: "file:///etc/', "web.url", "http or https"),
    ],
)  # fmt: skip
def test_what_is_refused(old: str, new: str, path: str, said: str) -> None:
    assert old in TEMPLATE
    found = errors(TEMPLATE.replace(old, new))
    assert any(path in e.path and said in str(e) for e in found), found


def test_runs_and_experiments() -> None:
    run = TEMPLATE.replace("AnalysisTemplate", "AnalysisRun")
    assert [e.path for e in errors(run)] == ["spec.args[0].value"]
    bad = errors(EXPERIMENT.replace("labels: {app: purple}", "labels: {app: blue}"))
    assert bad[0].path.startswith("spec.templates[0].template.metadata.labels")

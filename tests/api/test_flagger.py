"""Manifests of Flagger: what is taken as it is, what is refused and how that is said."""

from typing import Any

import pytest
import yaml

from weft.api import registry
from weft.api.columns import cells, columns
from weft.api.field_errors import FieldError
from weft.api.kinds import Kind
from weft.api.validation import check_manifest

GOOD = """
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: shop}
spec:
  provider: istio
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}
  autoscalerRef:
    apiVersion: autoscaling/v2
    kind: HorizontalPodAutoscaler
    name: shop
    primaryScalerReplicas: {minReplicas: 2, maxReplicas: 5}
  progressDeadlineSeconds: 60
  service:
    port: 9898
    portName: http
    targetPort: 9898
    portDiscovery: true
    gateways: [istio-system/public, mesh]
    hosts: [shop.example.com]
    match: [{uri: {prefix: /}}]
    retries: {attempts: 3, perTryTimeout: 1s, retryOn: "gateway-error,connect-failure"}
    headers: {request: {add: {x-some-header: value}}}
    corsPolicy: {allowOrigin: [example.com], allowMethods: [GET], allowCredentials: false}
    trafficPolicy: {tls: {mode: DISABLE}}
    apex: {labels: {a: b}, annotations: {c: d}}
  analysis:
    interval: 1m
    threshold: 5
    maxWeight: 50
    stepWeight: 10
    metrics:
    - {name: request-success-rate, interval: 1m, thresholdRange: {min: 99}}
    - {name: request-duration, interval: 30s, threshold: 500}
    - name: not found
      templateRef: {name: not-found, namespace: ops}
      templateVariables: {direction: inbound}
      thresholdRange: {max: 5}
    webhooks:
    - name: load
      type: rollout
      url: http://loadtester.test/
      timeout: 5s
      metadata: {cmd: "hey -z 1m http://shop-canary:9898/"}
    alerts:
    - {name: on-call, severity: error, providerRef: {name: on-call, namespace: ops}}
"""
TEMPLATE = """
apiVersion: flagger.app/v1beta1
kind: MetricTemplate
metadata: {name: not-found}
spec:
  provider: {type: prometheus, address: "http://prometheus:9090", secretRef: {name: prom}}
  query: sum(rate(x{ns="{{ namespace }}",to="{{ target }}",d="{{ variables.direction }}"}[{{interval}}]))
"""  # noqa: E501
PROVIDER = """
apiVersion: flagger.app/v1beta1
kind: AlertProvider
metadata: {name: on-call}
spec: {type: slack, channel: alerts, username: flagger, address: "https://hooks.example.com/x"}
"""


def parsed(text: str) -> tuple[Kind, dict[str, Any]]:
    obj: dict[str, Any] = yaml.safe_load(text)
    kind = registry.find("flagger.app", "v1beta1", obj["kind"])
    assert kind is not None
    return kind, obj


def errors(text: str) -> list[FieldError]:
    return list(check_manifest(*parsed(text)))


@pytest.mark.parametrize("text", [GOOD, TEMPLATE, PROVIDER])
def test_manifests_as_users_have_them(text: str) -> None:
    assert errors(text) == []


@pytest.mark.parametrize(
    ("text", "old", "new", "path", "said"),
    [
        (GOOD, "kind: Deployment", "kind: DaemonSet", "targetRef.kind", "updateStrategy"),
        (GOOD, "kind: HorizontalPodAutoscaler", "kind: ScaledObject", "autoscalerRef.kind",
         "use a HorizontalPodAutoscaler"),
        (GOOD, "provider: istio", "provider: gloo", "provider", "weft has no such router"),
        (GOOD, "provider: istio", "provider: gatewayapi:v1", "service.retries", "HTTPRoute"),
        (GOOD, "portDiscovery: true", "headless: true", "service.headless", "headless"),
        (GOOD, "portDiscovery: true", "appProtocol: tcp", "appProtocol", "TCPRoute"),
        (GOOD, "stepWeight: 10", "mirror: true", "analysis.stepWeight", "`iterations`"),
        (GOOD, "stepWeight: 10", "stepWeights: [10, 5]", "stepWeights", "grow"),
        (GOOD, "threshold: 5\n", "sessionAffinity: {cookieName: a}\n    threshold: 5\n",
         "sessionAffinity", "A/B test"),
        (GOOD, "interval: 1m\n    threshold", "interval: soon\n    threshold", "interval",
         "not a duration"),
        (GOOD, "templateRef: {name: not-found, namespace: ops}", "query: up", "query",
         "metricsServer"),
        (GOOD, "name: request-duration", "name: latency", "metrics[1].name", "templateRef"),
        (GOOD, "http://loadtester.test/", "loadtester", "webhooks[0].url", "URL"),
        (TEMPLATE, "type: prometheus", "type: datadog", "provider.type", "Prometheus"),
        (TEMPLATE, "{{ target }}", "{{ pod }}", "query", "variables.NAME"),
        (PROVIDER, "type: slack", "type: msteams", "type", "discord"),
        (PROVIDER, "channel: alerts", "proxy: a", "proxy", "without a proxy"),
        (PROVIDER, ', address: "https://hooks.example.com/x"', "", "address", "secretRef"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, old: str, new: str, path: str, said: str) -> None:
    assert old in text
    found = errors(text.replace(old, new))
    assert any(path in e.path and said in f"{e.detail} {e.suggestion}" for e in found), found


def test_its_table() -> None:
    kind, obj = parsed(GOOD)
    obj["status"] = {"phase": "Progressing", "canaryWeight": 20, "lastTransitionTime": "T"}
    shown = dict(zip((c.name for c in columns(kind)), cells(kind, obj, 0.0), strict=True))
    wanted = {"Name": "shop", "Status": "Progressing", "Weight": "20", "StepWeight": "10",
              "MaxWeight": "50", "Interval": "1m", "LastTransitionTime": "T"}  # fmt: skip
    assert shown | wanted == shown

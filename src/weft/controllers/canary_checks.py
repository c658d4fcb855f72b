"""What a Canary asks at its steps: its webhooks, the mesh's own signals, Prometheus.

Source of the meanings and of the words of Events: Flagger's documentation of analyses.
"""

import base64
import binascii
import hashlib
import math
import re
from collections.abc import Mapping

import msgspec

from weft.api.argo.analysis import (
    Metric,
    MetricProvider,
    PrometheusHeader,
    PrometheusMetric,
    WeftMetric,
)
from weft.api.flagger.canary import Canary, CanaryMetric, CanaryStatus, CanaryWebhook, HookType
from weft.api.flagger.templates import PLACEHOLDER, MetricTemplate
from weft.api.k8s.core_v1 import Secret
from weft.api.snapshot import Snapshot
from weft.controllers.analysis_runs import Answer
from weft.controllers.canary_routes import provider
from weft.controllers.canary_view import Draft, Early, Question, View, seconds_of
from weft.controllers.support.podstate import seconds

INTERVAL_DEFAULT = "1m"
REPORT_SECONDS = 5.0
"""Between two reports of a proxy."""
NUMBERS_SECONDS = 2 * REPORT_SECONDS
"""Sooner after a step there may be calls, but no numbers of them."""
SUCCESS_RATE, DURATION = "request-success-rate", "request-duration"


def checksum(status: CanaryStatus) -> str:
    """Of the version that is tried, so that who is asked can tell it from others."""
    text = msgspec.json.encode((status.last_applied_spec, status.tracked_configs), order="sorted")
    return hashlib.sha256(text).hexdigest()[:16]


def hooks(draft: Draft, kind: HookType) -> list[tuple[int, CanaryWebhook]]:
    found = draft.view.analysis.webhooks
    return [(i, w) for i, w in enumerate(found) if (w.type or "rollout") == kind]


def called(draft: Draft, index: int, hook: CanaryWebhook, phase: str) -> str:
    """Why a webhook refused; "" when it agreed. Raises canary_view.Unasked."""
    return draft.ask(asking(draft, index, hook, phase)).error


def asking(draft: Draft, index: int, hook: CanaryWebhook, phase: str) -> Question:
    """What a webhook is sent."""
    canary, status = draft.view.canary, draft.status
    body = {
        "name": canary.metadata.name, "namespace": draft.view.space, "phase": phase,
        "checksum": checksum(status), "type": hook.type or "rollout",
        "failedChecks": status.failed_checks, "canaryWeight": status.canary_weight,
        "iterations": status.iterations, "metadata": dict(hook.metadata),
    }  # fmt: skip
    key = f"{draft.view.hash}/{phase}/{index}"
    return Question(key, webhook=hook, body=body, namespace=draft.view.space)


def analysed(draft: Draft) -> bool:
    """Whether webhooks and metrics agree with going on; says so when not."""
    view = draft.view
    for index, hook in hooks(draft, "rollout"):
        problem = called(draft, index, hook, "Progressing")
        if problem:
            text = f"Halt {view.where} advancement external check {hook.name} failed {problem}"
            draft.event(text, warning=True)
            return False
    for index, metric in enumerate(view.analysis.metrics):
        problem = _measured(draft, index, metric)
        if problem:
            draft.event(problem, warning=True)
            return False
    return True


def _measured(draft: Draft, index: int, metric: CanaryMetric) -> str:
    """Why a metric speaks against going on; "" when it does not."""
    view = draft.view
    asked = _metric(view, metric)
    if isinstance(asked, str):
        return asked
    if asked.provider.weft is not None and _since(view) < NUMBERS_SECONDS:
        raise Early(f"the numbers of {metric.name} are on their way")
    space = view.space
    if metric.template_ref is not None:
        space = metric.template_ref.namespace or space
    key = f"{view.hash}/metric/{index}"
    answer = draft.ask(Question(key, metric=asked, namespace=space))
    if answer.error:
        return f"Metric query failed for {metric.name}: {answer.error}"
    if asked.provider.weft is not None:
        return _signal(view, metric, answer)
    value = answer.value[0] if isinstance(answer.value, list) and answer.value else answer.value
    if not isinstance(value, int | float) or math.isnan(value):
        return f"Halt advancement no values found for custom metric: {metric.name}"
    return _judged(view, metric, metric.name, value, "")


def _signal(view: View, metric: CanaryMetric, answer: Answer) -> str:
    """One of the mesh's own."""
    value: Mapping[str, float] = answer.value
    if not value.get("requests"):
        word = provider(view.canary)
        return (
            f"Halt advancement no values found for {word} metric {metric.name} probably "
            f"{view.of} is not receiving traffic"
        )
    if metric.name == SUCCESS_RATE:
        return _judged(view, metric, "success rate", value["successPercent"], "%")
    return _judged(view, metric, "request duration", value["p99Ms"], "ms")


def _since(view: View) -> float:
    """Seconds since the last step."""
    return view.now - seconds(view.canary.status.last_transition_time)


def _judged(view: View, metric: CanaryMetric, name: str, value: float, unit: str) -> str:
    limits = metric.threshold_range
    least = limits.min if limits is not None else None
    most = limits.max if limits is not None else None
    if limits is None and metric.name == SUCCESS_RATE:
        least = metric.threshold or 0.0
    elif limits is None:
        most = metric.threshold or 0.0
    text = f"Halt {view.where} advancement {name} {value:.2f}{unit}"
    if least is not None and value < least:
        return f"{text} < {least:g}{unit}"
    if most is not None and value > most:
        return f"{text} > {most:g}{unit}"
    return ""


def _metric(view: View, metric: CanaryMetric) -> Metric | str:
    """What is asked, or why nothing can be."""
    window = metric.interval or INTERVAL_DEFAULT
    if metric.template_ref is not None:
        return _of_template(view, metric, window)
    if metric.query:
        asked = PrometheusMetric(
            address=view.canary.spec.metrics_server,
            query=rendered(metric.query, _values(view.canary, window), {}),
        )
        return Metric(name=metric.name, provider=MetricProvider(prometheus=asked))
    # Since the last step at most: calls of the version before had the same workload.
    span = min(seconds_of(window, 60.0), max(REPORT_SECONDS, _since(view) - REPORT_SECONDS))
    signal = WeftMetric(workload=view.target.metadata.name, window=f"{span:.0f}s")
    return Metric(name=metric.name, provider=MetricProvider(weft=signal))


def _of_template(view: View, metric: CanaryMetric, window: str) -> Metric | str:
    reference = metric.template_ref
    assert reference is not None
    space = reference.namespace or view.space
    found = view.snapshot.get(MetricTemplate, reference.name, space)
    if found is None:
        return f"Metric template {reference.name}.{space} error: not found"
    asks = found.spec.provider
    headers = [PrometheusHeader(k, v) for k, values in asks.headers.items() for v in values]
    if asks.secret_ref is not None:
        values = secret(view.snapshot, asks.secret_ref.name, space)
        if values is None:
            name = asks.secret_ref.name
            return f"Metric template {reference.name}.{space} secret {name} error: not found"
        headers += _authorization(values)
    query = rendered(found.spec.query, _values(view.canary, window), metric.template_variables)
    asked = PrometheusMetric(
        address=asks.address, query=query, headers=tuple(headers),
        insecure=asks.insecure_skip_verify,
    )  # fmt: skip
    return Metric(name=metric.name, provider=MetricProvider(prometheus=asked))


def _authorization(values: Mapping[str, str]) -> list[PrometheusHeader]:
    if "token" in values:
        return [PrometheusHeader("Authorization", f"Bearer {values['token']}")]
    pair = f"{values.get('username', '')}:{values.get('password', '')}"
    return [PrometheusHeader("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")]


def secret(snapshot: Snapshot, name: str, namespace: str) -> dict[str, str] | None:
    """What a Secret holds, as text."""
    found = snapshot.get(Secret, name, namespace)
    if found is None:
        return None
    made = {}
    for key, value in found.data.items():
        try:
            made[key] = base64.b64decode(value).decode().strip()
        except (binascii.Error, ValueError):
            continue
    return made


def _values(canary: Canary, window: str) -> dict[str, str]:
    target = canary.spec.target_ref.name
    return {
        "name": canary.metadata.name, "namespace": canary.metadata.namespace, "target": target,
        "service": canary.apex, "ingress": target, "route": target, "interval": window,
    }  # fmt: skip


def rendered(query: str, values: Mapping[str, str], variables: Mapping[str, str]) -> str:
    """A query with its placeholders filled in; a variable that nobody gives is empty."""

    def value(match: "re.Match[str]") -> str:
        name, part = match.groups()
        return variables.get(part, "") if name == "variables" else values.get(name, "")

    return PLACEHOLDER.sub(value, query)

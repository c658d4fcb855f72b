"""Deployments, ReplicaSets, ReplicationControllers and Jobs."""

import re
from collections.abc import Mapping
from typing import Any

from weft.api.field_errors import FieldError, Location, forbidden, invalid, required
from weft.api.selectors import matches_selector
from weft.api.validate import names, pods
from weft.api.validate.metadata import immutable

Json = Mapping[str, Any]

_PERCENT = re.compile(r"[0-9]+%")
_TEMPLATE: Location = ("spec", "template")
_POD: Location = ("spec", "template", "spec")
INDEXED_COMPLETIONS_MAX = 100_000


def selector_of(spec: Json) -> list[FieldError]:
    """A selector, not empty, that chooses the template's pods."""
    at: Location = ("spec", "selector")
    selector = spec.get("selector")
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if not selector:
        hint = "copy the labels of the pod template into `selector.matchLabels`"
        return [required(at, suggestion=hint)]
    errors = names.label_selector(selector, at)
    if not (selector.get("matchLabels") or selector.get("matchExpressions")):
        return [invalid(at, selector, "empty selector is invalid for workloads")]
    if not errors and not matches_selector(selector, labels):
        place = (*_TEMPLATE, "metadata", "labels")
        wanted = selector.get("matchLabels") or {}
        missing = ", ".join(f"`{k}: {v}`" for k, v in wanted.items() if labels.get(k) != v)
        hint = f"add {missing} to the labels of the pod template" if missing else ""
        errors.append(invalid(place, labels, "`selector` does not match template `labels`", hint))
    return errors


def validate_deployment(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors = names.not_negative(
        spec, ("spec",), "replicas", "minReadySeconds", "revisionHistoryLimit",
        "progressDeadlineSeconds",
    )  # fmt: skip
    errors += selector_of(spec)
    errors += pods.template(spec.get("template") or {}, _TEMPLATE)
    errors += pods.restart_policy((spec.get("template") or {}).get("spec") or {}, _POD, ("Always",))
    errors += _strategy(spec.get("strategy") or {})
    deadline = spec.get("progressDeadlineSeconds")
    ready = spec.get("minReadySeconds") or 0
    if deadline is not None and 0 <= deadline <= ready:
        text = "must be greater than minReadySeconds"
        errors.append(invalid(("spec", "progressDeadlineSeconds"), deadline, text))
    return errors


def _strategy(strategy: Json) -> list[FieldError]:
    at: Location = ("spec", "strategy")
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") == "Recreate":
        text = "may not be specified when strategy `type` is 'Recreate'"
        return [forbidden((*at, "rollingUpdate"), text)] if rolling is not None else []
    found = rolling or {}
    here = (*at, "rollingUpdate")
    surge, unavailable = found.get("maxSurge"), found.get("maxUnavailable")
    errors = int_or_percent(unavailable, (*here, "maxUnavailable"))
    errors += int_or_percent(surge, (*here, "maxSurge"))
    if not errors and _zero(surge) and _zero(unavailable):
        text = "may not be 0 when `maxSurge` is 0"
        errors.append(invalid((*here, "maxUnavailable"), unavailable, text))
    if isinstance(unavailable, str) and not errors and int(unavailable[:-1]) > 100:
        errors.append(
            invalid((*here, "maxUnavailable"), unavailable, "must not be greater than 100%")
        )
    return errors


def _zero(value: Any) -> bool:
    return value in (0, "0%")


def int_or_percent(value: Any, at: Location) -> list[FieldError]:
    if isinstance(value, str):
        text = "a valid percent string must be a numeric string followed by an ending '%'"
        hint = f"write {value} without quotes, or '{value}%'" if value.isdigit() else ""
        return [] if _PERCENT.fullmatch(value) else [invalid(at, value, text, hint)]
    if isinstance(value, int) and value < 0:
        return [invalid(at, value, names.TEXT_NOT_NEGATIVE)]
    return []


def validate_replica_set(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors = names.not_negative(spec, ("spec",), "replicas", "minReadySeconds")
    errors += selector_of(spec)
    errors += pods.template(spec.get("template") or {}, _TEMPLATE)
    pod = (spec.get("template") or {}).get("spec") or {}
    return errors + pods.restart_policy(pod, _POD, ("Always",))


def validate_replication_controller(obj: Json) -> list[FieldError]:
    """Its selector is a map of labels."""
    spec = obj.get("spec") or {}
    errors = names.not_negative(spec, ("spec",), "replicas", "minReadySeconds")
    selector = spec.get("selector") or {}
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if not selector:
        return [*errors, required(("spec", "selector"))]
    errors += names.labels(selector, ("spec", "selector"))
    if any(labels.get(key) != value for key, value in selector.items()):
        at = (*_TEMPLATE, "metadata", "labels")
        errors.append(invalid(at, labels, "`selector` does not match template `labels`"))
    errors += pods.template(spec.get("template") or {}, _TEMPLATE)
    pod = (spec.get("template") or {}).get("spec") or {}
    return errors + pods.restart_policy(pod, _POD, ("Always",))


def validate_pod_template(obj: Json) -> list[FieldError]:
    return pods.template(obj.get("template") or {}, ("template",))


def validate_workload_update(new: Json, old: Json) -> list[FieldError]:
    return immutable(new.get("spec") or {}, old.get("spec") or {}, ("spec",), "selector")


def validate_job(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors = names.not_negative(
        spec, ("spec",), "parallelism", "completions", "backoffLimit", "activeDeadlineSeconds",
        "ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes",
    )  # fmt: skip
    errors += names.label_selector(spec.get("selector"), ("spec", "selector"))
    errors += pods.template(spec.get("template") or {}, _TEMPLATE)
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy")
    if policy not in ("OnFailure", "Never"):
        text = 'valid values: "OnFailure", "Never"'
        hint = "pods of a Job end: say what happens when one fails"
        errors.append(required((*_POD, "restartPolicy"), text, hint))
    return errors + _indexed(spec) + _job_selector(spec)


def _indexed(spec: Json) -> list[FieldError]:
    if spec.get("completionMode") != "Indexed":
        return []
    completions = spec.get("completions")
    at: Location = ("spec", "completions")
    if completions is None:
        return [required(at, "when completion mode is Indexed")]
    if completions > INDEXED_COMPLETIONS_MAX:
        text = f"must be less than or equal to {INDEXED_COMPLETIONS_MAX}"
        return [invalid(at, completions, f"{text} when completion mode is Indexed")]
    return []


def _job_selector(spec: Json) -> list[FieldError]:
    """The server makes the selector, unless `manualSelector` says that the user does."""
    selector = spec.get("selector")
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if selector and labels and not matches_selector(selector, labels):
        text = "`selector` does not match template `labels`"
        hint = "leave out `selector`, the server makes one"
        return [invalid((*_TEMPLATE, "metadata", "labels"), labels, text, hint)]
    return []


_PLACING_METADATA = ("labels", "annotations")
_PLACING = ("nodeSelector", "tolerations", "affinity", "schedulingGates")


def _without_placing(template: Json) -> Json:
    """The template of a Job that has not started, without what says where its pods are placed:
    that may change as long as it is suspended."""
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    return {
        **template,
        "metadata": {k: v for k, v in metadata.items() if k not in _PLACING_METADATA},
        "spec": {k: v for k, v in spec.items() if k not in _PLACING},
    }


def validate_job_update(new: Json, old: Json) -> list[FieldError]:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    errors = immutable(spec, before, ("spec",), "selector", "completionMode", "podFailurePolicy")
    template, had = spec.get("template") or {}, before.get("template") or {}
    if before.get("suspend") and not (old.get("status") or {}).get("startTime"):
        template, had = _without_placing(template), _without_placing(had)
    errors += immutable({"template": template}, {"template": had}, ("spec",), "template")
    if spec.get("completionMode") != "Indexed":
        errors += immutable(spec, before, ("spec",), "completions")
    return errors

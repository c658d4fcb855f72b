"""From AnalysisTemplates and arguments to what an AnalysisRun measures."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from weft.api.argo.analysis import (
    AnalysisRunSpec,
    AnalysisTemplate,
    AnalysisTemplateSpec,
    Argument,
    ClusterAnalysisTemplate,
    Metric,
    SecretKeyRef,
)
from weft.api.argo.common import DryRun, MeasurementRetention, TemplateRef
from weft.api.snapshot import Snapshot

TEMPLATES_MAX = 32
_PLACEHOLDER = re.compile(r"\{\{\s*([\w.\-]+)\s*\}\}")
_CONTROLS = (
    "interval", "initial_delay", "count", "failure_limit", "inconclusive_limit",
    "consecutive_error_limit", "success_condition", "failure_condition",
)  # fmt: skip
_STEP = re.compile(r"([^.\[\]]+)|\[['\"]([^'\"]+)['\"]\]|\[(\d+)\]")


class Problem(Exception):
    """Why there can be no such run, in one sentence."""


def templates(
    snapshot: Snapshot, namespace: str, references: Iterable[TemplateRef]
) -> list[AnalysisTemplateSpec]:
    """The templates, and those that they name, each once. Raises Problem."""
    found: dict[tuple[str, bool], AnalysisTemplateSpec] = {}
    todo = list(references)
    while todo:
        reference = todo.pop(0)
        key = (reference.template_name, bool(reference.cluster_scope))
        if key in found:
            continue
        if len(found) >= TEMPLATES_MAX:
            raise Problem(f"more than {TEMPLATES_MAX} AnalysisTemplates")
        one: AnalysisTemplate | ClusterAnalysisTemplate | None
        if key[1]:
            one = snapshot.get(ClusterAnalysisTemplate, key[0])
        else:
            one = snapshot.get(AnalysisTemplate, key[0], namespace)
        if one is None:
            kind = "ClusterAnalysisTemplate" if key[1] else "AnalysisTemplate"
            raise Problem(f"the {kind} {key[0]} does not exist")
        found[key] = one.spec
        todo += one.spec.templates
    return list(found.values())


def run_spec(
    found: Sequence[AnalysisTemplateSpec],
    given: Sequence[Argument],
    dry_run: Sequence[DryRun] = (),
    retention: Sequence[MeasurementRetention] = (),
) -> AnalysisRunSpec:
    """Several templates as one run, with a value for every argument. Raises Problem."""
    metrics: list[Metric] = []
    for template in found:
        metrics += template.metrics
    names = [m.name for m in metrics]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise Problem(f"two metrics are named {twice[0]}")
    if not metrics:
        raise Problem("nothing is measured")
    return AnalysisRunSpec(
        metrics=tuple(metrics),
        args=_arguments(found, given),
        dry_run=(*(d for t in found for d in t.dry_run), *dry_run),
        measurement_retention=(*(r for t in found for r in t.measurement_retention), *retention),
    )


def _arguments(
    found: Sequence[AnalysisTemplateSpec], given: Sequence[Argument]
) -> tuple[Argument, ...]:
    args: dict[str, Argument] = {}
    for template in found:
        for argument in template.args:
            before = args.get(argument.name)
            if before is None or not _has_value(before):
                args[argument.name] = argument
            elif _has_value(argument) and argument != before:
                raise Problem(f"two templates give the argument {argument.name} different values")
    for argument in given:
        if argument.name in args or not found:
            args[argument.name] = argument
    missing = [name for name, argument in args.items() if not _has_value(argument)]
    if missing:
        raise Problem(f"the argument {missing[0]} has no value")
    return tuple(args.values())


def _has_value(argument: Argument) -> bool:
    return argument.value is not None or argument.value_from is not None


def field(obj: Any, path: str) -> str:
    """The text of a field of an object (`metadata.labels['env']`). Raises Problem."""
    value = msgspec.to_builtins(obj)
    for name, quoted, index in _STEP.findall(path):
        if isinstance(value, Mapping):
            value = value.get(name or quoted or index)
        elif isinstance(value, list | tuple) and index and int(index) < len(value):
            value = value[int(index)]
        else:
            value = None
    if value is None or isinstance(value, Mapping | list | tuple):
        raise Problem(f"the field {path} has no value")
    return str(value).lower() if isinstance(value, bool) else str(value)


# ------------------------------------------------------------------ placeholders


def secrets_of(args: Iterable[Argument]) -> list[tuple[str, SecretKeyRef]]:
    """Arguments whose values are in Secrets."""
    return [
        (a.name, a.value_from.secret_key_ref)
        for a in args
        if a.value_from is not None and a.value_from.secret_key_ref is not None
    ]


def with_controls(metric: Metric, args: Iterable[Argument]) -> Metric:
    """The metric with plain arguments in what says how often it is measured and how it is judged;
    what it asks is filled in each time."""
    values = {a.name: a.value for a in args if a.value is not None}
    found = {name: getattr(metric, name) for name in _CONTROLS}
    changes = {
        name: _PLACEHOLDER.sub(lambda m: values.get(m[1].removeprefix("args."), m[0]), text)
        for name, text in found.items()
        if isinstance(text, str) and "{{" in text
    }
    return replace(metric, **changes) if changes else metric


def filled(metric: Metric, values: Mapping[str, str]) -> Metric:
    """The metric with a value in place of each `{{ args.NAME }}`. Raises Problem."""

    def value(match: re.Match[str]) -> str:
        name = match[1].removeprefix("args.")
        if name == match[1] or name not in values:
            raise Problem(f"nothing is known of {match[0]}")
        return values[name]

    def walk(part: Any) -> Any:
        if isinstance(part, str):
            return _PLACEHOLDER.sub(value, part)
        if isinstance(part, dict):
            return {walk(k): walk(v) for k, v in part.items()}
        if isinstance(part, list | tuple):
            return [walk(v) for v in part]
        return part

    return msgspec.convert(walk(msgspec.to_builtins(metric)), Metric)

"""Rules of AnalysisTemplates, AnalysisRuns and Experiments beyond their schemas."""

import re
from collections.abc import Mapping
from typing import Any

from weft.api.argo.expressions import ExpressionError, compiled
from weft.api.crd import jsonpath
from weft.api.field_errors import FieldError, Location, forbidden, invalid, required
from weft.api.validate import names, pods
from weft.api.validate.workloads import selector_of
from weft.lib.durations import parse_duration

Json = Mapping[str, Any]
_PLACEHOLDER = re.compile(r"\{\{[^{}]*\}\}")

METRICS_MAX = 64
PROVIDERS = ("prometheus", "web", "job", "weft")
REFUSED = (
    "kayenta", "datadog", "wavefront", "newRelic", "cloudWatch", "graphite", "influxdb",
    "skywalking", "plugin",
)  # fmt: skip
_HINT = "weft measures by prometheus, web, job, and weft (the mesh's own signals)"


def validate_template(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    at: Location = ("spec", "metrics")
    if not spec.get("metrics") and not spec.get("templates"):
        return [required(at, "an analysis measures something")]
    return metrics(spec, ("spec",))


def validate_run(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    if not spec.get("metrics"):
        return [required(("spec", "metrics"), "an analysis measures something")]
    errors = metrics(spec, ("spec",))
    for index, arg in enumerate(spec.get("args") or ()):
        if arg.get("value") is None and not arg.get("valueFrom"):
            text = "arguments of a run have values"
            errors.append(required(("spec", "args", index, "value"), text))
    return errors


def validate_experiment(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    at: Location = ("spec", "templates")
    templates = spec.get("templates") or ()
    errors = names.unique(((*at, i, "name"), t.get("name")) for i, t in enumerate(templates))
    if not templates:
        errors.append(required(at, "an experiment runs something"))
    for index, template in enumerate(templates):
        here: Location = (*at, index)
        for error in selector_of(template):
            errors.append(invalid((*here, *error.at[1:]), error.value, error.detail or "missing"))
        errors += pods.template(template.get("template") or {}, (*here, "template"))
    errors += duration(spec, ("spec",), "duration")
    analyses = spec.get("analyses") or ()
    return errors + names.unique(
        (("spec", "analyses", i, "name"), a.get("name")) for i, a in enumerate(analyses)
    )


def metrics(spec: Json, at: Location) -> list[FieldError]:
    """The metrics of a template or a run."""
    found = spec.get("metrics") or ()
    here: Location = (*at, "metrics")
    errors = names.unique(((*here, i, "name"), m.get("name")) for i, m in enumerate(found))
    if len(found) > METRICS_MAX:
        errors.append(invalid(here, len(found), f"must have at most {METRICS_MAX} items"))
    for index, metric in enumerate(found):
        errors += _metric(metric, (*here, index))
    args = spec.get("args") or ()
    return errors + names.unique(
        ((*at, "args", i, "name"), a.get("name")) for i, a in enumerate(args)
    )


def _metric(metric: Json, at: Location) -> list[FieldError]:
    errors = duration(metric, at, "interval") + duration(metric, at, "initialDelay")
    for field in ("successCondition", "failureCondition"):
        if metric.get(field):
            errors += _condition(str(metric[field]), (*at, field))
    for field in ("count", "failureLimit", "inconclusiveLimit", "consecutiveErrorLimit"):
        errors += _whole(metric.get(field), (*at, field), -1 if field != "count" else 0)
    count = _number(metric.get("count"))
    if count is not None and count > 1 and not metric.get("interval"):
        errors.append(required((*at, "interval"), "must be specified when `count` is above 1"))
    if metric.get("consecutiveSuccessLimit") is not None:
        errors.append(forbidden((*at, "consecutiveSuccessLimit"), "weft does not know it yet"))
    return errors + _provider(metric.get("provider") or {}, (*at, "provider"))


def _provider(provider: Json, at: Location) -> list[FieldError]:
    errors = [
        forbidden((*at, name), "this provider is not there", _HINT)
        for name in REFUSED
        if provider.get(name) is not None
    ]
    given = [name for name in PROVIDERS if provider.get(name) is not None]
    if errors:
        return errors
    if len(given) != 1:
        text = "exactly one provider measures"
        return [required(at, text, _HINT) if not given else invalid(at, ", ".join(given), text)]
    found, here = provider[given[0]], (*at, given[0])
    if found.get("authentication"):
        hint = "send a header, with its value from a Secret by an argument"
        errors.append(forbidden((*here, "authentication"), "is not there", hint))
    if given[0] == "prometheus":
        errors += [required((*here, f)) for f in ("address", "query") if not found.get(f)]
        if found.get("rangeQuery"):
            errors.append(forbidden((*here, "rangeQuery"), "queries are of one moment"))
    if given[0] == "web":
        errors += _web(found, here)
    if given[0] == "weft":
        errors += duration(found, here, "window")
    if given[0] == "job":
        template = _filled((found.get("spec") or {}).get("template") or {})
        errors += pods.template(template, (*here, "spec", "template"))
    return errors


def _filled(value: Any) -> Any:
    """A value whose arguments have some value: what they will be is not known here."""
    if isinstance(value, str):
        return _PLACEHOLDER.sub("x", value)
    if isinstance(value, Mapping):
        return {key: _filled(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(each) for each in value]
    return value


def _web(web: Json, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    if not str(web.get("url") or "").startswith(("http://", "https://", "{{")):
        errors.append(invalid((*at, "url"), web.get("url") or "", "must be an http or https URL"))
    if (web.get("body") or web.get("jsonBody")) and web.get("method") not in ("POST", "PUT"):
        field = "body" if web.get("body") else "jsonBody"
        errors.append(forbidden((*at, field), "only POST and PUT have a body"))
    path = str(web.get("jsonPath") or "")
    if path and "{{" not in path:
        try:
            read_path(path)
        except ValueError as error:
            errors.append(invalid((*at, "jsonPath"), path, str(error)))
    return errors


def read_path(text: str) -> str:
    """A JSONPath as weft.api.crd.jsonpath reads it, "" for the whole. Raises ValueError."""
    body = text.strip().removeprefix("{").removesuffix("}").strip().removeprefix("$")
    if body in ("", "."):
        return ""
    jsonpath.parse(body)
    return body


def duration(obj: Json, at: Location, field: str) -> list[FieldError]:
    """A duration that is not negative, if there is one; placeholders are read later."""
    text = obj.get(field)
    if not text or "{{" in str(text):
        return []
    try:
        value = parse_duration(str(text))
    except ValueError as error:
        return [invalid((*at, field), text, str(error))]
    return [] if value >= 0 else [invalid((*at, field), text, names.TEXT_NOT_NEGATIVE)]


def _condition(text: str, at: Location) -> list[FieldError]:
    if "{{" in text:
        return []
    try:
        compiled(text)
    except ExpressionError as error:
        return [invalid(at, text, str(error))]
    return []


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _whole(value: Any, at: Location, least: int) -> list[FieldError]:
    if value is None or (isinstance(value, str) and "{{" in value):
        return []
    number = _number(value)
    if number is None or number < least:
        return [invalid(at, value, f"must be a whole number of at least {least}")]
    return []

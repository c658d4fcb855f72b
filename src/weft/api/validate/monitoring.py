"""Rules of AlertRule, ServiceLevelObjective and AlertReceiver beyond their schemas."""

import re
from collections.abc import Mapping
from typing import Any

from weft.api import registry
from weft.api.field_errors import FieldError, Location, forbidden, invalid, required
from weft.api.schema import schema_for
from weft.api.validate import istio_common as common
from weft.lib.durations import parse_duration

Json = Mapping[str, Any]

GROUP, VERSION = "monitoring.weft.dev", "v1alpha1"
ADMINISTRATORS_NAMESPACE = "kube-system"
"""Where receivers may have URLs, and get the alerts of all namespaces."""
OVER_SECONDS_MAX = 3 * 3600.0
"""So far back every service's traffic is known."""
WINDOW_SECONDS = (3600.0, 720 * 3600.0)
REPEAT_SECONDS_MIN = 60.0
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
"""Prometheus, "Data model": what a label's name may be."""
_OWN_LABELS = ("alertname", "namespace", "service", "severity")
_URL = re.compile(r"https?://[^\s/?#@]+(?:[/?][!-~]*)?")


def validate_rule(obj: Json) -> list[FieldError]:
    spec, at = obj.get("spec") or {}, ("spec",)
    errors = _formats("AlertRule", obj) + _labels(spec, at) + _service(spec, at)
    bounds = [name for name in ("above", "below") if spec.get(name) is not None]
    if len(bounds) != 1:
        text = "exactly one of `above`, `below` says where the signal becomes bad"
        found = forbidden((*at, "below"), text) if bounds else required((*at, "above"), text)
        errors.append(found)
    for name in ("over", "for", "predict"):
        errors += _between(spec, at, name, 0.0 if name == "for" else 5.0, OVER_SECONDS_MAX)
    return errors


def validate_objective(obj: Json) -> list[FieldError]:
    spec, at = obj.get("spec") or {}, ("spec",)
    errors = _formats("ServiceLevelObjective", obj) + _labels(spec, at) + _service(spec, at)
    objective = spec.get("objective")
    if objective is not None and not 0 < objective < 100:
        problem = "must be greater than 0 and less than 100: without an error budget nothing burns"
        errors.append(invalid((*at, "objective"), objective, problem))
    latency = spec.get("latency")
    if latency is not None and latency.get("thresholdMs") is None:
        errors.append(required((*at, "latency", "thresholdMs")))
    return errors + _between(spec, at, "window", *WINDOW_SECONDS)


def validate_receiver(obj: Json) -> list[FieldError]:
    spec, at = obj.get("spec") or {}, ("spec",)
    errors = _formats("AlertReceiver", obj)
    namespace = (obj.get("metadata") or {}).get("namespace")
    url, service = spec.get("url") or "", spec.get("service")
    if bool(url) == (service is not None):
        text = "exactly one of `service`, `url` says whom to tell"
        errors.append(forbidden((*at, "url"), text) if url else required((*at, "service"), text))
    if url and namespace != ADMINISTRATORS_NAMESPACE:
        text = f"only in namespace {ADMINISTRATORS_NAMESPACE}: name a `service` of this namespace"
        errors.append(forbidden((*at, "url"), text))
    if url and not _URL.fullmatch(url):
        errors.append(invalid((*at, "url"), url, "must be an http or https URL"))
    if service is not None and not service.get("name"):
        errors.append(required((*at, "service", "name")))
    path = (service or {}).get("path") or "/"
    if not re.fullmatch(r"/[!-~]*", path):
        errors.append(invalid((*at, "service", "path"), path, "must be a path, as `/alerts`"))
    return errors + common.at_least(spec, at, "repeatInterval", REPEAT_SECONDS_MIN)


def _service(spec: Json, at: Location) -> list[FieldError]:
    service = spec.get("service")
    if service is not None and not service.get("name"):
        return [required((*at, "service", "name"))]
    return []


def _labels(spec: Json, at: Location) -> list[FieldError]:
    errors = []
    for name in spec.get("labels") or {}:
        if not _LABEL.fullmatch(name):
            problem = "must be a label of Prometheus: letters, digits and `_`"
            errors.append(invalid((*at, "labels"), name, problem))
        elif name in _OWN_LABELS:
            errors.append(invalid((*at, "labels"), name, "is set by weft"))
    return errors


def _between(spec: Json, at: Location, name: str, least: float, most: float) -> list[FieldError]:
    errors = common.at_least(spec, at, name, least, zero=least == 0) if least else []
    try:
        seconds = parse_duration(spec.get(name) or "0")
    except ValueError:
        return errors  # `_formats` says so
    if seconds > most:
        errors.append(invalid((*at, name), spec[name], f"must be at most {most / 3600:g}h"))
    if seconds < 0:
        errors.append(invalid((*at, name), spec[name], "must not be negative"))
    return errors


def _formats(kind_name: str, obj: Json) -> list[FieldError]:
    kind = registry.find(GROUP, VERSION, kind_name)
    assert kind is not None
    return common.formats(schema_for(kind), obj, ())

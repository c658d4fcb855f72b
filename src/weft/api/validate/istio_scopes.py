"""Rules of Sidecar, EnvoyFilter, WorkloadGroup. Source: the public Istio reference."""

from collections.abc import Mapping
from typing import Any

from weft.api.field_errors import FieldError, Location, forbidden, invalid, required
from weft.api.validate import istio_common as common
from weft.api.validate import names

Json = Mapping[str, Any]

_ANYWHERE = ("*", ".", "~")
_PROBES = ("httpGet", "tcpSocket", "exec", "grpc")
_WITHOUT_VALUE = ("REMOVE",)
_PLACED = ("INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST")
_IN_ORDER = ("NETWORK_FILTER", "HTTP_FILTER", "HTTP_ROUTE", "LISTENER_FILTER", "FILTER_CHAIN")
"""Things that stand in an order, so that one can be put before another."""


def validate_sidecar(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors = _selector(spec)
    seen: set[Any] = set()
    for index, listener in enumerate(spec.get("egress") or ()):
        at: Location = ("spec", "egress", index)
        port = (listener.get("port") or {}).get("number")
        if port in seen:
            text = f"port {port} is used twice" if port else "only one entry may be without `port`"
            errors.append(invalid((*at, "port"), port, text))
        seen.add(port)
        hosts = listener.get("hosts") or ()
        if not hosts:
            errors.append(
                required((*at, "hosts"), suggestion="e.g. `./*`: all of the own namespace")
            )
        for number, host in enumerate(hosts):
            errors += _scoped_host(host or "", (*at, "hosts", number))
    return errors


def _selector(spec: Json) -> list[FieldError]:
    labels = (spec.get("workloadSelector") or {}).get("labels")
    return names.labels(labels, ("spec", "workloadSelector", "labels"))


def _scoped_host(written: str, at: Location) -> list[FieldError]:
    namespace, slash, host = written.partition("/")
    if not slash:
        hint = f"`*/{written}` is the host of any namespace, `./{written}` of the own one"
        return [invalid(at, written, "must have the form `namespace/host`", hint)]
    if namespace not in _ANYWHERE and (problem := names.label_problem(namespace)):
        return [invalid(at, written, problem)]
    problem = "" if host == "~" else common.host_problem(host)
    return [invalid(at, written, problem)] if problem else []


def validate_envoy_filter(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors = _selector(spec)
    if spec.get("workloadSelector") and spec.get("targetRefs"):
        text = "may not be used together with `workloadSelector`"
        errors.append(forbidden(("spec", "targetRefs"), text))
    patches = spec.get("configPatches") or ()
    for index, patch in enumerate(patches):
        errors += _patch(patch, ("spec", "configPatches", index))
    return errors


def _patch(found: Json, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    apply_to = found.get("applyTo") or "INVALID"
    if apply_to == "INVALID":
        errors.append(required((*at, "applyTo"), suggestion="e.g. HTTP_FILTER"))
    patch = found.get("patch") or {}
    operation = patch.get("operation") or "INVALID"
    if operation == "INVALID":
        errors.append(required((*at, "patch", "operation"), suggestion="e.g. MERGE"))
    elif operation not in _WITHOUT_VALUE and not patch.get("value"):
        errors.append(required((*at, "patch", "value"), f"is needed for {operation}"))
    if operation in _PLACED and apply_to not in (*_IN_ORDER, "INVALID"):
        text = f"{operation} is not possible for {apply_to}: its things have no order"
        errors.append(forbidden((*at, "patch", "operation"), text, "use ADD or MERGE"))
    match = found.get("match") or {}
    objects = ("listener", "routeConfiguration", "cluster")
    return errors + common.one_of(match, (*at, "match"), objects, needed=False)


def validate_workload_group(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    template = spec.get("template") or {}
    errors = names.labels(template.get("labels"), ("spec", "template", "labels"))
    labels = (spec.get("metadata") or {}).get("labels")
    errors += names.labels(labels, ("spec", "metadata", "labels"))
    probe = spec.get("probe")
    if probe is None:
        return errors
    at: Location = ("spec", "probe")
    errors += common.one_of(probe, at, _PROBES)
    for kind in ("httpGet", "tcpSocket", "grpc"):
        if probe.get(kind) is not None and not probe[kind].get("port"):
            errors.append(required((*at, kind, "port")))
    if probe.get("exec") is not None and not probe["exec"].get("command"):
        errors.append(required((*at, "exec", "command")))
    return errors

"""Containers of pods: names, images, ports, environment, mounts, probes, resources."""

from collections.abc import Mapping, Sequence
from typing import Any

from weft.api.field_errors import (
    FieldError,
    Location,
    duplicate,
    forbidden,
    invalid,
    not_found,
    required,
)
from weft.api.suggest import nearest
from weft.api.validate import names
from weft.lib.quantity import parse_quantity

Json = Mapping[str, Any]

_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_HOOKS = ("exec", "httpGet", "tcpSocket", "sleep")
_ENV_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_KEYED = ("configMapKeyRef", "secretKeyRef")
_POD_FIELDS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels",
    "metadata.annotations", "spec.nodeName", "spec.serviceAccountName", "status.hostIP",
    "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip


def containers(
    found: Sequence[Json], at: Location, volumes: frozenset[str], init: bool = False
) -> list[FieldError]:
    """All containers of one list. `volumes` are the names that the pod defines."""
    return [
        error
        for index, container in enumerate(found)
        for error in _container(container, (*at, index), volumes, init)
    ]


def _container(
    container: Json, at: Location, volumes: frozenset[str], init: bool
) -> list[FieldError]:
    name = container.get("name") or ""
    errors = names.named(name, (*at, "name"), names.label_problem(name))
    image = container.get("image") or ""
    if not image.strip():
        errors.append(required((*at, "image"), suggestion="name the image to run, e.g. `app:1.0`"))
    elif image != image.strip():
        text = "must not have leading or trailing whitespace"
        errors.append(invalid((*at, "image"), image, text))
    errors += _ports(container.get("ports") or (), (*at, "ports"))
    errors += _env(container.get("env") or (), (*at, "env"))
    errors += _env_from(container.get("envFrom") or (), (*at, "envFrom"))
    errors += _mounts(container.get("volumeMounts") or (), (*at, "volumeMounts"), volumes)
    errors += resources(container.get("resources") or {}, (*at, "resources"))
    return errors + _life(container, at, init)


def _life(container: Json, at: Location, init: bool) -> list[FieldError]:
    """Probes and hooks. Init containers run to their end, unless they are sidecars."""
    errors: list[FieldError] = []
    plain_init = init and container.get("restartPolicy") != "Always"
    policy = container.get("restartPolicy")
    if policy and not (init and policy == "Always"):
        text = "may only be set to Always for init containers"
        errors.append(forbidden((*at, "restartPolicy"), text))
    for key in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(key) is None:
            continue
        if plain_init:
            text = "may not be set for init containers without restartPolicy=Always"
            errors.append(forbidden((*at, key), text))
        else:
            errors += _probe(container[key], (*at, key), only_once=key != "readinessProbe")
    lifecycle = container.get("lifecycle") or {}
    if lifecycle and plain_init:
        text = "may not be set for init containers without restartPolicy=Always"
        errors.append(forbidden((*at, "lifecycle"), text))
    for hook in ("postStart", "preStop"):
        if lifecycle.get(hook) is not None:
            errors += _handler(lifecycle[hook], (*at, "lifecycle", hook), _HOOKS)
    return errors


def _ports(ports: Sequence[Json], at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        name = port.get("name") or ""
        if name and (problem := names.port_name_problem(name)):
            errors.append(invalid((*at, index, "name"), name, problem))
        elif name in seen:
            errors.append(duplicate((*at, index, "name"), name))
        if name:
            seen.add(name)
        if not port.get("containerPort"):
            errors.append(required((*at, index, "containerPort")))
        for key in ("containerPort", "hostPort"):
            if port.get(key):
                errors += names.port_number(port[key], (*at, index, key))
    return errors


def _env(env: Sequence[Json], at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, variable in enumerate(env):
        here = (*at, index)
        name = variable.get("name") or ""
        bad = "=" in name or not name.isprintable() or not name.isascii()
        text = (
            "a valid environment variable name must consist only of printable ASCII characters "
            "other than '='"
        )
        errors += names.named(name, (*here, "name"), text if bad else "")
        if variable.get("valueFrom") is not None:
            errors += _env_source(variable, (*here, "valueFrom"))
    return errors


def _env_source(variable: Json, at: Location) -> list[FieldError]:
    source = variable["valueFrom"]
    given = [key for key in _ENV_SOURCES if source.get(key) is not None]
    if variable.get("value"):
        return [invalid(at, "", "may not be specified when `value` is not empty")]
    if not given:
        return [
            invalid(at, "", f"must specify one of: {', '.join(f'`{key}`' for key in _ENV_SOURCES)}")
        ]
    if len(given) > 1:
        return [invalid(at, "", "may not have more than one field specified at a time")]
    key, here = given[0], (*at, given[0])
    if key in _KEYED:
        return _key_reference(source[key], here)
    if key == "fieldRef":
        return _field_path(source[key].get("fieldPath") or "", (*here, "fieldPath"))
    if key == "resourceFieldRef" and not source[key].get("resource"):
        return [required((*here, "resource"))]
    return []


def _key_reference(reference: Json, at: Location) -> list[FieldError]:
    errors = [] if reference.get("name") else [required((*at, "name"))]
    key = reference.get("key") or ""
    return errors + names.named(key, (*at, "key"), names.config_key_problem(key))


def _field_path(path: str, at: Location) -> list[FieldError]:
    if not path:
        return [required(at)]
    base = path.split("[", 1)[0]
    subscripted = path.endswith("']") and base in ("metadata.labels", "metadata.annotations")
    if path in _POD_FIELDS or subscripted:
        return []
    near = nearest(path, _POD_FIELDS)
    hint = f"did you mean `{near}`?" if near else f"one of: {', '.join(_POD_FIELDS)}"
    return [invalid(at, path, "error converting fieldPath: field label not supported", hint)]


def _env_from(sources: Sequence[Json], at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, source in enumerate(sources):
        given = [key for key in ("configMapRef", "secretRef") if source.get(key) is not None]
        if len(given) != 1:
            text = "must specify one of: `configMapRef` or `secretRef`"
            errors.append(invalid((*at, index), "", text))
        elif not source[given[0]].get("name"):
            errors.append(required((*at, index, given[0], "name")))
    return errors


def _mounts(mounts: Sequence[Json], at: Location, volumes: frozenset[str]) -> list[FieldError]:
    errors: list[FieldError] = []
    paths: set[str] = set()
    for index, mount in enumerate(mounts):
        name, path = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            errors.append(required((*at, index, "name")))
        elif name not in volumes:
            errors.append(not_found((*at, index, "name"), name, _volume_hint(name, volumes)))
        if not path:
            errors.append(required((*at, index, "mountPath")))
        elif path in paths:
            errors.append(invalid((*at, index, "mountPath"), path, "must be unique"))
        paths.add(path)
        sub_path = mount.get("subPath") or ""
        if sub_path.startswith("/"):
            errors.append(invalid((*at, index, "subPath"), sub_path, "must be a relative path"))
        elif ".." in sub_path.split("/"):
            errors.append(invalid((*at, index, "subPath"), sub_path, "must not contain '..'"))
    return errors


def _volume_hint(name: str, volumes: frozenset[str]) -> str:
    near = nearest(name, volumes)
    if near:
        return f"did you mean the volume `{near}`?"
    return "define it under `volumes` of the pod, beside `containers`"


# ------------------------------------------------------------------ probes, hooks


def _probe(probe: Json, at: Location, only_once: bool) -> list[FieldError]:
    errors = _handler(probe, at, _HANDLERS)
    errors += names.not_negative(
        probe, at, "initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold",
        "failureThreshold",
    )  # fmt: skip
    success = probe.get("successThreshold")
    if only_once and success not in (None, 0, 1):
        errors.append(invalid((*at, "successThreshold"), success, "must be 1"))
    return errors


def _handler(handler: Json, at: Location, kinds: Sequence[str]) -> list[FieldError]:
    given = [key for key in kinds if handler.get(key) is not None]
    if not given:
        return [required(at, "must specify a handler type", f"one of: {', '.join(kinds)}")]
    errors = [
        forbidden((*at, key), "may not specify more than 1 handler type") for key in given[1:]
    ]
    first, here = handler[given[0]], (*at, given[0])
    if given[0] == "exec" and not first.get("command"):
        errors.append(required((*here, "command")))
    if given[0] in ("httpGet", "tcpSocket", "grpc"):
        port = first.get("port")
        if port in (None, ""):
            errors.append(required((*here, "port")))
        else:
            errors += names.port_number_or_name(port, (*here, "port"))
    if given[0] == "httpGet":
        for index, header in enumerate(first.get("httpHeaders") or ()):
            if not header.get("name"):
                errors.append(required((*here, "httpHeaders", index, "name")))
    return errors


# ------------------------------------------------------------------ resources


def resources(found: Json, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    limits, requests = found.get("limits") or {}, found.get("requests") or {}
    for side, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            if problem := names.qualified_name_problem(name):
                errors.append(invalid((*at, side), name, problem))
            if side == "limits" or amount != limits.get(name):  # defaulted from the limit
                errors += names.quantity(amount, (*at, side, name))
    if errors:
        return errors
    for name, amount in requests.items():
        if name in limits and parse_quantity(amount) > parse_quantity(limits[name]):
            text = f"must be less than or equal to {name} limit of {limits[name]}"
            errors.append(invalid((*at, "requests"), str(amount), text))
    return errors

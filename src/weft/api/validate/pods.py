"""Pods, and the pod templates of workloads."""

from collections.abc import Mapping, Sequence
from typing import Any

from weft.api.field_errors import (
    FieldError,
    Location,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from weft.api.validate import names
from weft.api.validate.containers import containers

Json = Mapping[str, Any]

_CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
_TOLERATION_LIMITED_EFFECT = "NoExecute"
_NEEDS_KEY = {"configMap": "name", "secret": "secretName", "persistentVolumeClaim": "claimName"}
UPDATE_FORBIDDEN = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set "
    "to 1 if it was previously negative)"
)


def validate(obj: Json) -> list[FieldError]:
    return pod_spec(obj.get("spec") or {}, ("spec",))


def template(found: Json, at: Location) -> list[FieldError]:
    """A pod template: its labels, annotations and spec."""
    metadata = found.get("metadata") or {}
    errors = names.labels(metadata.get("labels"), (*at, "metadata", "labels"))
    return errors + pod_spec(found.get("spec") or {}, (*at, "spec"))


def pod_spec(spec: Json, at: Location) -> list[FieldError]:
    errors = _volumes(spec.get("volumes") or (), (*at, "volumes"))
    volumes = frozenset(v.get("name") or "" for v in spec.get("volumes") or ())
    if not spec.get("containers"):
        errors.append(required((*at, "containers")))
    for key in _CONTAINER_LISTS:
        errors += containers(spec.get(key) or (), (*at, key), volumes, key == "initContainers")
    errors += _container_names(spec, at)
    errors += names.not_negative(spec, at, "terminationGracePeriodSeconds")
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and deadline < 1:
        text = "must be between 1 and 2147483647, inclusive"
        errors.append(invalid((*at, "activeDeadlineSeconds"), deadline, text))
    for key in ("hostname", "subdomain"):
        if spec.get(key) and (problem := names.label_problem(spec[key])):
            errors.append(invalid((*at, key), spec[key], problem))
    for key in ("nodeName", "serviceAccountName"):
        if spec.get(key) and (problem := names.subdomain_problem(spec[key])):
            errors.append(invalid((*at, key), spec[key], problem))
    errors += names.labels(spec.get("nodeSelector"), (*at, "nodeSelector"))
    errors += _tolerations(spec.get("tolerations") or (), (*at, "tolerations"))
    return errors + _dns(spec, at) + _host_aliases(spec, at) + _host_ports(spec, at)


def _container_names(spec: Json, at: Location) -> list[FieldError]:
    """Names are unique among all of a pod's containers."""
    return names.unique(
        ((*at, key, index, "name"), container.get("name"))
        for key in _CONTAINER_LISTS
        for index, container in enumerate(spec.get(key) or ())
        if container.get("name")
    )


def _host_ports(spec: Json, at: Location) -> list[FieldError]:
    return names.unique(
        ((*at, "containers", i, "ports", j, "hostPort"), _host_port(port))
        for i, container in enumerate(spec.get("containers") or ())
        for j, port in enumerate(container.get("ports") or ())
        if port.get("hostPort")
    )


def _host_port(port: Json) -> str:
    return f"{port.get('hostIP') or ''}/{port['hostPort']}/{port.get('protocol') or 'TCP'}"


def _volumes(volumes: Sequence[Json], at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        here = (*at, index)
        name = volume.get("name") or ""
        errors += names.named(name, (*here, "name"), names.label_problem(name))
        if name and name in seen:
            errors.append(duplicate((*here, "name"), name))
        seen.add(name)
        sources = [k for k, value in volume.items() if k != "name" and value is not None]
        for key in sources[1:]:
            errors.append(forbidden((*here, key), "may not specify more than 1 volume type"))
        for key in sources[:1]:
            errors += _volume_source(key, volume[key], (*here, key))
    return errors


def _volume_source(key: str, source: Json, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    needed = _NEEDS_KEY.get(key)
    if needed and not source.get(needed):
        errors.append(required((*at, needed)))
    if key == "hostPath" and not source.get("path"):
        errors.append(required((*at, "path")))
    if key == "emptyDir" and source.get("sizeLimit") is not None:
        errors += names.quantity(source["sizeLimit"], (*at, "sizeLimit"))
    for index, item in enumerate(source.get("items") or ()):
        here = (*at, "items", index)
        if key in ("configMap", "secret") and not item.get("key"):
            errors.append(required((*here, "key")))
        errors += _relative_path(item.get("path") or "", (*here, "path"))
    mode = source.get("defaultMode")
    if isinstance(mode, int) and not 0 <= mode <= 0o777:
        text = "must be a number between 0 and 0777 (octal), both inclusive"
        errors.append(invalid((*at, "defaultMode"), mode, text))
    return errors


def _relative_path(path: str, at: Location) -> list[FieldError]:
    if not path:
        return [required(at)]
    if path.startswith("/"):
        return [invalid(at, path, "must be a relative path")]
    return [invalid(at, path, "must not contain '..'")] if ".." in path.split("/") else []


def _tolerations(tolerations: Sequence[Json], at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, toleration in enumerate(tolerations):
        here = (*at, index)
        key, operator = toleration.get("key") or "", toleration.get("operator") or "Equal"
        if key and (problem := names.qualified_name_problem(key)):
            errors.append(invalid((*here, "key"), key, problem))
        if not key and operator != "Exists":
            text = (
                "operator must be Exists when `key` is empty, which means "
                '"match all values and all keys"'
            )
            errors.append(invalid((*here, "operator"), operator, text))
        if operator == "Exists" and toleration.get("value"):
            text = "value must be empty when `operator` is 'Exists'"
            errors.append(invalid((*here, "operator"), toleration["value"], text))
        effect = toleration.get("effect") or ""
        if toleration.get("tolerationSeconds") is not None and effect not in (
            _TOLERATION_LIMITED_EFFECT,
        ):
            text = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            errors.append(invalid((*here, "effect"), effect, text))
    return errors


def _dns(spec: Json, at: Location) -> list[FieldError]:
    config = spec.get("dnsConfig") or {}
    errors: list[FieldError] = []
    if spec.get("dnsPolicy") == "None" and not config.get("nameservers"):
        text = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        errors.append(required((*at, "dnsConfig", "nameservers"), text))
    for index, address in enumerate(config.get("nameservers") or ()):
        if problem := names.ip_problem(address):
            errors.append(invalid((*at, "dnsConfig", "nameservers", index), address, problem))
    return errors


def _host_aliases(spec: Json, at: Location) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        here = (*at, "hostAliases", index)
        if problem := names.ip_problem(alias.get("ip") or ""):
            errors.append(invalid((*here, "ip"), alias.get("ip"), problem))
        for place, name in enumerate(alias.get("hostnames") or ()):
            if problem := names.subdomain_problem(name):
                errors.append(invalid((*here, "hostnames", place), name, problem))
    return errors


def restart_policy(spec: Json, at: Location, allowed: Sequence[str]) -> list[FieldError]:
    """What a controller's template may say about restarts."""
    policy = spec.get("restartPolicy") or "Always"
    if policy in allowed:
        return []
    return [not_supported((*at, "restartPolicy"), policy, allowed)]


# ------------------------------------------------------------------ updates


def validate_update(new: Json, old: Json) -> list[FieldError]:
    """Little of a running pod may change: images, deadline, more tolerations."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    for key in ("containers", "initContainers"):
        if len(spec.get(key) or ()) != len(before.get(key) or ()):
            return [forbidden(("spec", key), "pod updates may not add or remove containers")]
    if before.get("schedulingGates"):
        more, had = spec.get("nodeSelector") or {}, before.get("nodeSelector") or {}
        if any(more.get(key) != value for key, value in had.items()):
            text = "only additions are allowed (no mutations or deletions)"
            return [invalid(("spec", "nodeSelector"), more, text)]
        before = {**before, "nodeSelector": more}
        spec = {**spec, "nodeSelector": more}
    if _fixed_part(spec) != _fixed_part(before):
        return [forbidden(("spec",), UPDATE_FORBIDDEN)]
    errors: list[FieldError] = []
    tolerations = list(spec.get("tolerations") or ())
    if any(t not in tolerations for t in before.get("tolerations") or ()):
        text = "existing toleration can not be modified except its tolerationSeconds"
        errors.append(forbidden(("spec", "tolerations"), text))
    return errors


def _fixed_part(spec: Json) -> dict[str, Any]:
    """The spec without what may change. A pod that has no node yet may lose scheduling gates."""
    loose = {"activeDeadlineSeconds", "tolerations", "schedulingGates"}
    fixed = {k: v for k, v in spec.items() if k not in loose}
    for key in ("containers", "initContainers"):
        fixed[key] = [
            {k: v for k, v in container.items() if k != "image"}
            for container in spec.get(key) or ()
        ]
    return fixed

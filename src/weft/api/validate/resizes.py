"""Changes of a running pod's CPU and memory (subresource `resize`).

Source: the validation of pod resizes in Kubernetes, also for its words.
"""

from collections.abc import Mapping
from typing import Any

from weft.api.field_errors import FieldError, Location, forbidden
from weft.api.qos import qos_class

Json = Mapping[str, Any]

RESOURCES = ("cpu", "memory")
_LISTS = ("containers", "initContainers")
_ONLY = "only cpu and memory resources are mutable"


def resized(old: Json, new: Json) -> dict[str, Any]:
    """The pod with the resources that its containers have in `new`, and nothing else of it."""
    spec = dict(old.get("spec") or {})
    for key in _LISTS:
        wanted = {c.get("name"): c for c in (new.get("spec") or {}).get(key) or ()}
        if key in spec:
            spec[key] = [_with(c, wanted.get(c.get("name"))) for c in spec[key] or ()]
    return dict(old) | {"spec": spec}


def _with(container: Json, wanted: Json | None) -> dict[str, Any]:
    if wanted is None:
        return dict(container)
    rest = {k: v for k, v in container.items() if k != "resources"}
    return rest | ({"resources": wanted["resources"]} if "resources" in wanted else {})


def validate(new: Json, old: Json) -> list[FieldError]:
    """What is changed that may not be."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    if spec != (resized(old, new)["spec"]):
        return [forbidden(("spec",), _ONLY)]
    errors: list[FieldError] = []
    for key in _LISTS:
        for index, (now, was) in enumerate(
            zip(spec.get(key) or (), before.get(key) or (), strict=True)
        ):
            has, had = now.get("resources") or {}, was.get("resources") or {}
            at: Location = ("spec", key, index, "resources")
            if has == had:
                continue
            if key == "initContainers" and now.get("restartPolicy") != "Always":
                errors.append(forbidden(at, "resources for non-sidecar init containers are fixed"))
            errors += _container(has, had, at)
    if not errors and qos_class(spec) != qos_class(before):
        errors.append(forbidden(("spec",), "Pod QOS Class may not change as a result of resizing"))
    return errors


def _container(has: Json, had: Json, at: Location) -> list[FieldError]:
    errors = []
    if (has.get("claims") or []) != (had.get("claims") or []):
        errors.append(forbidden((*at, "claims"), _ONLY))
    for side in ("requests", "limits"):
        now, was = has.get(side) or {}, had.get(side) or {}
        for name in sorted({*now, *was}):
            if now.get(name) == was.get(name):
                continue
            if name not in RESOURCES:
                errors.append(forbidden((*at, side, name), _ONLY))
            elif name not in now:
                errors.append(forbidden((*at, side), f"resource {side} cannot be removed"))
    return errors

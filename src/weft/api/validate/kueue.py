"""Rules of Kueue's kinds beyond their schemas, and what weft has not. Source: the rules in its
definitions and its webhooks."""

from collections.abc import Iterable, Mapping
from typing import Any

from weft.api.field_errors import FieldError, Location, forbidden, invalid, required
from weft.api.validate import names
from weft.api.validate.metadata import immutable
from weft.lib.quantity import parse_quantity

Json = Mapping[str, Any]
_SPEC: Location = ("spec",)
_GROUPS: Location = ("spec", "resourceGroups")
GROUPS_MAX, FLAVORS_MAX, RESOURCES_MAX, NODE_LABELS_MAX, POD_SETS_MAX = 16, 64, 64, 8, 8


def validate_cluster_queue(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    alone = not spec.get("cohortName")
    errors = _groups(spec.get("resourceGroups") or (), limits=not alone, of="cohortName")
    errors += _subdomain(spec, _SPEC, "cohortName")
    errors += names.label_selector(spec.get("namespaceSelector"), (*_SPEC, "namespaceSelector"))
    if (spec.get("admissionChecksStrategy") or {}).get("admissionChecks"):
        text = "weft runs no AdmissionChecks: leave them out, quota alone admits"
        errors.append(forbidden((*_SPEC, "admissionChecksStrategy"), text))
    return errors + _preemption(spec) + _fungibility(spec)


def _preemption(spec: Json) -> list[FieldError]:
    found = spec.get("preemption") or {}
    borrow = (found.get("borrowWithinCohort") or {}).get("policy") or "Never"
    if borrow != "Never" and (found.get("reclaimWithinCohort") or "Never") == "Never":
        text = "takes effect only with `reclaimWithinCohort` other than Never"
        return [invalid((*_SPEC, "preemption", "borrowWithinCohort", "policy"), borrow, text)]
    return []


def _fungibility(spec: Json) -> list[FieldError]:
    found = spec.get("flavorFungibility") or {}
    both = (found.get("whenCanBorrow"), found.get("whenCanPreempt"))
    if found.get("preference") and both != ("TryNextFlavor", "TryNextFlavor"):
        text = "can only be given when `whenCanBorrow` and `whenCanPreempt` are TryNextFlavor"
        at = (*_SPEC, "flavorFungibility", "preference")
        return [invalid(at, found["preference"], text)]
    return []


def validate_cohort(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    parent = spec.get("parentName") or ""
    errors = _groups(spec.get("resourceGroups") or (), limits=bool(parent), of="parentName")
    if parent and parent == (obj.get("metadata") or {}).get("name"):
        errors.append(invalid((*_SPEC, "parentName"), parent, "a cohort is no part of itself"))
    return errors + _subdomain(spec, _SPEC, "parentName")


def _groups(groups: Iterable[Json], *, limits: bool, of: str) -> list[FieldError]:
    """`limits`: there is somebody to borrow of, which the field `of` says."""
    errors: list[FieldError] = []
    resources: set[str] = set()
    flavors: set[str] = set()
    for index, group in enumerate(groups):
        at = (*_GROUPS, index)
        covered = list(group.get("coveredResources") or ())
        for place, name in enumerate(covered):
            here = (*at, "coveredResources", place)
            if problem := names.qualified_name_problem(name):
                errors.append(invalid(here, name, problem))
            elif name in resources:
                errors.append(invalid(here, name, "is covered already: each resource only once"))
            resources.add(name)
        if not covered:
            errors.append(required((*at, "coveredResources"), "at least one resource"))
        listed = group.get("flavors") or ()
        if not listed:
            errors.append(required((*at, "flavors"), "at least one flavor"))
        for place, flavor in enumerate(listed):
            here = (*at, "flavors", place)
            name = flavor.get("name") or ""
            if name in flavors:
                text = "stands in a group already: each flavor only once"
                errors.append(invalid((*here, "name"), name, text))
            flavors.add(name)
            errors += _flavor(flavor, covered, here, limits=limits, of=of)
        errors += _too_many(listed, (*at, "flavors"), FLAVORS_MAX)
        errors += _too_many(covered, (*at, "coveredResources"), RESOURCES_MAX)
    return errors + _too_many(list(groups), _GROUPS, GROUPS_MAX)


def _flavor(
    flavor: Json, covered: list[str], at: Location, *, limits: bool, of: str
) -> list[FieldError]:
    errors = _subdomain(flavor, at, "name")
    listed = flavor.get("resources") or ()
    if [r.get("name") for r in listed] != covered:
        text = f"must be the covered resources, in their order: {', '.join(covered)}"
        errors.append(invalid((*at, "resources"), [r.get("name") for r in listed], text))
    for index, resource in enumerate(listed):
        for field in ("nominalQuota", "borrowingLimit", "lendingLimit"):
            here, value = (*at, "resources", index, field), resource.get(field)
            if value is None:
                continue
            if wrong := names.quantity(value, here):
                errors += wrong
            elif parse_quantity(value) < 0:
                errors.append(invalid(here, value, "must be greater than or equal to 0"))
            elif field != "nominalQuota" and not limits:
                errors.append(invalid(here, value, f"must be nil when {of} is empty"))
    return errors


def validate_local_queue(obj: Json) -> list[FieldError]:
    return _subdomain(obj.get("spec") or {}, _SPEC, "clusterQueue")


def validate_local_queue_update(new: Json, old: Json) -> list[FieldError]:
    return immutable(new.get("spec") or {}, old.get("spec") or {}, _SPEC, "clusterQueue")


def validate_flavor(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    errors = _too_many(spec.get("nodeLabels") or {}, (*_SPEC, "nodeLabels"), NODE_LABELS_MAX)
    errors += _too_many(spec.get("nodeTaints") or (), (*_SPEC, "nodeTaints"), NODE_LABELS_MAX)
    errors += _too_many(spec.get("tolerations") or (), (*_SPEC, "tolerations"), NODE_LABELS_MAX)
    for key, value in (spec.get("nodeLabels") or {}).items():
        problem = names.qualified_name_problem(key) or names.label_value_problem(value)
        if problem:
            errors.append(invalid((*_SPEC, "nodeLabels", key), value, problem))
    if spec.get("topologyName"):
        text = "weft does not place by topology: leave it out, `nodeLabels` choose the nodes"
        errors.append(forbidden((*_SPEC, "topologyName"), text))
    return errors


def validate_workload(obj: Json) -> list[FieldError]:
    spec = obj.get("spec") or {}
    pods = spec.get("podSets") or ()
    errors = _too_many(pods, (*_SPEC, "podSets"), POD_SETS_MAX)
    if not pods:
        errors.append(required((*_SPEC, "podSets"), "at least one set of pods"))
    for index, each in enumerate(pods):
        least = each.get("minCount")
        if least is not None and least > (each.get("count") or 0):
            text = "must be at most `count`"
            errors.append(invalid((*_SPEC, "podSets", index, "minCount"), least, text))
    if spec.get("priorityClassRef") and spec.get("priority") is None:
        errors.append(required((*_SPEC, "priority"), "when `priorityClassRef` is given"))
    return errors + _subdomain(spec, _SPEC, "queueName")


def _subdomain(parent: Json, at: Location, field: str) -> list[FieldError]:
    value = parent.get(field) or ""
    problem = names.subdomain_problem(value) if value else ""
    return [invalid((*at, field), value, problem)] if problem else []


def _too_many(listed: Any, at: Location, most: int) -> list[FieldError]:
    if len(listed) <= most:
        return []
    return [invalid(at, f"{len(listed)} items", f"must have at most {most} items")]

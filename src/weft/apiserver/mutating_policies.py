"""MutatingAdmissionPolicies: compiled once, and what they make of an object. Pure.

Source: admissionregistration.k8s.io/v1beta1 (Kubernetes 1.34) and v1alpha1 (1.33). Mutations run
in their order, each sees what the one before made.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from weft.api.cel import mutations
from weft.api.cel.syntax import CelError
from weft.api.errors import ApiError
from weft.api.schema import Schema
from weft.apiserver import admission_policies as policies
from weft.apiserver import patches, structured_merge
from weft.apiserver.field_paths import is_granular_map
from weft.apiserver.strategic import FieldRule

if TYPE_CHECKING:
    from weft.api.cel.program import Program

Json = Mapping[str, Any]
APPLY, PATCH = "ApplyConfiguration", "JSONPatch"


class Mutation(Struct, frozen=True, eq=False):
    """One of a policy's mutations."""

    how: str
    program: "Program"


class MutatingPolicy(Struct, frozen=True, eq=False):
    """A policy, ready to be asked."""

    name: str
    ignores_failures: bool
    reinvoked: bool
    constraints: Json
    conditions: tuple["Program", ...]
    variables: Mapping[str, "Program"]
    mutations: tuple[Mutation, ...]
    param_kind: tuple[str, str] | None


def compile_policy(obj: Json) -> MutatingPolicy:
    """Raises CelError for expressions that cannot be compiled; those are not stored."""
    spec = obj.get("spec") or {}
    kind = spec.get("paramKind")
    return MutatingPolicy(
        obj["metadata"]["name"],
        spec.get("failurePolicy") == "Ignore",
        spec.get("reinvocationPolicy") == "IfNeeded",
        spec.get("matchConstraints") or {},
        policies.conditions(spec.get("matchConditions") or ()),
        {v["name"]: policies.program(v["expression"]) for v in spec.get("variables") or ()},
        tuple(_mutation(m) for m in spec.get("mutations") or ()),
        (kind["apiVersion"], kind["kind"]) if kind else None,
    )


def _mutation(found: Json) -> Mutation:
    how = found["patchType"]
    part = found["jsonPatch" if how == PATCH else "applyConfiguration"]
    return Mutation(how, policies.program(part["expression"], mutating=True))


def mutate(
    policy: MutatingPolicy, values: Mapping[str, Any], obj: dict[str, Any], schema: Schema | None
) -> dict[str, Any]:
    """What the policy makes of an object, in the same version. Raises CelError."""
    if not policies.Evaluation(values, policy.variables).all_hold(policy.conditions):
        return obj
    for mutation in policy.mutations:
        evaluation = policies.Evaluation({**values, "object": obj}, policy.variables)
        try:
            obj = _MUTATIONS[mutation.how](evaluation.run(mutation.program), obj, schema)
        except CelError as error:
            text = f"expression '{mutation.program.source.strip()}' resulted in error: {error}"
            raise CelError(text) from error
    return obj


def _applied(value: Any, obj: dict[str, Any], schema: Schema | None) -> dict[str, Any]:
    if not isinstance(value, mutations.Made) or value.type_name != mutations.OBJECT:
        raise CelError("must evaluate to Object")
    config: dict[str, Any] = mutations.plain(value)
    if bad := next(_undeclared(schema, config, ""), ""):
        raise CelError(f"invalid ApplyConfiguration: {bad}: field not declared in schema")
    if places := list(_atomic(schema, config, "")):
        raise CelError(
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: "
            + ", ".join(places)
        )
    made: dict[str, Any] = structured_merge.merge(schema, obj, config)
    return made


def _atomic(schema: Schema | None, value: Any, at: str) -> Iterator[str]:
    """The places that would be replaced whole."""
    if isinstance(value, Mapping):
        if at and not is_granular_map(schema):
            yield at
        for key, item in value.items():
            yield from _atomic(schema.child(key) if schema else None, item, f"{at}.{key}")
    elif isinstance(value, list):
        if schema is None or schema.list_type not in ("map", "set"):
            yield at
        for index, item in enumerate(value):
            yield from _atomic(schema.items if schema else None, item, f"{at}[{index}]")


def _undeclared(schema: Schema | None, value: Any, at: str) -> Iterator[str]:
    """The fields that the object's schema does not have."""
    if schema is None or schema.type == "any":
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            below = schema.child(key)
            if below is None and schema.type == "object":
                yield f"{at}.{key}"
            yield from _undeclared(below, item, f"{at}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _undeclared(schema.items, item, f"{at}[{index}]")


def _patched(value: Any, obj: dict[str, Any], _: Schema | None) -> dict[str, Any]:
    if not isinstance(value, list):
        raise CelError("must evaluate to a list of JSONPatch")
    for item in value:
        if not isinstance(item, mutations.Made) or item.type_name != mutations.JSON_PATCH:
            raise CelError("must evaluate to a list of JSONPatch")
    try:
        made = patches.apply("json", obj, mutations.plain(value), lambda _: FieldRule())
    except ApiError as error:
        raise CelError(f"JSON Patch: {error.message}") from error
    if not isinstance(made.get("metadata"), dict):
        raise CelError("JSON Patch: the patch removes metadata")
    return made


_MUTATIONS: Mapping[str, Callable[[Any, dict[str, Any], Schema | None], dict[str, Any]]] = {
    APPLY: _applied,
    PATCH: _patched,
}

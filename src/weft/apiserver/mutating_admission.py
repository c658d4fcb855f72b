"""Asks MutatingAdmissionPolicies about every write, before the mutating webhooks."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from weft.api import schema
from weft.api.cel.syntax import CelError
from weft.api.errors import ApiError
from weft.apiserver import admission_matching as matching
from weft.apiserver import admission_policies as policies
from weft.apiserver import failures, mutating_policies
from weft.apiserver.access import Review, Verdict
from weft.apiserver.mutating_policies import MutatingPolicy
from weft.apiserver.policy_admission import PolicyReader, Surroundings

Json = Mapping[str, Any]
_NOTHING = Verdict()
_IDENTITY = ("name", "namespace", "uid")


class _Bound(Struct, frozen=True):
    """A policy with one of its bindings."""

    policy: MutatingPolicy
    binding: Json


class MutatingPolicyAdmission:
    """access.Admission of the mutating phase."""

    def __init__(self, reader: PolicyReader[MutatingPolicy], around: Surroundings) -> None:
        self._reader = reader
        self._surroundings = around

    async def review(self, asked: Review) -> Verdict:
        """As Admission.review. Raises ApiError when a policy fails that must not."""
        if matching.exempt(asked) or asked.new is None:
            return _NOTHING
        bound = [_Bound(p, b) for p, b in await self._reader.bound()]
        if not bound:
            return _NOTHING
        namespace = await self._surroundings.namespace(asked)
        first = asked.new
        seen: dict[int, Any] = {}
        for round_ in (0, 1):
            for index, each in enumerate(bound):
                if round_ and (not each.policy.reinvoked or seen.get(index) == asked.new):
                    continue
                asked = await self._mutated(each, asked, namespace)
                seen[index] = asked.new
        return Verdict(asked.new) if asked.new != first else _NOTHING

    async def _mutated(self, each: _Bound, asked: Review, namespace: Json | None) -> Review:
        try:
            return await self._made(each, asked, namespace)
        except (CelError, LookupError) as error:
            if each.policy.ignores_failures:
                return asked
            text = str(error.args[0] if error.args else error)
            raise _denial(each, asked, text) from error

    async def _made(self, each: _Bound, asked: Review, namespace: Json | None) -> Review:
        """Raises CelError, LookupError."""
        policy = each.policy
        covered = self._reader.covers(policy.constraints, each.binding, asked, namespace)
        if covered is None or asked.new is None:
            return asked
        spec = each.binding.get("spec") or {}
        found = await self._reader.params(policy.param_kind, spec.get("paramRef"), asked)
        tree = None
        if not matching.is_another_kind(asked):
            tree = schema.schema_for(asked.kind, covered.version)
        converter = self._surroundings.converter
        for params in found:
            there = await converter.asked(replace(asked, old=None), covered.version)
            values = await self._surroundings.values(asked, namespace, covered.version)
            before = matching.shown(there.new, asked, covered.version) or {}
            made = mutating_policies.mutate(policy, {**values, "params": params}, before, tree)
            if made == before:
                continue
            _check_identity(before, made)
            assert there.new is not None
            head: dict[str, Any] = {
                key: there.new[key] for key in ("apiVersion", "kind") if key in there.new
            }
            made = {**made, **head}
            if there.new is not asked.new:
                back = replace(asked, new=made, old=None, version=covered.version)
                own = asked.version or asked.kind.version
                made = (await converter.asked(back, own)).new or made
            asked = replace(asked, new=made)
        return asked


def _check_identity(before: Json, made: Json) -> None:
    """Raises CelError."""
    for key in ("apiVersion", "kind"):
        if made.get(key) != before.get(key):
            raise CelError(f"the mutation changes {key}")
    old, new = before.get("metadata") or {}, made.get("metadata") or {}
    for key in _IDENTITY:
        if (old.get(key) or "") != (new.get(key) or ""):
            raise CelError(f"the mutation changes metadata.{key}")


def _denial(each: _Bound, asked: Review, text: str) -> ApiError:
    where = f"policy '{each.policy.name}' with binding '{each.binding['metadata']['name']}'"
    error = failures.forbidden(asked.kind, asked.name, f"{where} denied request: {text}")
    error.reason, error.code = "Invalid", policies.CODES["Invalid"]
    return error

"""Asks ValidatingAdmissionPolicies about every write. Pure but for reading the store.

Policies and bindings are read from the store for each write, so a policy is in force with the
answer to its creation; what was compiled from one is kept by its revision.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

import orjson

from weft.api import registry
from weft.api.cel.authorizer import Authorizer, Question
from weft.api.errors import ApiError
from weft.api.kinds import Kind
from weft.api.selectors import matches_selector
from weft.apiserver import admission_matching as matching
from weft.apiserver import admission_policies as policies
from weft.apiserver import audit, codec, failures, keys, verbs
from weft.apiserver.access import (
    Attributes,
    Review,
    User,
    Verdict,
    service_account_groups,
    service_account_name,
)
from weft.apiserver.access import (
    Authorizer as Access,
)
from weft.apiserver.admission_policies import Failure, Policy
from weft.apiserver.conversion_review import Converter, Unconverted
from weft.apiserver.definitions import Definitions
from weft.store.interface import Entry, Store

Json = Mapping[str, Any]
P = TypeVar("P")
_NOTHING = Verdict()
COMPILED_KEPT_MAX = 1000
NAMESPACES_KEPT_MAX = 1000
FAILURE_NOTE = "validation.policy.admission.k8s.io/validation_failure"


def admission_kind(plural: str) -> Kind:
    """A kind of admissionregistration.k8s.io."""
    found = registry.by_resource(matching.GROUP, "v1", plural)
    found = found or registry.by_resource(matching.GROUP, "v1beta1", plural)
    assert found is not None
    return found


class Surroundings:
    """What expressions see beside the object: its namespace, who may what."""

    def __init__(self, store: Store, access: Access, converter: Converter | None = None) -> None:
        self._store = store
        self._access = access
        self.converter = converter or Unconverted()
        self._namespaces = verbs.known_kind("namespaces")
        self._read: dict[tuple[str, int], dict[str, Any]] = {}

    async def namespace(self, asked: Review) -> dict[str, Any] | None:
        """The namespace of the object; of a namespace, itself."""
        if asked.kind is self._namespaces:
            return asked.new or asked.old
        if not asked.namespace:
            return None
        entry = await self._store.get(keys.key(self._namespaces, asked.namespace))
        if entry is None:
            return None
        known = (entry.key, entry.mod_revision)
        if known not in self._read:
            if len(self._read) >= NAMESPACES_KEPT_MAX:
                self._read.clear()
            self._read[known] = matching.shown_plain(self._namespaces, entry.value)
        return self._read[known]

    def authorizer(self, asked: Review) -> Authorizer:
        """For `authorizer`, about the user of the request."""

        def decide(question: Question) -> tuple[bool, str]:
            user = asked.user
            if question.account is not None:
                namespace, name = question.account
                groups = (*service_account_groups(namespace), "system:authenticated")
                user = User(service_account_name(namespace, name), groups)
            decision = self._access.decide(
                user,
                Attributes(
                    question.verb, path=question.path, group=question.group, version="*",
                    resource=question.resource, subresource=question.subresource,
                    namespace=question.namespace, name=question.name,
                ),
            )  # fmt: skip
            return decision.allowed, decision.reason

        made = Authorizer(decide, Question())
        made.request_resource = Question(
            group=asked.kind.group, resource=asked.kind.plural, subresource=asked.subresource,
            namespace=asked.namespace, name=asked.name,
        )  # fmt: skip
        return made

    async def values(self, asked: Review, namespace: Json | None, version: str) -> dict[str, Any]:
        """The variables of an expression, without `params`. Raises ApiError 500."""
        asked = await self.converter.asked(asked, version)
        return {
            "object": matching.shown(asked.new, asked, version),
            "oldObject": matching.shown(asked.old, asked, version),
            "request": matching.request(asked, version, ""),
            "namespaceObject": namespace,
            "authorizer": self.authorizer(asked),
        }


class PolicyReader(Generic[P]):
    """The policies and bindings of the store, `validating` or `mutating`, and their parameters."""

    def __init__(
        self,
        which: Literal["validating", "mutating"],
        store: Store,
        definitions: Definitions,
        around: Surroundings,
        compile_policy: Callable[[Json], P],
    ) -> None:
        self._store = store
        self._definitions = definitions
        self._surroundings = around
        self._compile_policy = compile_policy
        self._policies = admission_kind(f"{which}admissionpolicies")
        self._bindings = admission_kind(f"{which}admissionpolicybindings")
        self._compiled: dict[tuple[str, int], P] = {}
        self._parsed: dict[tuple[str, int], Json] = {}

    async def bound(self) -> list[tuple[P, Json]]:
        """Every binding with its policy, in the order of the bindings' names."""
        bindings = (await self._store.range(keys.prefix(self._bindings))).entries
        found: list[tuple[P, Json]] = []
        for entry in bindings:
            binding = self._binding(entry)
            policy = await self._policy(binding)
            if policy is not None:
                found.append((policy, binding))
        return found

    def _binding(self, entry: Entry) -> Json:
        known = (entry.key, entry.mod_revision)
        if known not in self._parsed:
            if len(self._parsed) >= COMPILED_KEPT_MAX:
                self._parsed.clear()
            self._parsed[known] = codec.to_object(entry.value)
        return self._parsed[known]

    async def _policy(self, binding: Json) -> P | None:
        name = (binding.get("spec") or {}).get("policyName") or ""
        entry = await self._store.get(keys.key(self._policies, name))
        return self._compile(entry) if entry is not None else None

    def _compile(self, entry: Entry) -> P:
        known = (entry.key, entry.mod_revision)
        found = self._compiled.get(known)
        if found is None:
            if len(self._compiled) >= COMPILED_KEPT_MAX:
                self._compiled.clear()
            found = self._compile_policy(codec.to_object(entry.value))
            self._compiled[known] = found
        return found

    def covers(
        self, constraints: Json, binding: Json, asked: Review, namespace: Json | None
    ) -> matching.Matched | None:
        """Whether a policy is asked about a write, as this binding narrows it."""
        covered = matching.covers(constraints, asked, namespace)
        narrowed = (binding.get("spec") or {}).get("matchResources") or {}
        if covered is None or not narrowed:
            return covered
        everything = {**narrowed, "resourceRules": narrowed.get("resourceRules") or _EVERYTHING}
        inside = matching.covers(everything, asked, namespace)
        return covered if inside is not None else None

    async def params(
        self, param_kind: tuple[str, str] | None, reference: Json | None, asked: Review
    ) -> list[dict[str, Any] | None]:
        """The parameters to evaluate with, one after the other. Raises LookupError."""
        if param_kind is None or reference is None:
            return [None]
        api_version, name = param_kind
        kind = self._kind(api_version, name)
        if kind is None:
            raise LookupError(f"failed to find resource referenced by paramKind: "
                              f"'{api_version}, Kind={name}'")  # fmt: skip
        namespace = ""
        if kind.namespaced:
            namespace = reference.get("namespace") or asked.namespace
            if not namespace:
                raise LookupError("cannot use namespaced paramRef in policy binding that matches "
                                  "cluster-scoped resources")  # fmt: skip
        elif reference.get("namespace"):
            raise LookupError("paramRef.namespace must not be provided for a cluster-scoped "
                              "`paramKind`")  # fmt: skip
        found: list[dict[str, Any] | None] = [
            matching.shown_plain(kind, value, api_version)
            for value in await self._chosen(kind, api_version, namespace, reference)
        ]
        if not found and (reference.get("parameterNotFoundAction") or "Deny") != "Allow":
            raise LookupError("no params found for policy binding with `Deny` "
                              "parameterNotFoundAction")  # fmt: skip
        return found

    async def _chosen(
        self, kind: Kind, api_version: str, namespace: str, reference: Json
    ) -> Iterable[bytes]:
        name = reference.get("name") or ""
        if name:
            entry = await self._store.get(keys.key(kind, name, namespace))
            entries: Sequence[Entry] = (entry,) if entry is not None else ()
        else:
            entries = (await self._store.range(keys.prefix(kind, namespace))).entries
        version = api_version.rpartition("/")[2]
        try:
            entries = await self._surroundings.converter.entries(kind, version, entries)
        except ApiError as error:
            raise LookupError(error.message) from error
        if name:
            return [entry.value for entry in entries]
        selector = reference.get("selector")
        return [e.value for e in entries if matches_selector(selector, codec.labels(e.value))]

    def _kind(self, api_version: str, name: str) -> Kind | None:
        group, _, version = api_version.rpartition("/")
        for kind in self._definitions.catalog.kinds:
            if kind.group == group and kind.kind == name and version in kind.versions:
                return kind
        return None


class PolicyAdmission:
    """access.Admission, to be asked after validation."""

    def __init__(self, store: Store, definitions: Definitions, around: Surroundings) -> None:
        self._surroundings = around
        self._reader = PolicyReader(
            "validating", store, definitions, around, policies.compile_policy
        )

    async def review(self, asked: Review) -> Verdict:
        """As Admission.review. Raises ApiError with the code of the first denial's reason."""
        if matching.exempt(asked):
            return _NOTHING
        bound = await self._reader.bound()
        if not bound:
            return _NOTHING
        namespace = await self._surroundings.namespace(asked)
        warnings: list[str] = []
        told: list[dict[str, Any]] = []
        denied: ApiError | None = None
        for policy, binding in bound:
            actions = (binding.get("spec") or {}).get("validationActions") or ()
            for failure in await self._ask(policy, binding, asked, namespace):
                where = f"'{policy.name}' with binding '{binding['metadata']['name']}'"
                if "Deny" in actions:
                    denied = denied or _denial(asked, where, failure)
                if "Warn" in actions:
                    text = f"Validation failed for ValidatingAdmissionPolicy {where}: "
                    warnings.append(text + failure.message)
                if "Audit" in actions:
                    told.append(_note(policy, binding, failure, actions))
        if told:
            audit.note(FAILURE_NOTE, orjson.dumps(told).decode())
        if denied is not None:
            raise denied
        return Verdict(warnings=tuple(warnings))

    async def _ask(
        self, policy: Policy, binding: Json, asked: Review, namespace: Json | None
    ) -> list[Failure]:
        covered = self._reader.covers(policy.constraints, binding, asked, namespace)
        if covered is None:
            return []
        reference = (binding.get("spec") or {}).get("paramRef")
        try:
            found = await self._reader.params(policy.param_kind, reference, asked)
        except LookupError as error:
            if policy.ignores_failures:
                return []
            return [Failure(f"failed to configure binding: {error.args[0]}")]
        values = await self._surroundings.values(asked, namespace, covered.version)
        failed: list[Failure] = []
        for params in found:
            outcome = policies.evaluate(policy, {**values, "params": params})
            failed += outcome.failures
            for key, text in outcome.notes.items():
                audit.note(key, text)
        return failed


_EVERYTHING = [
    {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*", "*/*"]}
]


def _denial(asked: Review, where: str, failure: Failure) -> ApiError:
    text = f"ValidatingAdmissionPolicy {where} denied request: {failure.message}"
    error = failures.forbidden(asked.kind, asked.name, text, [{"message": text}])
    error.reason = failure.reason
    error.code = policies.CODES.get(failure.reason, 422)
    return error


def _note(
    policy: Policy, binding: Json, failure: Failure, actions: Iterable[str]
) -> dict[str, Any]:
    return {
        "message": failure.message,
        "policy": policy.name,
        "binding": binding["metadata"]["name"],
        "expressionIndex": failure.index,
        "validationActions": list(actions),
    }

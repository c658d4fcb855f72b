"""ValidatingAdmissionPolicies: compiled once, evaluated for a write. Pure.

Source: admissionregistration.k8s.io/v1 and the words of kube-apiserver (1.33). Objects are plain
JSON in expressions, as they are there: times and quantities are strings.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from weft.api.cel import mutations
from weft.api.cel.syntax import STEPS_MAX, CelError
from weft.api.crd.rules import OBJECT_STEPS_MAX

if TYPE_CHECKING:
    from weft.api.cel.program import Program

Json = Mapping[str, Any]
VARIABLES = (
    "object", "oldObject", "request", "params", "namespaceObject", "authorizer", "variables",
)  # fmt: skip
CODES: Mapping[str, int] = {
    "Unauthorized": 401, "Forbidden": 403, "Invalid": 422, "RequestEntityTooLarge": 413,
}  # fmt: skip
"""Reasons that a validation may give, and the answer's code."""
AUDIT_VALUE_BYTES_MAX = 10 * 1024


class Validation(Struct, frozen=True, eq=False):
    """One of a policy's validations."""

    program: "Program"
    message: str
    message_program: "Program | None"
    reason: str


class Policy(Struct, frozen=True, eq=False):
    """A policy, ready to be asked."""

    name: str
    ignores_failures: bool
    constraints: Json
    conditions: tuple["Program", ...]
    variables: Mapping[str, "Program"]
    validations: tuple[Validation, ...]
    audits: tuple[tuple[str, "Program"], ...]
    param_kind: tuple[str, str] | None
    """apiVersion and kind of its parameters."""


class Failure(Struct, frozen=True):
    """Why a write does not pass."""

    message: str
    reason: str = "Invalid"
    index: int = 0
    """Of the expression, in its list."""


class Outcome(Struct, frozen=True):
    """What a policy says about a write: failures, and what the audit log is told."""

    failures: tuple[Failure, ...] = ()
    notes: Mapping[str, str] = {}


def compile_policy(obj: Json) -> Policy:
    """Raises CelError for expressions that cannot be compiled; those are not stored."""
    spec = obj.get("spec") or {}
    validations = tuple(
        Validation(
            program(v["expression"]),
            str(v.get("message") or "").strip(),
            program(v["messageExpression"]) if v.get("messageExpression") else None,
            v.get("reason") or "Invalid",
        )
        for v in spec.get("validations") or ()
    )
    audits = tuple(
        (a["key"], program(a["valueExpression"])) for a in spec.get("auditAnnotations") or ()
    )
    kind = spec.get("paramKind")
    return Policy(
        obj["metadata"]["name"],
        spec.get("failurePolicy") == "Ignore",
        spec.get("matchConstraints") or {},
        conditions(spec.get("matchConditions") or ()),
        {v["name"]: program(v["expression"]) for v in spec.get("variables") or ()},
        validations,
        audits,
        (kind["apiVersion"], kind["kind"]) if kind else None,
    )


def program(source: str, *, mutating: bool = False) -> "Program":
    """An expression of a policy or of a webhook's match conditions; one that is `mutating` may
    make objects and patches. Raises CelError."""
    from weft.api.cel import authorizer  # noqa: PLC0415 - only where expressions are
    from weft.api.cel.program import compile_expression  # noqa: PLC0415

    types = mutations.MutationTypes() if mutating else None
    return compile_expression(source, VARIABLES, authorizer.METHODS, types)


def conditions(listed: Sequence[Json]) -> tuple["Program", ...]:
    """Compiled match conditions. Raises CelError."""
    return tuple(program(c["expression"]) for c in listed)


class Lazy(Mapping[str, Any]):
    """`variables`: each is computed when it is first looked at."""

    def __init__(self, programs: Mapping[str, "Program"], run: Callable[["Program"], Any]) -> None:
        self._programs = programs
        self._run = run
        self._known: dict[str, Any] = {}
        self._begun: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        if name not in self._known:
            if name in self._begun:
                raise CelError(f"variable '{name}' refers to itself")
            self._begun.add(name)
            self._known[name] = self._run(self._programs[name])
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in self._programs

    def __iter__(self) -> Iterator[str]:
        return iter(self._programs)

    def __len__(self) -> int:
        return len(self._programs)


class Evaluation:
    """The expressions of one policy on one write, within one budget."""

    def __init__(self, values: Mapping[str, Any], variables: Mapping[str, "Program"]) -> None:
        self._left = OBJECT_STEPS_MAX
        self._values = {**values, "variables": Lazy(variables, self.run)}

    def run(self, of: "Program") -> Any:
        """The value. Raises CelError, also when the budget is spent."""
        budget = min(STEPS_MAX, self._left)
        found, left = of.evaluate_counted(self._values, budget)
        self._left -= budget - left
        return found

    def holds(self, of: "Program") -> bool:
        """Raises CelError."""
        try:
            found = self.run(of)
            if not isinstance(found, bool):
                raise CelError("the expression does not give a bool")
        except CelError as error:
            text = f"expression '{of.source.strip()}' resulted in error: {error}"
            raise CelError(text) from error
        return found

    def all_hold(self, of: Sequence["Program"]) -> bool:
        """As match conditions are read: one that is false decides, whatever the others come to.
        Raises CelError."""
        failed: CelError | None = None
        for condition in of:
            try:
                if not self.holds(condition):
                    return False
            except CelError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return True


def evaluate(policy: Policy, values: Mapping[str, Any]) -> Outcome:
    """What a policy says, with the values of `VARIABLES` but for `variables`. Errors are failures
    unless the policy ignores them."""
    evaluation = Evaluation(values, policy.variables)
    try:
        if not evaluation.all_hold(policy.conditions):
            return Outcome()
    except CelError as error:
        return Outcome(() if policy.ignores_failures else (Failure(str(error)),))
    failures: list[Failure] = []
    for index, validation in enumerate(policy.validations):
        try:
            if not evaluation.holds(validation.program):
                text = _message(evaluation, validation)
                failures.append(Failure(text, validation.reason, index))
        except CelError as error:
            if not policy.ignores_failures:
                failures.append(Failure(str(error), index=index))
    notes: dict[str, str] = {}
    for key, of in policy.audits:
        try:
            value = evaluation.run(of)
            if value is not None and not isinstance(value, str):
                raise CelError("valueExpression must evaluate to a string or null")
            if value and (text := value.strip()):
                cut = text.encode()[:AUDIT_VALUE_BYTES_MAX].decode(errors="ignore")
                notes[f"{policy.name}/{key}"] = cut
        except CelError as error:
            if not policy.ignores_failures:
                failures.append(Failure(str(error)))
    return Outcome(tuple(failures), notes)


def _message(evaluation: Evaluation, validation: Validation) -> str:
    if validation.message_program is not None:
        try:
            made = evaluation.run(validation.message_program)
        except CelError:
            made = None
        if isinstance(made, str) and made.strip() and "\n" not in made.strip():
            return made.strip()
    return validation.message or f"failed expression: {validation.program.source.strip()}"

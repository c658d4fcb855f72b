"""The `authorizer` of admission expressions: may somebody do something? Pure.

Source: Kubernetes' CEL authorizer library. Field and label selectors of a check are taken and do
not narrow it, as with every authorizer that does not know them.
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from weft.api.cel.syntax import CelError
from weft.api.cel.values import Opaque, no_overload


class Question(Struct, frozen=True):
    """What is asked; `account` is (namespace, name) of a service account asked about instead of
    the request's user."""

    verb: str = ""
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    account: tuple[str, str] | None = None


Decide = Callable[[Question], tuple[bool, str]]
"""Whether it is allowed, and why."""


class Authorizer(Opaque):
    """`authorizer`, and what its methods narrow it to."""

    type_name = "kubernetes.authorization.Authorizer"

    def __init__(self, decide: Decide, asked: Question, about: str = "") -> None:
        self.decide = decide
        self.asked = asked
        self.about = about
        """"" for the authorizer itself, `group`, `resource` or `path` below it."""
        self.request_resource: Question | None = None

    def __getitem__(self, field: str) -> "Authorizer":
        if field == "requestResource" and self.request_resource is not None:
            return Authorizer(self.decide, self.request_resource, "resource")
        raise CelError(f"no such key: {field}")

    def same(self, other: Opaque) -> bool:
        return isinstance(other, Authorizer) and self.asked == other.asked


class Answer(Opaque):
    type_name = "kubernetes.authorization.Decision"

    def __init__(self, allowed: bool, reason: str) -> None:
        self.allowed = allowed
        self.reason = reason

    def same(self, other: Opaque) -> bool:
        return isinstance(other, Answer) and self.allowed == other.allowed


def _step(name: str, before: str, after: str, field: str) -> Callable[[Any, Any], Authorizer]:
    def run(target: Any, value: Any) -> Authorizer:
        if not isinstance(target, Authorizer) or target.about != before:
            raise no_overload(name, target)
        if not isinstance(value, str):
            raise no_overload(name, target, value)
        return Authorizer(target.decide, replace(target.asked, **{field: value}), after)

    return run


def _account(target: Any, namespace: Any, name: Any) -> Authorizer:
    if not isinstance(target, Authorizer) or target.about:
        raise no_overload("serviceAccount", target)
    if not isinstance(namespace, str) or not isinstance(name, str) or not (namespace and name):
        raise CelError("Invalid service account")
    return Authorizer(target.decide, replace(target.asked, account=(namespace, name)))


def _selector(target: Any, value: Any) -> Authorizer:
    if not isinstance(target, Authorizer) or target.about != "resource":
        raise no_overload("labelSelector", target, value)
    return target


def _check(target: Any, verb: Any) -> Answer:
    if not isinstance(target, Authorizer) or target.about not in ("resource", "path"):
        raise no_overload("check", target)
    if not isinstance(verb, str):
        raise no_overload("check", target, verb)
    return Answer(*target.decide(replace(target.asked, verb=verb)))


def _of_answer(name: str, read: Callable[[Answer], Any]) -> Callable[[Any], Any]:
    def run(value: Any) -> Any:
        if not isinstance(value, Answer):
            raise no_overload(name, value)
        return read(value)

    return run


METHODS: Mapping[str, Callable[..., Any]] = {
    "path": _step("path", "", "path", "path"),
    "group": _step("group", "", "group", "group"),
    "resource": _step("resource", "group", "resource", "resource"),
    "subresource": _step("subresource", "resource", "resource", "subresource"),
    "namespace": _step("namespace", "resource", "resource", "namespace"),
    "name": _step("name", "resource", "resource", "name"),
    "serviceAccount": _account,
    "fieldSelector": _selector,
    "labelSelector": _selector,
    "check": _check,
    "allowed": _of_answer("allowed", lambda answer: answer.allowed),
    "reason": _of_answer("reason", lambda answer: answer.reason),
    "errored": _of_answer("errored", lambda answer: False),
    "error": _of_answer("error", lambda answer: ""),
}

"""Questions about access, asked as objects that are never stored: may I, may they, who am I, is
this token good. Pure but for the authenticator it is given."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from weft.api.errors import ApiError
from weft.apiserver import failures, rbac
from weft.apiserver.access import Attributes, Decision, User
from weft.apiserver.request import Target
from weft.lib.timefmt import rfc3339

AUTHORIZATION, AUTHENTICATION = "authorization.k8s.io", "authentication.k8s.io"
GROUPS = (AUTHORIZATION, AUTHENTICATION)
Json = Mapping[str, Any]


class Rules(Protocol):
    """An authorizer that can also list what somebody may do."""

    def decide(self, user: User, wanted: Attributes) -> Decision: ...
    def rules_for(self, user: User, namespace: str) -> Sequence[Json]: ...


class Identified(Protocol):
    """What is known of a bearer token."""

    @property
    def user(self) -> User: ...
    @property
    def audiences(self) -> tuple[str, ...]: ...


Authenticate = Callable[[str, tuple[str, ...]], Awaitable[Identified | None]]
"""Who a token stands for, for these audiences (none: the API server's own); None for nobody."""


class Reviews:
    """Answers each kind of review."""

    def __init__(self, rules: Rules, authenticate: Authenticate) -> None:
        self._rules = rules
        self._authenticate = authenticate

    async def create(self, target: Target, obj: Json, user: User, now: float) -> dict[str, Any]:
        """The object with its status. Raises ApiError 400, 422."""
        spec = obj.get("spec") or {}
        match target.kind.kind:
            case "SelfSubjectAccessReview":
                status = self._access(target, user, spec)
            case "SubjectAccessReview":
                status = self._access(target, _subject(target, spec), spec)
            case "LocalSubjectAccessReview":
                status = self._local(target, spec)
            case "SelfSubjectRulesReview":
                status = self._rules_review(user, spec)
            case "SelfSubjectReview":
                status = {"userInfo": user_info(user)}
            case _:
                status = await self._token(spec)
        made = {**(obj.get("metadata") or {})}
        if target.kind.kind == "SelfSubjectReview":
            made["creationTimestamp"] = rfc3339(now)
        if target.namespace:
            made["namespace"] = target.namespace
        return {**obj, "metadata": made, "status": status}

    def _local(self, target: Target, spec: Json) -> dict[str, Any]:
        namespace = (spec.get("resourceAttributes") or {}).get("namespace") or ""
        if namespace != target.namespace:
            text = f"must match metadata.namespace: {target.namespace}"
            raise _invalid(target, "spec.resourceAttributes.namespace", namespace, text)
        return self._access(target, _subject(target, spec), spec)

    def _access(self, target: Target, user: User, spec: Json) -> dict[str, Any]:
        decision = self._rules.decide(user, _attributes(target, spec))
        status: dict[str, Any] = {"allowed": decision.allowed}
        return status | ({"reason": decision.reason} if decision.reason else {})

    def _rules_review(self, user: User, spec: Json) -> dict[str, Any]:
        namespace = spec.get("namespace") or ""
        if not namespace:
            raise failures.bad_request("no namespace on request")
        found = rbac.compact(self._rules.rules_for(user, namespace))
        return {
            "resourceRules": [r for r in found if "nonResourceURLs" not in r],
            "nonResourceRules": [r for r in found if "nonResourceURLs" in r],
            "incomplete": False,
        }

    async def _token(self, spec: Json) -> dict[str, Any]:
        token, audiences = spec.get("token") or "", tuple(spec.get("audiences") or ())
        if not token:
            raise failures.bad_request("token is required for TokenReview in authentication")
        found = await self._authenticate(token, audiences)
        if found is None:
            return {"user": {}, "error": "invalid bearer token"}
        status: dict[str, Any] = {"authenticated": True, "user": user_info(found.user)}
        return status | ({"audiences": list(found.audiences)} if audiences else {})


def user_info(user: User) -> dict[str, Any]:
    """As authentication.k8s.io/v1 shows a user."""
    found: dict[str, Any] = {"username": user.name}
    if user.uid:
        found["uid"] = user.uid
    if user.groups:
        found["groups"] = list(user.groups)
    if user.extra:
        found["extra"] = {key: list(values) for key, values in sorted(user.extra.items())}
    return found


def _subject(target: Target, spec: Json) -> User:
    name, groups = spec.get("user") or "", tuple(spec.get("groups") or ())
    if not name and not groups:
        text = "at least one of user or group must be specified"
        raise _invalid(target, "spec.user", "", text)
    extra = {k: tuple(v) for k, v in (spec.get("extra") or {}).items()}
    return User(name, groups, spec.get("uid") or "", extra)


def _attributes(target: Target, spec: Json) -> Attributes:
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) == (other is None):
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise _invalid(target, "spec.resourceAttributes", None, text)
    if other is not None:
        return Attributes(other.get("verb") or "", path=other.get("path") or "")
    assert resource is not None
    return Attributes(
        resource.get("verb") or "",
        group=resource.get("group") or "",
        version=resource.get("version") or "",
        resource=resource.get("resource") or "",
        subresource=resource.get("subresource") or "",
        namespace=resource.get("namespace") or "",
        name=resource.get("name") or "",
    )


def _invalid(target: Target, field: str, value: Any, text: str) -> ApiError:
    shown = "null" if value is None else f'"{value}"'
    cause = {"reason": "FieldValueInvalid", "message": f"Invalid value: {shown}: {text}",
             "field": field}  # fmt: skip
    return failures.invalid(target.kind, "", [cause])

"""The audit log's policy and events, as audit.k8s.io/v1 has them. Pure.

Bodies that hold secrets never get into an event, whatever the policy says.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Literal

import msgspec
import orjson
from msgspec import Struct

from weft.apiserver.access import Attributes, Decision, User
from weft.lib.timefmt import rfc3339_micro

Level = Literal["None", "Metadata", "Request", "RequestResponse"]
Stage = Literal["RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"]
BODY_BYTES_MAX = 64 * 1024
"""A larger body is left out of its event, which says so."""
SECRET_BODIES = frozenset(
    {("", "secrets"), ("", "serviceaccounts/token"), ("authentication.k8s.io", "tokenreviews")}
)
"""Group and resource of what is logged with its metadata at most."""
_CAMEL = "camel"
_OBJECTS = ("requestObject", "responseObject")
_TOO_DEEP = {"omitted": "nested too deeply"}


class PolicyError(Exception):
    """The policy cannot be used: says where and why."""


class GroupResources(Struct, frozen=True, rename=_CAMEL, forbid_unknown_fields=True):
    """Resources of one API group; none named means all."""

    group: str = ""
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()


class PolicyRule(Struct, frozen=True, rename={
    "user_groups": "userGroups", "non_resource_urls": "nonResourceURLs",
    "omit_stages": "omitStages", "omit_managed_fields": "omitManagedFields",
}, forbid_unknown_fields=True):  # fmt: skip
    """What is said of requests that it matches; an empty field matches everything."""

    level: Level
    users: tuple[str, ...] = ()
    user_groups: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    resources: tuple[GroupResources, ...] = ()
    namespaces: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = ()
    omit_stages: tuple[Stage, ...] = ()
    omit_managed_fields: bool | None = None


class Policy(Struct, frozen=True, rename=_CAMEL, forbid_unknown_fields=True):
    """The first rule that matches counts; without one nothing is logged."""

    rules: tuple[PolicyRule, ...]
    api_version: str = ""
    kind: str = ""
    metadata: Any = None
    omit_stages: tuple[Stage, ...] = ()
    omit_managed_fields: bool = False


class Verdict(Struct, frozen=True):
    """How much of a request is logged."""

    level: Level = "None"
    omit_stages: frozenset[str] = frozenset()
    omit_managed_fields: bool = False


def parse_policy(obj: Any) -> Policy:
    """A policy file's content. Raises PolicyError."""
    try:
        policy = msgspec.convert(obj, Policy)
    except msgspec.ValidationError as error:
        raise PolicyError(str(error)) from error
    if (policy.api_version, policy.kind) != ("audit.k8s.io/v1", "Policy"):
        raise PolicyError("expected apiVersion: audit.k8s.io/v1 and kind: Policy")
    if not policy.rules:
        raise PolicyError("it has no rules: nothing would be logged")
    return policy


def judge(policy: Policy, user: User | None, wanted: Attributes) -> Verdict:
    """What the policy says about a request; `user` None is one that could not be told."""
    for rule in policy.rules:
        if _matches(rule, user, wanted):
            omit = rule.omit_managed_fields
            return Verdict(
                rule.level,
                frozenset((*policy.omit_stages, *rule.omit_stages)),
                policy.omit_managed_fields if omit is None else omit,
            )
    return Verdict()


def _matches(rule: PolicyRule, user: User | None, wanted: Attributes) -> bool:
    if rule.users and (user is None or user.name not in rule.users):
        return False
    if rule.user_groups and (user is None or not set(rule.user_groups) & set(user.groups)):
        return False
    if rule.verbs and wanted.verb not in rule.verbs:
        return False
    if rule.namespaces or rule.resources:
        return not wanted.path and _matches_resource(rule, wanted)
    if rule.non_resource_urls:
        return bool(wanted.path) and any(_url(u, wanted.path) for u in rule.non_resource_urls)
    return True


def _url(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))


def _matches_resource(rule: PolicyRule, wanted: Attributes) -> bool:
    if rule.namespaces and wanted.namespace not in rule.namespaces:
        return False
    return not rule.resources or any(_covers(r, wanted) for r in rule.resources)


def _covers(of: GroupResources, wanted: Attributes) -> bool:
    if of.group != wanted.group:
        return False
    if not of.resources:
        return True
    if of.resource_names and wanted.name not in of.resource_names:
        return False
    sub = wanted.subresource
    patterns = {"*", full_resource(wanted), f"{wanted.resource}/*"}
    if sub:
        patterns.add(f"*/{sub}")
    return bool(patterns & set(of.resources))


def full_resource(wanted: Attributes) -> str:
    """`pods/log`."""
    sub = wanted.subresource
    return f"{wanted.resource}/{sub}" if sub else wanted.resource


_notes: ContextVar[dict[str, str] | None] = ContextVar("audit_notes", default=None)


def take_notes() -> dict[str, str]:
    """What admission says of the request that begins here; filled as it goes on."""
    notes: dict[str, str] = {}
    _notes.set(notes)
    return notes


def note(key: str, value: str) -> None:
    """Tell the audit log something about the present request; nobody is asked without one."""
    if (notes := _notes.get()) is not None:
        notes.setdefault(key, value)


class Trail(Struct):
    """One request, as far as it has come. The only thing here that changes."""

    audit_id: str
    received_at: float
    uri: str
    method: str
    source: str
    agent: str
    user: User | None = None
    acting_as: User | None = None
    wanted: Attributes | None = None
    decision: Decision | None = None
    body: bytes = b""
    verdict: Verdict | None = None
    notes: Mapping[str, str] = {}


def event(
    trail: Trail, stage: Stage, now: float, code: int = 0, answer: bytes | None = None
) -> bytes:
    """A line of the log, with its newline."""
    wanted = trail.wanted or Attributes(trail.method.lower(), path=trail.uri.partition("?")[0])
    verdict = trail.verdict or Verdict("Metadata")
    found: dict[str, Any] = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": verdict.level,
        "auditID": trail.audit_id,
        "stage": stage,
        "requestURI": trail.uri,
        "verb": wanted.verb,
        "user": _user(trail.user) if trail.user else {},
        "sourceIPs": [trail.source] if trail.source else [],
        "userAgent": trail.agent,
    }
    if trail.acting_as is not None:
        found["impersonatedUser"] = _user(trail.acting_as)
    if not wanted.path:
        found["objectRef"] = _reference(wanted)
    if code:
        found["responseStatus"] = _status(code, answer)
    found |= _bodies(verdict, wanted, trail.body, answer if stage == "ResponseComplete" else None)
    found["requestReceivedTimestamp"] = rfc3339_micro(trail.received_at)
    found["stageTimestamp"] = rfc3339_micro(now)
    annotations: dict[str, str] = {}
    if stage != "RequestReceived":
        annotations |= trail.notes
    if trail.decision is not None and stage != "RequestReceived":
        annotations |= {
            "authorization.k8s.io/decision": "allow" if trail.decision.allowed else "forbid",
            "authorization.k8s.io/reason": trail.decision.reason,
        }
    if annotations:
        found["annotations"] = annotations
    try:
        return orjson.dumps(found, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:  # deeper than JSON is written; the request is told all the same
        found |= {key: _TOO_DEEP for key in _OBJECTS if key in found}
        return orjson.dumps(found, option=orjson.OPT_APPEND_NEWLINE)


def _user(user: User) -> dict[str, Any]:
    found: dict[str, Any] = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        found["uid"] = user.uid
    if user.extra:
        found["extra"] = {k: list(v) for k, v in user.extra.items()}
    return found


def _reference(wanted: Attributes) -> dict[str, str]:
    found = {
        "resource": wanted.resource,
        "namespace": wanted.namespace,
        "name": wanted.name,
        "apiGroup": wanted.group,
        "apiVersion": wanted.version,
        "subresource": wanted.subresource,
    }
    return {k: v for k, v in found.items() if v}


def _status(code: int, answer: bytes | None) -> dict[str, Any]:
    found: dict[str, Any] = {"metadata": {}, "code": code}
    if code >= 400 and (status := _parsed(answer)) is not None:
        found |= {k: status[k] for k in ("status", "message", "reason") if k in status}
    return found


def _bodies(
    verdict: Verdict, wanted: Attributes, body: bytes, answer: bytes | None
) -> dict[str, Any]:
    """The objects that the level asks for, unless they may be secret."""
    if verdict.level not in ("Request", "RequestResponse"):
        return {}
    if wanted.path or (wanted.group, full_resource(wanted)) in SECRET_BODIES:
        return {}
    found: dict[str, Any] = {}
    if body:
        found["requestObject"] = _shown(body, verdict)
    if answer and verdict.level == "RequestResponse":
        found["responseObject"] = _shown(answer, verdict)
    return found


def _shown(raw: bytes, verdict: Verdict) -> Any:
    if len(raw) > BODY_BYTES_MAX:
        return {"omitted": f"{len(raw)} bytes, at most {BODY_BYTES_MAX} are logged"}
    try:
        parsed = _parsed(raw)
    except RecursionError:
        return _TOO_DEEP
    if parsed is None:
        return {"omitted": "not JSON"}
    if verdict.omit_managed_fields and isinstance(metadata := parsed.get("metadata"), dict):
        metadata.pop("managedFields", None)
    return parsed


def _parsed(raw: bytes | None) -> dict[str, Any] | None:
    try:
        found = orjson.loads(raw or b"")
    except orjson.JSONDecodeError:
        return None
    if isinstance(found, dict):
        return _without_secrets(found)
    return {"patch": found} if isinstance(found, list) else None


def _without_secrets(obj: dict[str, Any]) -> dict[str, Any]:
    """Lists of several kinds, too, may hold Secrets."""
    if obj.get("kind") == "Secret":
        return {k: obj[k] for k in ("kind", "apiVersion", "type") if k in obj}
    if isinstance(items := obj.get("items"), list):
        obj["items"] = [_without_secrets(i) if isinstance(i, dict) else i for i in items]
    return obj


def stage_logged(trail: Trail, stage: Stage) -> bool:
    """Whether the policy wants an event of this stage."""
    verdict = trail.verdict
    return verdict is not None and verdict.level != "None" and stage not in verdict.omit_stages
